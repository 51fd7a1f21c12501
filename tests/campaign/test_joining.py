from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from driver import killing_plan, stepwise
from executor_contract import ExecutorContract
from fakes import Notes, alive, no_costs, outcome, plan_of, slow, until
from fire import ENVIRONMENT, HERE, new_runs
from instant import Instant

from ablate.campaign.dispatch import run_campaign
from ablate.campaign.executors import Executor, Finished, Job, Lost, Progress, Trainer
from ablate.campaign.joining import help_out, run_or_help
from ablate.campaign.local import LocalExecutor
from ablate.campaign.lock import Held
from ablate.campaign.outbox import Outbox
from ablate.campaign.sharing import SharedExecutor
from ablate.campaign.spool import Spool, desk, event_from_json, event_to_json, holding, job_from_json, job_to_json
from ablate.campaign.worker import run_job
from ablate.errors import AblateError


class TestSharedExecutor(ExecutorContract):
    """With no place of its own: everything goes to a helper, which is a thread of this process."""

    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> Iterator[None]:
        self.runs, self.threads = tmp_path / "shared", list[threading.Thread]()
        yield
        for thread in self.threads:
            thread.join()

    def make(self, jobs: int, train: Trainer) -> Executor:
        shared = SharedExecutor(Instant(lambda trial: None, jobs=0), desk(self.runs, "study"), print)
        shared._own.events = lambda timeout_s: time.sleep(timeout_s) or []  # type: ignore[method-assign,func-returns-value]
        helper = lambda: help_out(self.runs, "study", lambda: LocalExecutor(jobs, train=train, preload=()))  # noqa: E731
        self.threads.append(threading.Thread(target=helper))
        self.threads[-1].start()
        assert until(lambda: shared.capacity == jobs)
        return shared


def test_jobs_and_events_travel_as_text() -> None:
    trial = plan_of("control", seeds=1).trials[0]
    job = Job(trial=trial, folder=Path("/a"), data_root=None, cache=Path("/b"), attempt=2, data_file=Path("/c.npz"))
    assert job_from_json(job_to_json(job)) == job
    point = outcome(trial).curve[0]
    for event in (Progress("k", point, 9.0), Finished("k", outcome(trial)), Lost("k", "why", "out", True, True)):
        assert event_from_json(event_to_json("7", event)) == ("7", event)


def test_a_job_of_another_version_is_refused() -> None:
    job = Job(trial=plan_of("control", seeds=1).trials[0], folder=Path("/a"), data_root=None, cache=Path("/b"))
    text = job_to_json(job).replace('"epochs": 2', '"epochs": 3')
    with pytest.raises(AblateError, match="another version of ablate"):
        job_from_json(text)


