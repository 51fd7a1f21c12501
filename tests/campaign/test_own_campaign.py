"""Campaigns whose trials are the user's own code: whatever it does, it costs its own trial at most."""

from __future__ import annotations

import os
import signal
import textwrap
import time
from pathlib import Path

import pytest
from fakes import Notes, alive, until

from ablate.campaign.executor import Job, Lost
from ablate.campaign.local import LocalExecutor
from ablate.campaign.options import CampaignResult, RunOptions
from ablate.campaign.records import RecordStore
from ablate.campaign.run import run_campaign
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.errors import AblateError

MODULE = """
import multiprocessing, os, shutil, subprocess, sys, time

calls = 0

def sleeper(trial):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (trial.folder.parent / f"{trial.arm}.pid").write_text(str(child.pid))
    return child

def square(number):
    return number * number

def train(trial):
    global calls
    calls += 1
    first = not (trial.folder / "attempted").exists()
    (trial.folder / "attempted").touch()
    what = trial.fields.what
    if what == "forks":
        os.fork()
    if what == "leaves a process":
        sleeper(trial)
    if what == "has workers":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(square, [2, 3]) == [4, 9]
    if what == "prints":
        for line in range(100_000):
            print("x" * 50, line)
        raise RuntimeError("the last words")
    if what == "fails once" and first:
        raise RuntimeError("not yet")
    if what == "daemonises" and os.fork() == 0:
        os.setsid()
        sleeper(trial)
        os._exit(0)
    if what == "moves away":
        os.chdir("/")
        shutil.rmtree(trial.folder)
    if what == "closes streams":
        sys.stdout.close()
        sys.stderr.close()
        raise RuntimeError("unheard")
    if what == "closes all":
        os.closerange(0, 1000)
    if what == "interrupts":
        raise KeyboardInterrupt("not by hand")
    if what == "aborts":
        os.abort()
    if what == "real time":
        os.kill(os.getpid(), 40)
    if what == "dies":
        os.kill(os.getpid(), 9)
    return {"val_bits": 1.0 + trial.seed, "calls": calls, "params": 100, "macs": 2000}

def hang(trial):
    sleeper(trial).wait()
"""
TOLD = ("forks", "leaves a process", "has workers", "prints", "fails once", "dies")
BREAKS = {
    "closes streams": "RuntimeError: unheard",
    "interrupts": "KeyboardInterrupt: not by hand",
    "aborts": "killed by SIGABRT",
    "real time": "killed by signal 40",
}


def plan_of(trainer: str | None = "campaign_code:train", seeds: int = 1, **fields: object) -> CampaignPlan:
    study = {
        "name": "own",
        "trainer": trainer,
        "control": {"what": "nothing"},
        "arms": {what.replace(" ", "_"): {"what": what} for what in TOLD},
        "plan": {"seeds": seeds},
        "decision": {"metric": "val_bits", "higher_is_better": False, "margin": 0.1},
        **fields,
    }
    return make_plan(Study.model_validate({name: value for name, value in study.items() if value is not None}))


@pytest.fixture(autouse=True)
def code(tmp_path: Path, own_stores: None) -> Path:
    (tmp_path / "campaign_code.py").write_text(MODULE)
    return tmp_path


def by_arm(result: CampaignResult) -> dict[str, Record]:
    return {record.arm: record for record in result.records.values()}


def pid(runs: Path, arm: str) -> int:
    path = runs / "checkpoints/own" / f"{arm}.pid"
    assert until(path.is_file)
    assert until(lambda: path.read_text() != "")
    return int(path.read_text())


def test_whatever_own_code_does_costs_its_own_trial_at_most(runs: Path) -> None:
    notes = Notes()
    result = run_campaign(plan_of(), RunOptions(runs=runs, retries=1, jobs=2), observer=notes)
    records = by_arm(result)
    assert {arm for arm, record in records.items() if record.status == "failed"} == {"prints", "dies"}
    finished = {arm: record for arm, record in records.items() if record.status == "finished"}
    assert all(record.metrics["calls"] == 1 for record in finished.values()), "each trial starts in a fresh process"
    assert not alive(pid(runs, "leaves_a_process"))
    assert records["fails_once"].measured.attempts == 2
    assert "the last words" in records["prints"].reason
    assert "x" * 50 + " 99999" in records["prints"].reason
    assert len(records["prints"].reason) < 10_000
    assert "killed by SIGKILL" in records["dies"].reason
    assert result.costs["control"] == {"params": 100.0, "macs": 2000.0}
    assert len(notes.retries) == 3


