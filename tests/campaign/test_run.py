from __future__ import annotations

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fakes import Notes, null, outcome, plan_of
from instant import Instant, go

from ablate.campaign import resources, run
from ablate.campaign.api import load
from ablate.campaign.check import check_campaign
from ablate.campaign.executor import Event, Job, Lost
from ablate.campaign.local import LocalExecutor
from ablate.campaign.options import CampaignInterrupted, CampaignResult, CampaignStopped, RunOptions
from ablate.campaign.records import Held, RecordStore, plan_path
from ablate.campaign.resources import LEAST_FREE
from ablate.campaign.run import run_campaign
from ablate.campaign.views import Conclusion
from ablate.design.plan import Trial
from ablate.design.record import Record
from ablate.errors import AblateError


def local(jobs: int = 2) -> LocalExecutor:
    return LocalExecutor(jobs, train=null)


def records_on_disk(runs: Path) -> dict[str, Record]:
    store = RecordStore(runs, "faults")
    return {key: record for key in store.keys() if (record := store.read(key)) is not None}  # noqa: SIM118


def keys_of(trials: list[Trial]) -> list[str]:
    return [trial.key for trial in trials]


def test_every_trial_is_run_once_and_a_second_call_runs_none(tmp_path: Path) -> None:
    """Begins without a runs folder."""
    plan, notes, again, runs = plan_of("control", "other", seeds=3), Notes(), Notes(), tmp_path / "new" / "runs"
    result = go(plan, runs, local(), notes)
    assert (result.trained, result.behind, result.missing, notes.messages) == (6, {}, (), [])
    assert sorted(notes.started_trials) == sorted((trial.key, 1) for trial in plan.trials)
    assert (notes.todo, notes.more, notes.epochs) == (6, 0, 12)
    assert all(result.records[trial.key].same_result(outcome(trial)) for trial in plan.trials)
    assert records_on_disk(runs) == result.records
    assert not list((runs / "checkpoints" / "faults").iterdir())

    second = go(plan, runs, local(), again)
    assert (second.trained, again.started_trials, again.messages) == (0, [], [])
    assert second.records == result.records
    assert load(RunOptions(runs=runs), "faults").records == result.records


def test_trials_run_in_the_order_of_the_plan(runs: Path) -> None:
    plan, executor = plan_of("control", "other", seeds=4), Instant(outcome, jobs=1)
    result = go(plan, runs, executor)
    assert tuple(executor.submitted) == plan.trials
    assert list(result.records) == list(result.needed) == keys_of(list(plan.trials))


def test_more_seeds_train_only_what_is_new(runs: Path) -> None:
    go(plan_of("control", seeds=2), runs)
    notes = Notes()
    result = go(plan_of("control", seeds=5), runs, notes=notes)
    assert (notes.todo, result.trained, len(result.records)) == (3, 3, 5)


def test_a_failed_trial_fails_alone_is_tried_again_and_is_run_again_at_the_next_call(runs: Path) -> None:
    plan, notes = plan_of("control", "killed", "raises", "diverges", "once_killed", seeds=1), Notes()
    result = go(plan, runs, local(), notes, retries=2)
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
    second = go(plan, runs, local(), again)
    assert {key for key, _ in again.started_trials} == set(result.missing)
    assert len(second.records) == 5
    third = go(plan, runs, Instant(outcome))  # what failed for good may succeed later
    assert (third.trained, third.missing) == (2, ())
    assert records_on_disk(runs) == third.records


def test_an_attempt_past_the_time_limit_is_stopped_and_tried_again(runs: Path) -> None:
    plan, notes = plan_of("control", "once_hangs", seeds=1), Notes()
    result = go(plan, runs, local(), notes, retries=1, time_limit_s=2.0)
    assert notes.retries == ["time limit of 2 s"]
    assert not result.missing


def test_a_machine_that_was_lost_costs_no_attempt(runs: Path) -> None:
    class Unlucky(Instant):
        left = 3

        def events(self, timeout_s: float) -> list[Event]:
            if self.left:
                self.left -= 1
                return [Lost(self.open.pop().key, "its node was lost", blameless=True)]
            return super().events(timeout_s)

    result = go(plan_of("control", seeds=1), runs, Unlucky(outcome))
    assert (result.trained, result.missing) == (1, ())


class Stopping(LocalExecutor):
    """Does something when so many trials were submitted."""

    def __init__(self, after: int, act: Callable[[], object]) -> None:
        super().__init__(1, train=null)
        self.left, self.act = after, act

    def submit(self, job: Job) -> None:
        if not self.left:
            self.act()
        self.left -= 1
        super().submit(job)


def test_ctrl_c_keeps_what_is_finished_and_the_next_call_resumes(runs: Path) -> None:
    plan, notes = plan_of("control", seeds=6), Notes()
    with pytest.raises(CampaignInterrupted, match="3 of 6 trials are finished and kept") as caught:
        go(plan, runs, Stopping(3, lambda: signal.raise_signal(signal.SIGINT)))
    assert len(caught.value.result.records) == 3
    result = go(plan, runs, notes=notes)
    assert (notes.todo, len(result.records)) == (3, 6)
    assert check_campaign(plan, RunOptions(runs=runs)).sound


