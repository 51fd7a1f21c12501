from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from fakes import Notes, no_costs, null, outcome, plan_of
from instant import Instant

from ablate.campaign import dispatch
from ablate.campaign.disk import LEAST_FREE, writable
from ablate.campaign.dispatch import run_campaign
from ablate.campaign.doctor import check_campaign
from ablate.campaign.executors import Event, Job, Lost
from ablate.campaign.local import LocalExecutor
from ablate.campaign.lock import held
from ablate.campaign.outbox import Outbox
from ablate.campaign.result import CampaignInterrupted, CampaignResult, CampaignStopped
from ablate.campaign.tracking import Tracking
from ablate.design.plan import CampaignPlan
from ablate.errors import AblateError


def go(plan: CampaignPlan, runs: Path, notes: Notes | None = None, **options: object) -> CampaignResult:
    options.setdefault("executor", LocalExecutor(2, train=null, preload=()))
    return run_campaign(plan, runs=runs, prepare=no_costs, observer=notes, **options)  # type: ignore[arg-type]


@pytest.fixture
def runs(tmp_path: Path, empty_store: Path) -> Path:
    """A runs folder with an MLflow store in it, since making one takes seconds."""
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    return folder


def test_every_trial_is_run_once_and_a_second_call_runs_none(tmp_path: Path) -> None:
    plan, notes, again = plan_of("control", "other", seeds=3), Notes(), Notes()
    result = go(plan, tmp_path / "runs", notes)
    assert (result.trained, result.waiting, notes.messages) == (6, 0, [])
    assert sorted(notes.started_trials) == sorted((trial.key, 1) for trial in plan.trials)
    assert (notes.todo, notes.epochs) == (6, 12)
    assert all(result.records[trial.key].same_result(outcome(trial)) for trial in plan.trials)

    second = go(plan, tmp_path / "runs", again)
    assert (second.trained, again.started_trials) == (0, [])
    assert second.records == result.records
    assert second.costs == result.costs
    assert again.messages == []

    campaign = Tracking(f"sqlite:///{tmp_path}/runs/mlflow.db", tmp_path / "runs/artifacts").load_campaign("faults")
    assert campaign.plan == plan
    assert campaign.records == result.records
    assert campaign.costs == result.costs
    assert not list((tmp_path / "runs/trials" / plan.study.name).iterdir())


def test_more_seeds_train_only_what_is_new(runs: Path) -> None:
    go(plan_of("control", seeds=2), runs)
    notes = Notes()
    result = go(plan_of("control", seeds=5), runs, notes)
    assert (notes.todo, result.trained, len(result.records)) == (3, 3, 5)


def test_a_failed_trial_fails_alone_is_tried_again_and_is_run_again_at_the_next_call(runs: Path) -> None:
    plan, notes = plan_of("control", "killed", "raises", "diverges", "once_killed", seeds=1), Notes()
    result = go(plan, runs, notes, retries=2)
    by_arm = {record.arm: record for record in result.records.values()}
    assert {arm: record.status for arm, record in by_arm.items()} == {
        "control": "finished",
        "killed": "failed",
        "raises": "failed",
        "diverges": "diverged",
        "once_killed": "finished",
    }
    assert "SIGKILL" in by_arm["killed"].reason
    assert by_arm["raises"].reason.startswith("ValueError: the trainer is out of ideas")
    assert "the last words of raises" in by_arm["raises"].reason
    attempts = {arm: record.measured.attempts for arm, record in by_arm.items()}
    assert attempts == {"control": 1, "killed": 3, "raises": 3, "diverges": 1, "once_killed": 2}
    assert len(notes.retries) == 5
    assert {record.arm for record in result.failed} == {"killed", "raises"}
    assert len(result.missing) == 2

    again = Notes()
    second = go(plan, runs, again, retries=0)
    assert {key for key, _ in again.started_trials} == set(result.missing)
    assert len(second.records) == 5
    stored = Tracking(f"sqlite:///{runs}/mlflow.db", runs / "artifacts").trial_runs("faults")
    assert len(stored) == 5


