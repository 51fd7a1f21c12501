"""Stores filled at once with what a long campaign would have written trial by trial.

Ten thousand trials through MLflow and Optuna take a quarter of an hour; a benchmark of what the next trial costs then
needs them there, not written one by one. A trial that was written in the ordinary way is the pattern: its rows are
copied inside the databases, under the new trial's key, and its record is laid where MLflow keeps it.
"""

from __future__ import annotations

import random
import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from ablate.campaign.executors import Event, Finished, Job
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import EpochPoint, Measured, Record

TEST_IMAGES = 1000
KEY = "ablate.key"


class NullExecutor:
    """Trains nothing: every job is finished at once. After ``stop_after`` trials it acts as Ctrl-C does."""

    capacity = 2

    def __init__(self, epochs: int, stop_after: int | None = None) -> None:
        self.epochs = epochs
        self.left = stop_after
        self._done: list[Event] = []

    def submit(self, job: Job) -> None:
        self._done.append(Finished(job.key, invented_record(job.trial, self.epochs)))

    def events(self, timeout_s: float) -> list[Event]:
        del timeout_s  # there is never anything to wait for
        if self.left is not None and self.left <= 0:
            raise KeyboardInterrupt
        found, self._done = self._done, []
        if self.left is not None:
            self.left -= len(found)
        return found

    def cancel(self, key: str) -> None:
        self._done = [event for event in self._done if event.key != key]

    def close(self) -> None:
        self._done = []


def invented_record(trial: Trial, epochs: int) -> Record:
    """A record of the size and spread of a real one."""
    dice = random.Random(f"{trial.arm} {trial.seed}")
    accuracy = 0.9 + dice.gauss(0, 0.005)
    right = [dice.random() < accuracy for _ in range(TEST_IMAGES)]
    bits = "".join("1" if one else "0" for one in right)
    curve = tuple(
        EpochPoint(
            epoch=epoch,
            train_loss=dice.random(),
            train_accuracy=dice.random(),
            val_loss=dice.random(),
            val_accuracy=dice.random(),
            lr=dice.random(),
        )
        for epoch in range(1, epochs + 1)
    )
    last = curve[-1]
    return Record.of(
        trial,
        "finished",
        metrics={
            "test_accuracy": sum(right) / TEST_IMAGES,
            "test_loss": dice.random(),
            "val_accuracy": last.val_accuracy,
            "val_loss": last.val_loss,
            "train_loss": last.train_loss,
        },
        curve=curve,
        predictions=dice.randbytes(TEST_IMAGES),
        test_labels="0" * 16,
        correct=int(bits, 2).to_bytes(TEST_IMAGES // 8, "big"),
        chance=0.1,
        measured=Measured(train_s=9, eval_s=1, wall_s=10, images_per_s=1000, peak_bytes=10**8, started_at=1.7e9),
    )


def fill(plan: CampaignPlan, runs: Path, epochs: int, leave: int) -> None:
    """Gives the stores in ``runs`` every trial of the plan but the last ``leave``, after the first ones of each arm."""
    patterns, known = _patterns(runs / "mlflow.db", plan.study.name)
    missing = [trial for trial in plan.trials[: len(plan.trials) - leave] if trial.key not in known]
    new = {trial.key: uuid.uuid4().hex for trial in missing}
    _fill_mlflow(runs / "mlflow.db", missing, new, patterns)
    for trial in missing:
        folder = runs / "artifacts" / plan.study.name / new[trial.key] / "artifacts"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(invented_record(trial, epochs).to_json())
    _fill_queue(runs / "queue.db", f"{plan.study.name} {plan.study.digest}", new)


def _patterns(path: Path, study: str) -> tuple[dict[str, str], set[str]]:
    """A run of each arm of the study, and the keys that are there."""
    rows = (
        "SELECT value, run_uuid FROM tags JOIN runs USING (run_uuid) JOIN experiments e USING (experiment_id) "
        "WHERE e.name = ? AND key = ?"
    )
    with closing(sqlite3.connect(path)) as database:
        arms = dict(database.execute(rows, (study, "arm")).fetchall())
        keys = {key for key, _ in database.execute(rows, (study, KEY))}
    return arms, keys


def _fill_mlflow(path: Path, trials: Iterable[Trial], new: Mapping[str, str], patterns: Mapping[str, str]) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TEMP TABLE new (old TEXT, run TEXT, trial TEXT, seed TEXT)")
        rows = [(patterns[trial.arm], new[trial.key], trial.key, str(trial.seed)) for trial in trials]
        database.executemany("INSERT INTO new VALUES (?, ?, ?, ?)", rows)
        database.execute("CREATE INDEX temp.new_old ON new (old)")
        own = {
            "run_uuid": "new.run",
            "artifact_uri": "replace(t.artifact_uri, new.old, new.run)",
            "value": f"CASE t.key WHEN '{KEY}' THEN new.trial WHEN 'seed' THEN new.seed ELSE t.value END",
        }
        for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
            replaced = own if table in ("runs", "tags") else {"run_uuid": own["run_uuid"]}
            _copy(database, table, "run_uuid", replaced)


def _fill_queue(path: Path, study: str, keys: Iterable[str]) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        pattern, study_id = database.execute(
            "SELECT trial_id, study_id FROM trials JOIN studies USING (study_id) "
            "WHERE study_name = ? AND state = 'COMPLETE'",
            (study,),
        ).fetchone()
        (last,) = database.execute("SELECT max(trial_id) FROM trials").fetchone()
        (number,) = database.execute("SELECT max(number) FROM trials WHERE study_id = ?", (study_id,)).fetchone()
        database.execute("CREATE TEMP TABLE new (old INT, run INT, trial TEXT, number INT)")
        rows = [(pattern, last + i, f'"{key}"', number + i) for i, key in enumerate(keys, 1)]
        database.executemany("INSERT INTO new VALUES (?, ?, ?, ?)", rows)
        own = {"trial_id": "new.run"}
        _copy(database, "trials", "trial_id", {**own, "number": "new.number"})
        _copy(database, "trial_values", "trial_id", own, drop="trial_value_id")
        _copy(
            database,
            "trial_user_attributes",
            "trial_id",
            {**own, "value_json": "new.trial"},
            drop="trial_user_attribute_id",
        )


def _copy(database: sqlite3.Connection, table: str, key: str, replaced: Mapping[str, str], drop: str = "") -> None:
    """Each row of ``table`` whose ``key`` is some ``new.old``, once for each ``new``, with these columns replaced."""
    columns = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})") if name != drop]
    values = ", ".join(replaced.get(name, f't."{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    database.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} t JOIN new ON t.{key} = new.old")
