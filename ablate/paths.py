"""Where things are kept at run time: the runs folder and what it holds."""

from __future__ import annotations

import os
import re
from pathlib import Path

# SQLAlchemy lets a password hold anything but "@", and psycopg takes one among the parameters too
PASSWORDS = (re.compile(r"(://[^/\s:@]*:)\S*(?=@)"), re.compile(r"([?&](?:ssl)?password=)[^&\s]*"))


def default_runs() -> Path:
    """$ABLATE_RUNS, or ./runs."""
    return Path(os.environ.get("ABLATE_RUNS") or "runs")


def default_data_root() -> Path:
    """$ABLATE_DATA, or ./data."""
    return Path(os.environ.get("ABLATE_DATA") or "data")


def tracking_uri(runs: Path, given: str | None = None) -> str:
    """The MLflow store: the one given, else $MLFLOW_TRACKING_URI, else sqlite in the runs folder."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs.resolve() / 'mlflow.db'}"


def redact(place: Path | str) -> str:
    """A file, an address or a sentence with addresses in it, as a message shows it: without passwords."""
    text = str(place)
    for password in PASSWORDS:
        text = password.sub(r"\1***", text)
    return text