class Stopping(LocalExecutor):
    """An executor that does something after so many finished trials."""

    def __init__(self, after: int, act: Callable[[], object]) -> None:
        super().__init__(1, train=null, preload=())
        self.left, self.act = after, act

    def submit(self, job: Job) -> None:
        if not self.left:
            self.act()
        self.left -= 1
        super().submit(job)


def test_ctrl_c_keeps_what_is_finished_and_the_next_call_goes_on(runs: Path) -> None:
    plan, notes = plan_of("control", seeds=6), Notes()
    interrupt = Stopping(3, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(CampaignInterrupted, match="3 of 6 trials are finished and kept") as caught:
        go(plan, runs, executor=interrupt)
    assert len(caught.value.result.records) == 3
    result = go(plan, runs, notes)
    assert notes.todo == 3
    assert len(result.records) == 6
    assert check_campaign(plan, runs=runs).sound


def test_a_disk_that_fills_up_stops_the_campaign_and_it_goes_on_after_space_is_made(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("control", "fills_disk", seeds=1)
    with pytest.raises(CampaignStopped, match="the disk is full; the campaign has stopped with 1 of 2 trials"):
        go(plan, runs, executor=LocalExecutor(1, train=null, preload=()))
    notes = Notes()
    monkeypatch.setattr(dispatch, "free_bytes", lambda folder: LEAST_FREE - 1 if notes.todo >= 0 else 10**12)
    with pytest.raises(CampaignStopped, match="the disk is full"):
        go(plan, runs, notes)
    monkeypatch.undo()
    result = go(plan_of("control", seeds=3), runs)
    assert not result.missing


def test_a_campaign_that_needs_more_than_is_free_is_not_begun(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "free_bytes", lambda folder: 1_000_000)
    notes = Notes()
    with pytest.raises(AblateError, match=r"2 trials need about \d+ MB of disk, 1 MB are free"):
        go(plan_of("control"), runs, notes)
    assert notes.started_trials == []


def test_a_runs_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(AblateError, match=r"runs: cannot be written \(File exists\)"):
        go(plan_of("control"), tmp_path / "runs")


def test_a_file_in_the_runs_folder_that_cannot_be_used_is_named_and_not_said_to_be_unwritable(runs: Path) -> None:
    (runs / "locks" / "faults").mkdir(parents=True)
    with pytest.raises(AblateError, match=r"locks/faults: cannot be read or written \(Is a directory\)"):
        go(plan_of("control"), runs)


def test_many_may_ask_at_once_whether_the_runs_folder_can_be_written(tmp_path: Path) -> None:
    def ask(_: int) -> None:
        with writable(tmp_path):
            pass

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(ask, range(2000)))) == 2000
    assert not list(tmp_path.iterdir())


def test_a_second_dispatcher_is_told_who_the_first_is(runs: Path) -> None:
    before = datetime.now().replace(microsecond=0)
    with held(runs / "locks" / "faults", "it"), pytest.raises(AblateError) as refused:
        go(plan_of("control"), runs)
    told = re.fullmatch(
        r"the study 'faults' is being run by process (\d+) on \S+ since ([\d-]+ [\d:]+); .* or help it with --join",
        str(refused.value),
    )
    assert told
    assert int(told[1]) == os.getpid()
    assert before <= datetime.fromisoformat(told[2]) <= datetime.now()


@pytest.mark.parametrize("damage", [b"this is no database, and never was one", b""])
def test_a_damaged_queue_is_set_aside_and_rebuilt(runs: Path, damage: bytes) -> None:
    plan, notes = plan_of("control", seeds=2), Notes()
    go(plan, runs)
    (runs / "queue.db").write_bytes(damage)
    result = go(plan_of("control", seeds=3), runs, notes)
    assert (result.trained, len(result.records)) == (1, 3)
    if damage:
        assert len(notes.messages) == 1
        assert "file is not a database" in notes.messages[0]
        assert list(runs.glob("queue.db.damaged-*"))


