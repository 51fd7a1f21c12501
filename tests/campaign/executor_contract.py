"""What every executor promises; a test module inherits it and says how to make one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import EPOCHS, alive, null, outcome, plan_of, slow, until

from ablate.campaign.executor import Event, Executor, Finished, Job, Lost, Progress, Trainer
from ablate.campaign.records import RecordStore
from ablate.design.plan import Trial


def trial(arm: str, seed: int = 0) -> Trial:
    return plan_of(arm, seeds=seed + 1).trials[seed]


class ExecutorContract:
    def make(self, jobs: int, train: Trainer) -> Executor:
        raise NotImplementedError

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        executor = self.make(2, null)
        yield executor
        executor.close()

    def job(self, runs: Path, arm: str, seed: int = 0, **more: Any) -> Job:
        store = RecordStore(runs, "faults")
        return Job(trial=trial(arm, seed), store=store, data_root=None, cache=runs, **more)

    def folder(self, job: Job) -> Path:
        """Where the job's files lie while it runs."""
        return job.folder

    def all_events(self, executor: Executor, ends: int, seconds: float = 20.0) -> list[Event]:
        found: list[Event] = []
        deadline = time.monotonic() + seconds
        while sum(not isinstance(event, Progress) for event in found) < ends:
            assert time.monotonic() < deadline, found
            found += executor.events(0.2)
        return found

    def test_its_capacity_is_what_was_asked_for(self, executor: Executor) -> None:
        assert executor.capacity == 2

    def test_a_job_tells_each_epoch_and_then_its_record(self, executor: Executor, tmp_path: Path) -> None:
        job = self.job(tmp_path, "control")
        executor.submit(job)
        *progress, end = self.all_events(executor, 1)
        assert [event.point.epoch for event in progress if isinstance(event, Progress)] == list(range(1, EPOCHS + 1))
        assert isinstance(end, Finished)
        assert end.record.same_result(outcome(job.trial))
        assert job.store.read(job.key) == end.record  # on disk before it is told
        assert executor.events(0.0) == []

    def test_jobs_run_side_by_side_and_each_ends_once(self, executor: Executor, tmp_path: Path) -> None:
        jobs = [self.job(tmp_path, "control", seed) for seed in range(2)]
        for job in jobs:
            executor.submit(job)
        ends = [event for event in self.all_events(executor, 2) if not isinstance(event, Progress)]
        assert {event.key for event in ends if isinstance(event, Finished)} == {job.key for job in jobs}

    def test_a_trainer_that_raises_is_lost_with_its_error_and_last_words(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        executor.submit(self.job(tmp_path, "raises"))
        end = self.all_events(executor, 1)[-1]
        assert isinstance(end, Lost)
        assert end.reason == "ValueError: the trainer is out of ideas"
        assert "the last words of raises" in end.output
        assert not end.disk_full

    def test_a_full_disk_is_told_from_other_errors(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(self.job(tmp_path, "fills_disk"))
        end = self.all_events(executor, 1)[-1]
        assert isinstance(end, Lost)
        assert end.disk_full

    @pytest.mark.parametrize(
        ("arm", "reason"), [("killed", "SIGKILL"), ("segfaults", "SIGSEGV"), ("exits", "exit code 7")]
    )
    def test_a_worker_that_dies_takes_only_its_trial(
        self, executor: Executor, tmp_path: Path, arm: str, reason: str
    ) -> None:
        executor.submit(self.job(tmp_path, arm))
        executor.submit(self.job(tmp_path, "control", seed=1))
        ends = [event for event in self.all_events(executor, 2) if not isinstance(event, Progress)]
        lost = [event for event in ends if isinstance(event, Lost)]
        assert len(lost) == 1
        assert reason in lost[0].reason
        assert f"the last words of {arm}" in lost[0].output

    def test_a_job_past_its_time_limit_is_lost(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(self.job(tmp_path, "hangs", time_limit_s=1.0))
        end = self.all_events(executor, 1)[-1]
        assert isinstance(end, Lost)
        assert end.reason == "time limit of 1 s"

    def test_a_cancelled_job_ends_without_an_event(self, tmp_path: Path) -> None:
        executor = self.make(1, slow)
        job = self.job(tmp_path, "control")
        try:
            executor.submit(job)
            assert until((self.folder(job) / "pid").exists)
            executor.cancel(job.key)
            executor.cancel(job.key)
            assert executor.events(0.2) == []
            assert until(lambda: not alive(int((self.folder(job) / "pid").read_text())))
        finally:
            executor.close()

    def test_close_leaves_no_worker_behind(self, tmp_path: Path) -> None:
        executor = self.make(1, slow)
        job = self.job(tmp_path, "control")
        executor.submit(job)
        assert until((self.folder(job) / "pid").exists)
        executor.close()
        assert until(lambda: not alive(int((self.folder(job) / "pid").read_text())))

    def test_the_same_job_can_be_submitted_again_after_it_was_lost(self, executor: Executor, tmp_path: Path) -> None:
        executor.submit(self.job(tmp_path, "once_killed"))
        assert isinstance(self.all_events(executor, 1)[-1], Lost)
        executor.submit(self.job(tmp_path, "once_killed", attempt=2))
        end = self.all_events(executor, 1)[-1]
        assert isinstance(end, Finished)
        assert end.record.measured.attempts == 2