def test_ctrl_c_before_the_views_have_begun_does_not_wait_for_their_imports(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[object] = []
    monkeypatch.setattr("ablate.campaign.mlflow_view.MlflowView.load", imported.append)
    with pytest.raises(CampaignInterrupted):
        go(plan_of("control", seeds=2), runs, Instant(outcome, stop_after=0))
    assert not imported


def test_a_disk_that_fills_up_stops_the_campaign_and_it_resumes_after_space_is_made(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("control", "fills_disk", seeds=1)
    with pytest.raises(CampaignStopped, match="the disk is full; the campaign has stopped with 1 of 2 trials") as told:
        go(plan, runs, local(1))
    assert told.value.resumable
    notes = Notes()
    monkeypatch.setattr(run, "free_bytes", lambda folder: LEAST_FREE - 1 if notes.todo >= 0 else 10**12)
    with pytest.raises(CampaignStopped, match="the disk is full"):
        go(plan, runs, notes=notes)
    monkeypatch.undo()
    assert not go(plan, runs).missing


def test_a_full_disk_elsewhere_is_named(runs: Path) -> None:
    class Full(Instant):
        def events(self, timeout_s: float) -> list[Event]:
            return [Lost(self.open.pop().key, "OSError", disk_full=True, place="/tmp/there on node7")]

    with pytest.raises(CampaignStopped, match=r"^/tmp/there on node7: the disk is full"):
        go(plan_of("control"), runs, Full(outcome))


def test_a_campaign_that_needs_more_than_is_free_is_not_begun(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "free_bytes", lambda folder: 1_000_000)
    notes = Notes()
    with pytest.raises(AblateError, match=r"2 trials need about \d+ MB of disk, and 1 MB are free"):
        go(plan_of("control"), runs, notes=notes)
    assert notes.started_trials == []


def test_a_runs_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(AblateError, match=r"runs: cannot be written \(File exists\)"):
        go(plan_of("control"), tmp_path / "runs")


def test_a_file_in_the_runs_folder_that_cannot_be_used_is_named_and_not_said_to_be_unwritable(runs: Path) -> None:
    (runs / "locks" / "faults").mkdir(parents=True)
    with pytest.raises(AblateError, match=r"locks/faults: cannot be read or written \(Is a directory\)"):
        go(plan_of("control"), runs)


def test_a_second_dispatcher_is_told_who_the_first_is_and_trains_nothing(runs: Path) -> None:
    before, notes = datetime.now().replace(microsecond=0), Notes()
    with RecordStore(runs, "faults").locked(), pytest.raises(Held) as refused:
        go(plan_of("control"), runs, notes=notes)
    told = re.fullmatch(
        r"the study 'faults' is being run by process (\d+) on \S+ since ([\d-]+ [\d:]+); wait for it, or end it first",
        str(refused.value),
    )
    assert told
    assert int(told[1]) == os.getpid()
    assert before <= datetime.fromisoformat(told[2]) <= datetime.now()
    assert notes.started_trials == []


@pytest.mark.parametrize("damage", [b"\xff half a rec", b"", None])
def test_a_damaged_record_is_set_aside_announced_once_and_its_trial_run_again_unless_mlflow_has_it(
    runs: Path, damage: bytes | None
) -> None:
    plan, first, second = plan_of("control", seeds=2), Notes(), Notes()
    go(plan, runs)
    path = RecordStore(runs, "faults").path(plan.trials[0].key)
    path.write_bytes(damage if damage is not None else path.read_bytes().replace(b'"seed": 0', b'"seed": 7'))
    result = go(plan, runs, notes=first)
    assert result.trained == 0
    damaged, pulled = first.messages
    assert damaged.startswith(f"{path}: ")
    assert damaged.endswith(".damaged. Its trial is trained again, unless MLflow has the record.")
    assert pulled == f"1 record taken from MLflow at sqlite:///{runs}/mlflow.db"
    assert result.records[plan.trials[0].key].same_result(outcome(plan.trials[0]))
    go(plan, runs, notes=second)
    assert second.messages == []

    path.write_bytes(damage or b"half")
    (runs / "mlflow.db").unlink()
    assert go(plan, runs).trained == 1


def test_records_that_came_from_elsewhere_are_taken_as_they_are(runs: Path) -> None:
    plan, notes, store = plan_of("control", seeds=3), Notes(), RecordStore(runs, "faults")
    for trial in plan.trials:
        store.put(outcome(trial))
    assert len(go(plan, runs, notes=notes).records) == 3
    assert notes.started_trials == []
    assert check_campaign(plan, RunOptions(runs=runs)).sound


def test_records_of_the_earlier_version_are_taken_over_and_train_nothing(runs: Path) -> None:
    plan = plan_of("control", seeds=2)
    for trial in plan.trials:
        folder = runs / "trials" / "faults" / trial.key
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(outcome(trial).to_json())
    result = go(plan, runs)
    assert result.trained == 0
    assert all(records_on_disk(runs)[trial.key] == outcome(trial) for trial in plan.trials)


def test_the_plan_is_sealed_before_the_first_trial_starts_and_stays_as_it_was(runs: Path) -> None:
    plan, seen = plan_of("control", seeds=2), list[bytes]()
    path = plan_path(runs, plan.study)

    def train(trial: Trial) -> Record:
        seen.append(path.read_bytes())
        return outcome(trial)

    go(plan, runs, Instant(train))
    go(plan, runs)
    assert seen == [path.read_bytes()] * 2


def test_nothing_of_a_campaign_is_left_running(runs: Path) -> None:
    before = set(threading.enumerate())
    go(plan_of("control", seeds=1), runs)
    assert set(threading.enumerate()) <= before


def test_a_runs_folder_without_mlflow_and_optuna_costs_no_training(runs: Path) -> None:
    """One, or all, of what can be made again is deleted at rest."""
    plan = plan_of("control", "other", seeds=2)
    expected = go(plan, runs).records
    for names in (
        ["cache"],
        ["mlflow.db"],
        ["artifacts"],
        ["optuna.db"],
        ["cache", "mlflow.db", "artifacts", "optuna.db"],
    ):
        for name in names:
            path = runs / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        result = go(plan, runs)
        assert (result.trained, result.behind, result.records) == (0, {}, expected), names
        assert check_campaign(plan, RunOptions(runs=runs)).sound, names


def test_what_the_campaign_came_to_is_concluded_once_with_every_record_before_the_views_close(runs: Path) -> None:
    plan, concluded = plan_of("control", seeds=2), list[CampaignResult]()

    def conclude(result: CampaignResult) -> Conclusion:
        concluded.append(result)
        return Conclusion(complete=not result.missing, note="**better**")

    def call() -> CampaignResult:
        options = RunOptions(runs=runs)
        return run_campaign(
            plan, options, prepare=go.__globals__["no_costs"], executor=Instant(outcome), conclude=conclude
        )

    assert call().records == concluded[0].records
    assert (len(concluded), len(concluded[0].records)) == (1, 2)


def test_a_second_call_of_a_finished_study_asks_no_view_and_leaves_every_file_alone(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("control", "other", seeds=2)
    first = go(plan, runs)
    monkeypatch.setattr(run.MlflowView, "known", lambda *_: pytest.fail("MLflow was asked"))
    monkeypatch.setattr(run.OptunaView, "known", lambda *_: pytest.fail("Optuna was asked"))

    def files() -> dict[Path, int]:
        return {
            path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file() and path.parent.name != "locks"
        }

    before = files()
    second = go(plan, runs, executor=Instant(lambda trial: pytest.fail("trained again")), notes=Notes())
    assert (second.records, second.behind) == (first.records, {})
    assert files() == before


def test_threads_are_those_of_the_first_trials_until_others_are_asked_for(runs: Path) -> None:
    threads = list[int]()

    class Looking(Instant):
        def submit(self, job: Job) -> None:
            threads.append(job.threads)
            super().submit(job)

    def train(trial: Trial) -> Record:
        record = outcome(trial)
        return replace(record, measured=replace(record.measured, threads=threads[-1]))

    for seeds, options in ((1, {"threads": 2}), (2, {}), (3, {"threads": 1})):
        notes = Notes()
        go(plan_of("control", seeds=seeds), runs, Looking(train), notes, **options)
    assert threads == [2, 2, 1]
    assert "ran with 2 threads, these run with 1" in notes.messages[0]


def test_an_answer_that_mlflow_does_not_give_in_time_is_not_waited_for(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, notes = plan_of("control", seeds=2), Notes()
    monkeypatch.setattr(run, "PULL_S", 0.2)
    monkeypatch.setattr(run.MlflowView, "pull", lambda *_: time.sleep(3))
    monkeypatch.setattr("ablate.campaign.mlflow_store.MlflowStore.may_hold", lambda *_: True)
    result = go(plan, runs, notes=notes)
    assert result.trained == 2
    assert [m for m in notes.messages if "has not answered for 0.2 s. Trials without a record on disk are trained" in m]


def test_a_trainer_that_lies_about_its_trial_is_not_believed(runs: Path) -> None:
    """Its record names another trial, so it is damaged for whoever reads it."""
    plan = plan_of("control", "other", seeds=1)
    mine, others = plan.trials

    class Lying(Instant):
        def events(self, timeout_s: float) -> list[Any]:
            job = self.open.pop()
            job.store.keep(job.key, outcome(others).to_json())
            record, damage = job.store.take(job.key)
            return [Lost(job.key, damage)] if record is None else super().events(timeout_s)

    result = go(replace(plan, trials=(mine,)), runs, Lying(outcome))
    assert result.missing == (mine.key,)
    assert "is the record of trial" in result.records[mine.key].reason