@pytest.mark.parametrize("events", [1, 2, 3])
def test_a_helper_that_ends_while_it_is_listened_to_or_given_a_job_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    trial, folder = plan_of("control", seeds=1).trials[0], tmp_path / "helper"
    spool = Spool(folder)
    for count in range(events):
        spool.put_event(count, "7", Finished("k", outcome(trial)))

    def ends_before(act: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: (shutil.rmtree(folder), act(*given, **named))[1]

    monkeypatch.setattr("ablate.campaign.spool.event_from_json", ends_before(event_from_json))
    assert spool.take_events() == [("7", Finished("k", outcome(trial)))]
    assert spool.take_events() == []
    monkeypatch.setattr("ablate.files.tempfile.mkstemp", ends_before(tempfile.mkstemp))
    spool.put_job("8", Job(trial=trial, folder=Path("/a"), data_root=None, cache=Path("/b")))
    assert not spool.alive


def test_a_worker_that_waited_for_another_one_takes_its_record(tmp_path: Path) -> None:
    trial = plan_of("control", seeds=1).trials[0]
    job = Job(trial=trial, folder=tmp_path / trial.key, data_root=None, cache=tmp_path)
    Outbox(tmp_path).put(outcome(trial))

    def never(*_: object) -> None:
        raise AssertionError("it was trained again")

    assert run_job(job, never, lambda *_: None) == outcome(trial)  # type: ignore[arg-type]


def test_one_who_joins_an_idle_campaign_runs_it(tmp_path: Path) -> None:
    assert run_or_help(lambda: 7, runs=tmp_path, study="it", executor=pytest.fail, say=pytest.fail) == 7


def test_a_helper_whose_folder_cannot_be_written_says_so_in_a_sentence(tmp_path: Path) -> None:
    owner = desk(tmp_path, "it") / "owner"
    with holding(owner):
        (owner.parent / f"{socket.gethostname()}-{os.getpid()}").touch()
        with pytest.raises(AblateError, match=r"cannot be read or written \((File exists|Not a directory)\)"):
            help_out(tmp_path, "it", pytest.fail)


def test_one_who_joins_takes_over_when_the_other_has_ended(tmp_path: Path) -> None:
    answers: list[Callable[[], int]] = [lambda: 7]
    said: list[str] = []

    def run() -> int:
        if not said:
            raise Held("the study 'it'", "process 1 on host")
        return answers[0]()

    assert run_or_help(run, runs=tmp_path, study="it", executor=pytest.fail, say=said.append) == 7
    assert said == ["the study 'it' is being run by process 1 on host; this process helps."]


class Counting(LocalExecutor):
    """Remembers which trials it was given."""

    def __init__(self) -> None:
        super().__init__(1, train=stepwise, preload=())
        self.given: list[str] = []

    def submit(self, job: Job) -> None:
        self.given.append(job.key)
        super().submit(job)


def helper(runs: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "helper.py"), str(runs), "kills", "2"]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("killed", [False, True])
def test_a_helper_shares_the_trials_and_none_is_lost_or_run_twice(
    tmp_path: Path, empty_store: Path, killed: bool
) -> None:
    runs, plan, notes, own = new_runs(tmp_path, empty_store), killing_plan(10), Notes(), Counting()
    processes: list[subprocess.Popen[str]] = []

    def assist() -> None:
        until(lambda: bool(notes.started_trials), 30)
        processes.append(helper(runs))
        if killed and until(lambda: len(notes.started_trials) >= 8, 30):
            processes[0].kill()

    thread = threading.Thread(target=assist)
    thread.start()
    result = run_campaign(plan, runs=runs, prepare=no_costs, executor=own, observer=notes, retries=0)
    thread.join()
    out, _ = processes[0].communicate(timeout=30)
    assert all(result.records[trial.key].same_result(outcome(trial)) for trial in plan.trials)
    assert {record.measured.attempts for record in result.records.values()} == {1}
    again = len(notes.retries)
    assert len(notes.started_trials) == 20 + again
    assert again <= 2 * killed
    assert len(own.given) < 20
    if not killed:
        assert len(own.given) + int(out) == 20
        assert len(set(own.given)) == len(own.given)
    assert not list(desk(runs, "kills").glob("*/"))


def test_a_helper_ends_its_workers_when_the_dispatcher_is_killed(tmp_path: Path) -> None:
    runs, (trial,) = tmp_path / "runs", plan_of("control", seeds=1).trials
    script = (
        "import sys, time; from pathlib import Path; from ablate.campaign.sharing import *\n"
        "from instant import Instant; from fakes import plan_of; from ablate.campaign.executors import Job\n"
        "shared = SharedExecutor(Instant(None, jobs=0), Path(sys.argv[1]) / 'helpers/faults', print)\n"
        "while not shared.capacity: time.sleep(0.1)\n"
        "trial, = plan_of('control', seeds=1).trials; folder = Path(sys.argv[1])\n"
        "shared.submit(Job(trial=trial, folder=folder / trial.key, data_root=None, cache=folder))\n"
        "time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(runs)], env=ENVIRONMENT)
    counts: list[int] = []

    def assist() -> None:
        while not counts and owner.poll() is None:
            time.sleep(0.1)
            if (desk(runs, "faults") / "owner").exists():
                counts.append(help_out(runs, "faults", lambda: LocalExecutor(1, train=slow, preload=())))

    thread = threading.Thread(target=assist)
    thread.start()
    pid = runs / trial.key / "pid"
    assert until(lambda: pid.exists() and bool(pid.read_text()), 30)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    thread.join()
    assert counts == [0]
    assert until(lambda: not alive(int(pid.read_text())))