def test_a_queue_of_another_optuna_is_set_aside_and_rebuilt(runs: Path) -> None:
    go(plan_of("control", seeds=1), runs)
    with sqlite3.connect(runs / "queue.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    database.close()
    notes = Notes()
    assert go(plan_of("control", seeds=2), runs, notes).trained == 1
    assert "the queue was rebuilt" in notes.messages[0]


def test_a_damaged_store_is_named_and_nothing_is_trained(runs: Path) -> None:
    (runs / "mlflow.db").write_bytes(b"this is no database, and never was one" * 100)
    notes = Notes()
    with pytest.raises(AblateError, match=r"MLflow at sqlite:///.*mlflow.db does not answer as it should"):
        go(plan_of("control"), runs, notes)
    assert notes.started_trials == []


def test_a_damaged_record_on_disk_is_set_aside_and_its_trial_is_run_again(runs: Path) -> None:
    plan, notes = plan_of("control", seeds=2), Notes()
    outbox = Outbox.of(runs, plan.study.name)
    for trial in plan.trials:
        outbox.put(outcome(trial))
    path = outbox.folder(plan.trials[0].key) / "record.json"
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(plain | {"seed": 7}))
    result = go(plan, runs, notes)
    assert [key for key, _ in notes.started_trials] == [plan.trials[0].key]
    assert any("damaged record was set aside" in message for message in notes.messages)
    assert all(result.records[trial.key].same_result(outcome(trial)) for trial in plan.trials)


@pytest.mark.parametrize("keep", [False, True])
def test_a_damaged_record_that_mlflow_has_is_replaced_and_announced_once(runs: Path, keep: bool) -> None:
    plan, first, again = plan_of("control", seeds=1), Notes(), Notes()
    go(plan, runs)
    folder = Outbox.of(runs, plan.study.name).folder(plan.trials[0].key)
    folder.mkdir()
    (folder / "record.json").write_bytes(b"\xff half a rec")
    (folder / "checkpoint.pt").touch()
    assert go(plan, runs, first, keep=keep).trained == 0
    assert [message.partition("record.json.damaged: ")[2] for message in first.messages] == [
        "a damaged record was replaced by the one that MLflow has."
    ]
    go(plan, runs, again, keep=keep)
    assert again.messages == []
    assert {path.name for path in folder.glob("*")} == ({"record.json", "checkpoint.pt"} if keep else set())


def test_records_that_wait_on_disk_reach_mlflow_without_training(runs: Path) -> None:
    plan, notes = plan_of("control", seeds=3), Notes()
    for trial in plan.trials:
        Outbox.of(runs, plan.study.name).put(outcome(trial))
    assert len(go(plan, runs, notes).records) == 3
    assert notes.started_trials == []
    assert check_campaign(plan, runs=runs).sound


def test_nothing_of_a_dispatcher_is_left_running(runs: Path) -> None:
    go(plan_of("control", seeds=1), runs)
    assert "mlflow" not in {thread.name for thread in threading.enumerate()}


def test_a_study_leaves_another_ones_waiting_records_alone(runs: Path) -> None:
    """Two studies may share trials, the control's for one: each hands its own record to its own experiment."""
    plan = plan_of("control", seeds=2)
    renamed = plan.study.model_copy(update={"name": "other_study"})
    other = dataclasses.replace(
        plan, study=renamed, trials=tuple(dataclasses.replace(t, study="other_study") for t in plan.trials)
    )
    assert [t.key for t in other.trials] == [t.key for t in plan.trials]
    for trial in other.trials:
        Outbox.of(runs, "other_study").put(outcome(trial))
    notes = Notes()
    go(plan, runs, notes)
    assert len(notes.started_trials) == 2
    assert all(Outbox.of(runs, "other_study").read(trial.key) for trial in other.trials)


def test_a_full_disk_elsewhere_is_named(runs: Path) -> None:
    class Full(Instant):
        def events(self, timeout_s: float) -> list[Event]:
            return [Lost(self.open.pop().key, "OSError", disk_full=True, place="/tmp/there on node7")]

    with pytest.raises(CampaignStopped, match=r"^/tmp/there on node7: the disk is full"):
        go(plan_of("control"), runs, executor=Full(outcome))
