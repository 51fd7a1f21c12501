from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest
from executor_contract import ExecutorContract
from fakes import alive, null, plan_of, slow, until

from ablate.campaign.executor import Executor, Finished, Lost, Trainer, TrialContext
from ablate.campaign.local import LocalExecutor, _call, run_in_subprocess
from ablate.campaign.options import RunOptions
from ablate.campaign.records import OUTPUT, RecordStore
from ablate.campaign.run import run_campaign
from ablate.design.plan import Trial, make_plan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.errors import AblateError

HERE = Path(__file__).parent


def names_process(trial: Trial, context: TrialContext) -> Record:
    (context.folder / "pid").write_text(str(os.getpid()))
    return null(trial, context)


class TestLocalExecutor(ExecutorContract):
    def make(self, jobs: int, train: Trainer) -> Executor:
        return LocalExecutor(jobs, train=train)

    def test_a_process_takes_one_trial_after_another_until_one_kills_it(self, tmp_path: Path) -> None:
        executor = LocalExecutor(1, train=names_process)
        pids = []
        for seed, arm in enumerate(("control", "control", "killed", "control", "raises", "control")):
            job = self.job(tmp_path, arm, seed)
            executor.submit(job)
            self.all_events(executor, 1)
            pids.append(int((job.folder / "pid").read_text()))
        first, second, third = pids[0], pids[3], pids[5]
        assert pids == [first, first, first, second, second, third]
        assert len({first, second, third}) == 3
        executor.close()
        assert until(lambda: not alive(third))

    def test_a_process_that_dies_while_it_waits_for_work_costs_no_trial(self, tmp_path: Path) -> None:
        executor = LocalExecutor(1, train=names_process)
        for seed in range(2):
            job = self.job(tmp_path, "control", seed)
            executor.submit(job)
            assert isinstance(self.all_events(executor, 1)[-1], Finished)
            (worker,) = executor._workers
            worker.process.kill()
            worker.process.join()
        executor.close()

    def test_output_of_a_trial_goes_to_its_own_folder(self, tmp_path: Path) -> None:
        executor = LocalExecutor(1, train=null)
        jobs = [self.job(tmp_path, arm, seed) for seed, arm in enumerate(("control", "other"))]
        for job in jobs:
            executor.submit(job)
            self.all_events(executor, 1)
        executor.close()
        written = [(job.folder / OUTPUT).read_text() for job in jobs]
        assert written == ["the last words of control\n", "the last words of other\n"]

    def test_a_worker_outlives_neither_its_fork_server_nor_its_lock(self, tmp_path: Path) -> None:
        executor = LocalExecutor(1, train=slow)
        job = self.job(tmp_path, "control")
        executor.submit(job)
        assert until((job.folder / "pid").exists)
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]
        end = self.all_events(executor, 1)[-1]
        assert isinstance(end, Lost)
        assert "fork server" in end.reason
        assert until(lambda: not alive(int((job.folder / "pid").read_text())))
        executor.close()


@pytest.mark.slow
def test_the_first_trial_of_a_worker_takes_as_much_memory_as_the_next(runs: Path) -> None:
    study = Study(
        name="memory",
        control={"net": "mobilenet_v2_mnist"},
        arms={"relu": {"bottleneck": "relu"}},
        recipe={"epochs": 1},
        plan={"seeds": 1},
    )
    result = run_campaign(make_plan(study), RunOptions(runs=runs, jobs=1, threads=1))
    first, second = (record.measured.peak_bytes for record in result.records.values())
    assert first == pytest.approx(second, rel=0.25)


DISPATCHER = """
import sys
from pathlib import Path
from fakes import plan_of, slow
from ablate.campaign.executor import Job
from ablate.campaign.local import LocalExecutor
from ablate.campaign.records import RecordStore
print("this module runs as", __name__, flush=True)
trial = plan_of("control").trials[0]
executor = LocalExecutor(1, train=slow, preload=())
runs = Path(sys.argv[1])
executor.submit(Job(trial=trial, store=RecordStore(runs, "faults"), data_root=None, cache=runs))
while True:
    executor.events(1.0)
"""


def dispatcher(folder: Path) -> subprocess.Popen[str]:
    """A script without a main guard, as a user may write it."""
    script = folder / "script.py"
    script.write_text(DISPATCHER)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    return subprocess.Popen(
        [sys.executable, str(script), str(folder / "runs")], env=environment, stdout=subprocess.PIPE, text=True
    )


def test_workers_end_when_their_dispatcher_is_killed_and_never_run_its_script(tmp_path: Path) -> None:
    process = dispatcher(tmp_path)
    pid = RecordStore(tmp_path / "runs", "faults").folder(plan_of("control").trials[0].key) / "pid"
    assert until(lambda: pid.exists() and bool(pid.read_text()))
    process.kill()
    out, _ = process.communicate()
    assert out.splitlines() == ["this module runs as __main__"]
    assert until(lambda: not alive(int(pid.read_text())))


def test_a_function_called_in_a_subprocess_returns_its_value_and_passes_its_messages_on() -> None:
    heard: list[str] = []
    assert run_in_subprocess(_helper, "fine", say=heard.append) == "fine!"
    assert heard == ["working on fine"]


@pytest.mark.parametrize(
    ("word", "kind", "message"),
    [
        ("wrong", AblateError, "that is wrong"),
        ("bug", RuntimeError, "KeyError: 'bug'"),
        ("memory", AblateError, "cannot be loaded here .ImportError: failed to map.*needs 6 GB of address space"),
        ("die", AblateError, "_helper ended without a result .killed by SIGKILL"),
    ],
)
def test_a_function_called_in_a_subprocess_raises_what_went_wrong(
    word: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        run_in_subprocess(_helper, word, say=print)


def _helper(word: str, say: object) -> str:
    say(f"working on {word}")  # type: ignore[operator]
    if word == "wrong":
        raise AblateError("that is wrong")
    if word == "bug":
        raise KeyError("bug")
    if word == "memory":
        raise ImportError("failed to map segment from shared object")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{word}!"


def test_a_subprocess_whose_dispatcher_was_killed_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for function in (lambda say: say("half"), lambda say: 1):
        ours, theirs = multiprocessing.Pipe()
        ours.close()
        _call(function, (), theirs)
    assert ended == [0, 0]
