"""Stores filled at once with what a long campaign would have written trial by trial.

Ten thousand trials through MLflow and Optuna take a quarter of an hour; a benchmark of what the next trial costs then
needs them there, not written one by one. A trial that was written in the ordinary way is the pattern: its rows are
copied inside the databases, under the new trial's key; its record is a file of its own.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from ablate.campaign.executor import Event, Finished, Job
from ablate.campaign.mlflow_payload import KEY, RECORD
from ablate.campaign.records import RecordStore
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import EpochPoint, Measured, Record

TEST_IMAGES = 1000
OPTUNA_TABLES = {
    "trial_values": "trial_value_id",
    "trial_params": "param_id",
    "trial_intermediate_values": "trial_intermediate_value_id",
}


class NullExecutor:
    """Trains nothing: every job is finished at once. After ``stop_after`` trials it acts as Ctrl-C does."""

    capacity = 2

    def __init__(self, epochs: int, stop_after: int | None = None) -> None:
        self.epochs = epochs
        self.left = stop_after
        self._done: list[Event] = []

    def submit(self, job: Job) -> None:
        record = invented_record(job.trial, self.epochs)
        job.store.put(record)
        self._done.append(Finished(job.key, record))

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
        predictions=bytes((image + (not one)) % 10 for image, one in enumerate(right)),
        test_labels="0" * 16,
        correct=int(bits, 2).to_bytes(TEST_IMAGES // 8, "big"),
        chance=0.1,
        measured=Measured(train_s=9, eval_s=1, wall_s=10, images_per_s=1000, peak_bytes=10**8, started_at=time.time()),
    )


def fill(plan: CampaignPlan, runs: Path, epochs: int, leave: int) -> None:
    """Gives ``runs`` every trial of the plan but the last ``leave``: records and views, after the first of each arm."""
    patterns, known = _patterns(runs / "mlflow.db", plan.study.name)
    missing = [trial for trial in plan.trials[: len(plan.trials) - leave] if trial.key not in known]
    store, digests = RecordStore(runs, plan.study.name), dict[str, str]()
    for trial in missing:
        record = invented_record(trial, epochs).to_json().encode()
        store.path(trial.key).write_bytes(record)  # not through RecordStore.put, whose fsync takes its time
        digests[trial.key] = hashlib.sha256(record).hexdigest()
    _fill_mlflow(runs / "mlflow.db", missing, digests, patterns)
    _fill_optuna(runs / "optuna.db", plan.study.digest, digests)


def _patterns(path: Path, study: str) -> tuple[dict[str, str], set[str]]:
    """A run of each arm of the study, and the keys that are there."""
    rows = (
        "SELECT value, run_uuid FROM tags JOIN runs USING (run_uuid) JOIN experiments e USING (experiment_id) "
        "WHERE e.name = ? AND key = ? AND run_uuid IN (SELECT run_uuid FROM tags WHERE value = 'trial')"
    )
    with closing(sqlite3.connect(path)) as database:
        arms = dict(database.execute(rows, (study, "arm")).fetchall())
        keys = {key for key, _ in database.execute(rows, (study, KEY))}
    return arms, keys


def _fill_mlflow(path: Path, trials: Iterable[Trial], digests: Mapping[str, str], patterns: Mapping[str, str]) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TEMP TABLE new (old TEXT, run TEXT, trial TEXT, seed TEXT, digest TEXT)")
        rows = [
            (patterns[trial.arm], uuid.uuid4().hex, trial.key, str(trial.seed), digests[trial.key]) for trial in trials
        ]
        database.executemany("INSERT INTO new VALUES (?, ?, ?, ?, ?)", rows)
        database.execute("CREATE INDEX temp.new_old ON new (old)")
        own = {
            "run_uuid": "new.run",
            "artifact_uri": "replace(t.artifact_uri, new.old, new.run)",
            "value": f"CASE t.key WHEN '{KEY}' THEN new.trial WHEN '{RECORD}' THEN new.digest "
            "WHEN 'seed' THEN new.seed ELSE t.value END",
        }
        for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
            replaced = own if table in ("runs", "tags") else {"run_uuid": own["run_uuid"]}
            _copy(database, table, "run_uuid", replaced)


def _fill_optuna(path: Path, campaign: str, digests: Mapping[str, str]) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        pattern, study_id = database.execute(
            "SELECT trial_id, study_id FROM trials JOIN studies USING (study_id) "
            "WHERE study_name LIKE ? AND state = 'COMPLETE'",
            (f"%{campaign}%",),
        ).fetchone()
        (last,) = database.execute("SELECT max(trial_id) FROM trials").fetchone()
        (number,) = database.execute("SELECT max(number) FROM trials WHERE study_id = ?", (study_id,)).fetchone()
        database.execute("CREATE TEMP TABLE new (old INT, run INT, trial TEXT, digest TEXT, number INT)")
        rows = [
            (pattern, last + i, f'"{key}"', f'"{digest}"', number + i)
            for i, (key, digest) in enumerate(digests.items(), 1)
        ]
        database.executemany("INSERT INTO new VALUES (?, ?, ?, ?, ?)", rows)
        own = {"trial_id": "new.run"}
        _copy(database, "trials", "trial_id", {**own, "number": "new.number"})
        for table, number_of in OPTUNA_TABLES.items():
            _copy(database, table, "trial_id", own, drop=number_of)
        value = "CASE t.key WHEN 'key' THEN new.trial WHEN 'record' THEN new.digest ELSE t.value_json END"
        attributes = {**own, "value_json": value}
        _copy(database, "trial_user_attributes", "trial_id", attributes, drop="trial_user_attribute_id")


def _copy(database: sqlite3.Connection, table: str, key: str, replaced: Mapping[str, str], drop: str = "") -> None:
    """Each row of ``table`` whose ``key`` is some ``new.old``, once for each ``new``, with these columns replaced."""
    columns = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})") if name != drop]
    values = ", ".join(replaced.get(name, f't."{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    database.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} t JOIN new ON t.{key} = new.old")