def test_whatever_ends_a_process_of_own_code_is_named_in_its_record(runs: Path) -> None:
    fine = ("daemonises", "moves away", "closes all")
    arms = {what.replace(" ", "_"): {"what": what} for what in (*fine, *BREAKS)}
    records = by_arm(run_campaign(plan_of(arms=arms), RunOptions(runs=runs, retries=0, jobs=2)))
    os.kill(pid(runs, "daemonises"), signal.SIGKILL)  # which left the group that ends with its trial
    assert [records[what.replace(" ", "_")].status for what in fine] == ["finished"] * 3
    for what, told in BREAKS.items():
        assert told in records[what.replace(" ", "_")].reason.splitlines()[0]


@pytest.mark.parametrize("kind", ["trainer", "command"])
def test_a_trial_that_hangs_is_killed_with_every_process_that_it_started(runs: Path, code: Path, kind: str) -> None:
    script = textwrap.dedent("""
        import os, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        folder = os.path.dirname(os.environ["ABLATE_FOLDER"])
        open(os.path.join(folder, "control.pid"), "w").write(str(child.pid))
        child.wait()
    """)
    (code / "hangs.py").write_text(script)
    command = {"command": ("python", "hangs.py", "{what}")}
    trial = (plan_of(None, **command) if kind == "command" else plan_of("campaign_code:hang")).trials[0]
    store = RecordStore(runs, "own")
    executor = LocalExecutor(1)
    try:
        executor.submit(Job(trial=trial, store=store, data_root=None, cache=runs / "cache", time_limit_s=60))
        child = pid(runs, "control")
        assert alive(child)
        executor._workers[0].deadline = time.monotonic()  # the time is up
        (lost,) = executor.events(5)
        assert isinstance(lost, Lost)
        assert lost.reason == "time limit of 60 s"
        assert until(lambda: not alive(child))
    finally:
        executor.close()


def test_a_dispatcher_that_is_closed_leaves_no_process_behind(runs: Path) -> None:
    trial = plan_of("campaign_code:hang").trials[0]
    executor = LocalExecutor(1)
    executor.submit(Job(trial=trial, store=RecordStore(runs, "own"), data_root=None, cache=runs / "cache"))
    child = pid(runs, "control")
    executor.close()
    assert until(lambda: not alive(child))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_thing\ndef train(trial): ...\n", "No module named 'no_such_thing'"),
        ("def other(a, b): ...\ntrain = other\n", "must take one argument, the trial"),
        ("train = 3\n", "must be a function, but is int 3"),
        ("import argparse\nargparse.ArgumentParser().parse_args(['x'])\ndef train(trial): ...\n", "SystemExit: 2 ("),
    ],
)
def test_code_that_cannot_be_called_is_refused_before_the_first_trial(
    runs: Path, code: Path, source: str, told: str
) -> None:
    (code / "cannot.py").write_text(source)
    notes = Notes()
    with pytest.raises(AblateError) as raised:
        run_campaign(plan_of("cannot:train"), RunOptions(runs=runs), observer=notes)
    assert told in str(raised.value)
    assert not notes.started_trials


def test_a_second_call_trains_nothing_and_edited_code_trains_anew(runs: Path, code: Path) -> None:
    few = {"arms": {"more": {"what": "more"}}}
    first = run_campaign(plan_of(**few), RunOptions(runs=runs))
    assert first.trained == 2
    again = run_campaign(plan_of(**few), RunOptions(runs=runs))
    assert (again.trained, again.records) == (0, first.records)
    (code / "campaign_code.py").write_text(MODULE.replace("1.0 +", "2.0 +"))
    assert run_campaign(plan_of(**few), RunOptions(runs=runs)).trained == 2
