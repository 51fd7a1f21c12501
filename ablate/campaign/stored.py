"""What lies in an MLflow store, and where: trials' runs and addresses, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse


@dataclass(frozen=True)
class TrialRun:
    """A trial's run in MLflow; ``weights`` is the sha256 of the weights that it keeps."""

    run_id: str
    key: str
    status: str
    complete: bool
    artifacts: str
    start_ms: int
    weights: str = ""


@dataclass(frozen=True)
class CampaignRun:
    """A campaign's run in MLflow; ``running`` until the call that works on it has closed it."""

    run_id: str
    artifacts: str
    running: bool


def best(runs: Iterable[TrialRun], keys: Iterable[str]) -> dict[str, TrialRun]:
    """The run that counts for each of these trials: complete, not failed if there is one, else the newest."""
    wanted = set(keys)
    found: dict[str, TrialRun] = {}
    for run in runs:
        if run.complete and run.key in wanted:
            held = found.get(run.key)
            if held is None or held.status == "failed" or run.status != "failed":
                found[run.key] = run
    return found


def sqlite_file(uri: str) -> Path | None:
    """The file behind an sqlite address; None for any other."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def local_folder(uri: str) -> Path | None:
    """The folder that an artifact address names on this machine; None for one that lies elsewhere."""
    parts = urlparse(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(uri) if not parts.scheme else None


def is_server(uri: str) -> bool:
    return urlparse(uri).scheme in ("http", "https", "databricks")
