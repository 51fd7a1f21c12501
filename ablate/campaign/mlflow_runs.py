"""Reads the runs of an MLflow experiment as a table, a row a run: its tags, parameters and last metrics by name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.design.runs_table import Columns, RunsError, Table
from ablate.errors import nearest
from ablate.paths import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STATUS = "status"  # of the run, as a column: --where status=FINISHED
_SQLITE = "sqlite:///"
_PAGE = 1_000


def read_experiment(name: str, uri: str, columns: Columns) -> tuple[Table, int]:
    """The runs of an experiment that have the arm's tag, and how many have not.

    Arm, seed and data set are tags, or parameters where there is no such tag; the metric is the last value logged.

    Args:
        name: of the experiment.
        uri: of the MLflow store.
        columns: which tag is the arm, which the seed, and which metric is asked for.

    Raises:
        RunsError: the store cannot be reached, or has no such experiment, or no run with the arm's tag.
    """
    where = f"MLflow experiment {name}"
    runs = _runs(name, uri)
    rows = [(f"run {run.info.run_id}", _row(run, columns)) for run in runs]
    kept = tuple((place, row) for place, row in rows if columns.arm in row)
    if not kept:
        there = sorted({tag for run in runs for tag in run.data.tags if not tag.startswith("mlflow.")})
        raise RunsError(
            f"{where}: none of its {len(runs)} runs has the tag {columns.arm!r} (--arm-tag)"
            f"{nearest(columns.arm, there)}"
        )
    names = dict.fromkeys(column for _, row in kept for column in row)
    return Table(where, tuple(names), kept), len(runs) - len(kept)


def check_finished(table: Table) -> None:
    """Whether every run of the table has finished: a failed one is not left out quietly.

    Raises:
        RunsError: a run has another status.
    """
    for place, row in table.rows:
        if row[STATUS] != "FINISHED":
            raise RunsError(
                f"{table.where}, {place}: has the status {row[STATUS]}, must be FINISHED; run it again, delete it in "
                "MLflow, or leave such runs out with --where status=FINISHED"
            )


def _row(run: Run, columns: Columns) -> dict[str, object]:
    """Metrics over parameters and tags of the same name; but arm, seed and data set are never metrics."""
    tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
    labels = {**run.data.params, **tags}
    named = {name: labels[name] for name in (columns.arm, columns.seed, columns.data_set) if name in labels}
    return {**labels, STATUS: run.info.status, **run.data.metrics, **named}


def _runs(name: str, uri: str) -> list[Run]:
    client = _client(uri)
    from mlflow.exceptions import MlflowException

    try:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            there = sorted(one.name for one in client.search_experiments())
            raise RunsError(
                f"{redact(uri)}: has no experiment {name!r}{nearest(name, there)} (there: {', '.join(there)})"
            )
        runs: list[Run] = []
        token = None
        while True:
            page = client.search_runs([experiment.experiment_id], max_results=_PAGE, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs
    except MlflowException as error:
        raise RunsError(f"{redact(uri)}: MLflow cannot read the experiment {name!r}: {redact(_line(error))}") from error


def _client(uri: str) -> MlflowClient:
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).is_file():  # MLflow would make one
        raise RunsError(f"{uri.removeprefix(_SQLITE)}: there is no such MLflow store; name one with --tracking-uri")
    from mlflow import MlflowClient

    for logger in ("mlflow", "alembic"):  # a word on every table of a store of an earlier version
        logging.getLogger(logger).setLevel(logging.ERROR)
    try:
        return MlflowClient(uri)
    except Exception as error:  # SQLAlchemy, drivers and MLflow raise almost anything
        raise RunsError(f"{redact(uri)}: is no MLflow store that can be opened: {redact(_line(error))}") from error


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
