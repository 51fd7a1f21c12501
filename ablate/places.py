"""Where things are kept at run time: the runs folder and what lies in it."""

from __future__ import annotations

import os
from pathlib import Path


def default_runs() -> Path:
    """$ABLATE_RUNS, or ./runs."""
    return Path(os.environ.get("ABLATE_RUNS") or "runs")


def default_data_root() -> Path:
    """$ABLATE_DATA, or ./data."""
    return Path(os.environ.get("ABLATE_DATA") or "data")


def tracking_uri(runs: Path, given: str | None = None) -> str:
    """The MLflow store: the one given, else $MLFLOW_TRACKING_URI, else sqlite in the runs folder."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs.resolve() / 'mlflow.db'}"
