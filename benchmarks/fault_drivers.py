"""Faults of processes, disks and files, each provoked on a real campaign, and what they cost.

A driver is called with an empty folder, a number of tries and its own dice. It returns how often the fault was provoked
and what it did to the records. The campaigns and trainers are those of tests/campaign.
"""

# ruff: noqa: ARG001, ARG002 - every driver is called in the same way, and every observer

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "campaign"))

from driver import killing_plan, stepwise
from fakes import Notes, no_costs, null, outcome, plan_of, until
from fire import VICTIMS, campaign_under_fire, children, dispatch, uninterrupted

from ablate.campaign.executor import Executor
from ablate.campaign.local import LocalExecutor
from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.options import CampaignResult, CampaignStopped, Observer, RunOptions
from ablate.campaign.optuna_view import OptunaView
from ablate.campaign.records import RecordStore
from ablate.campaign.run import run_campaign
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record


@dataclass(frozen=True, kw_only=True)
class Toll:
    """What a fault did.

    Attributes:
        tries: how often it was provoked.
        planned: records that there should be.
        lost: of these, how many are not in the runs folder.
        unseen: of the others, how many MLflow or Optuna does not show.
        twice: how many MLflow or Optuna shows more than once.
        differ: how many differ in any bit from those of an undisturbed campaign.
        remark: what else a reader may want to know.
        broken: what went against another promise; empty where all were kept.
    """

    tries: int
    planned: int
    lost: int = 0
    unseen: int = 0
    twice: int = 0
    differ: int = 0
    remark: str = ""
    broken: str = ""


class NotHere(Exception):  # noqa: N818 - no fault of anybody's
    """This machine lacks what the fault is provoked with."""


Drive = Callable[[Path, int, random.Random], Toll]
Expected = Callable[[Trial], Record]


def campaign(
    plan: CampaignPlan,
    runs: Path,
    executor: Executor | None = None,
    observer: Observer | None = None,
    options: RunOptions | None = None,
) -> CampaignResult:
    """A campaign of the null trainer, in this process."""
    return run_campaign(
        plan,
        replace(options or RunOptions(), runs=runs),
        observer=observer,
        executor=executor or LocalExecutor(2, train=null, preload=()),
        prepare=no_costs,
    )


def count(
    plan: CampaignPlan,
    options: RunOptions,
    tries: int,
    *,
    expected: Expected = outcome,
    remark: str = "",
    broken: str = "",
) -> Toll:
    """Compares records and views of a campaign at rest with the plan, and with an undisturbed campaign."""
    store = RecordStore(options.runs, plan.study.name)
    records = {trial.key: store.read(trial.key) for trial in plan.trials}
    views = [in_mlflow(plan, options), in_optuna(plan, options)]
    lost = [key for key, record in records.items() if record is None]
    unseen = [key for key in records if key not in lost and any(not view[key] for view in views)]
    differ = [t for t in plan.trials if (found := records[t.key]) is not None and not found.same_result(expected(t))]
    return Toll(
        tries=tries,
        planned=len(plan.trials),
        lost=len(lost),
        unseen=len(unseen),
        twice=sum(any(view[key] > 1 for view in views) for key in records),
        differ=len(differ),
        remark=remark,
        broken=broken,
    )


def in_mlflow(plan: CampaignPlan, options: RunOptions) -> Counter[str]:
    """How many runs MLflow shows of each trial, unfinished ones included."""
    runs = MlflowView(options.mlflow_uri, options.runs).trial_runs(plan.study.name)
    return Counter(run.key for run in runs)


def in_optuna(plan: CampaignPlan, options: RunOptions) -> Counter[str]:
    """How many trials Optuna shows of each trial in the campaign's study."""
    storage = OptunaView(options.runs, options.optuna_storage).storage
    mine = [study for study in storage.get_all_studies() if plan.study.digest in study.study_name]
    trials = [trial for study in mine for trial in storage.get_all_trials(study._study_id)]  # noqa: SLF001
    return Counter(trial.user_attrs["key"] for trial in trials if "key" in trial.user_attrs)


@functools.cache
def _empty_views() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ablate-empty-"))
    MlflowView(f"sqlite:///{folder / 'mlflow.db'}", folder).trial_runs("none")
    _ = OptunaView(folder).storage
    return folder


def new_runs(folder: Path) -> Path:
    """A runs folder with empty databases, whose making takes longer than the campaigns here."""
    runs = folder / "runs"
    runs.mkdir(parents=True)
    for name in ("mlflow.db", "optuna.db"):
        shutil.copy(_empty_views() / name, runs / name)
    return runs


# Processes


def kills(victim: str, trainer: str = "null") -> Drive:
    """SIGKILL at random instants, and the same command again."""

    def drive(folder: Path, tries: int, dice: random.Random) -> Toll:
        real, runs = trainer == "real", new_runs(folder)
        seeds = campaign_under_fire(
            runs,
            trainer,
            seeds=tries if real else 2 * tries,
            kills=tries,
            longest_s=1.5 if victim == "worker" else 6.0,
            dice=dice,
            victims=VICTIMS if victim == "any" else (victim,),
        )
        plan = killing_plan(seeds)
        known = uninterrupted(seeds, folder) if real else {trial.key: outcome(trial) for trial in plan.trials}
        return count(plan, RunOptions(runs=runs), tries, expected=lambda trial: known[trial.key])

    return drive


def stops(folder: Path, tries: int, dice: random.Random) -> Toll:
    """SIGSTOP to the dispatcher and all below it for seconds, then SIGCONT."""
    runs, seeds, done = new_runs(folder), 6 * tries, 0
    process = dispatch(runs, "null", seeds)
    _begun(runs, process)
    while done < tries and process.poll() is None:
        everybody = [process.pid, *children(process.pid)]
        _signal(everybody, signal.SIGSTOP)
        time.sleep(dice.uniform(1.0, 5.0))
        _signal(everybody, signal.SIGCONT)
        done += 1
        time.sleep(dice.uniform(0.2, 1.0))
    status = process.wait(timeout=600)
    broken = f"the campaign ended with {status}" if status else ""
    return count(killing_plan(seeds), RunOptions(runs=runs), done, broken=broken)


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _begun(runs: Path, process: subprocess.Popen[bytes]) -> None:
    assert until(lambda: bool(list(runs.glob("records/*/*.json"))) or process.poll() is not None, 120)


def double_starts(folder: Path, tries: int, dice: random.Random) -> Toll:
    """The same command a second time while the first runs: the second must end in a sentence, at once."""
    runs, seeds, refused = new_runs(folder), 14 * tries, 0
    first = dispatch(runs, "null", seeds)
    _begun(runs, first)
    for _ in range(tries):
        second = dispatch(runs, "null", seeds)
        status = second.wait(timeout=120)
        refused += status != 0 and first.poll() is None
    status = first.wait(timeout=600)
    broken = f"the first ended with {status}" if status else ""
    return count(killing_plan(seeds), RunOptions(runs=runs), refused, remark="each second one ended", broken=broken)


def worker_faults(what: str) -> Drive:
    """Each trial's first attempt ends badly; the second is let alone."""

    def drive(folder: Path, tries: int, dice: random.Random) -> Toll:
        plan, notes, runs = plan_of("control", f"once_{what}", seeds=tries), Notes(), new_runs(folder)
        options = RunOptions(runs=runs, time_limit_s=3.0 if what == "hangs" else None)
        campaign(plan, runs, observer=notes, options=options)
        return count(plan, options, len(notes.retries))

    return drive


def hopeless(folder: Path, tries: int, dice: random.Random) -> Toll:
    """An arm whose every attempt fails: recorded as failed with its reason; the other arm is whole."""
    plan, notes, runs = plan_of("control", "raises", seeds=tries), Notes(), new_runs(folder)
    result = campaign(plan, runs, observer=notes)
    failed = {r.key for r in result.failed if r.arm == "raises" and "the last words of raises" in r.reason}
    whole = replace(plan, trials=tuple(trial for trial in plan.trials if trial.key not in failed))
    broken = "" if len(failed) == tries else f"{tries - len(failed)} are not recorded as failed"
    remark = "each failure has its reason and last output"
    return count(whole, RunOptions(runs=runs), len(notes.retries) + len(failed), remark=remark, broken=broken)


class _Jumping(Notes):
    """Sets the clock of this process back or forward whenever a trial has finished."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.dice, self.true, self.offset, self.jumps = dice, time.time, 0.0, 0

    def now(self) -> float:
        return self.true() + self.offset

    def finished(self, trial: Trial, record: Record) -> None:
        self.offset, self.jumps = self.dice.choice([-1, 1]) * self.dice.uniform(3600, 86400 * 400), self.jumps + 1


def clock_jumps(folder: Path, tries: int, dice: random.Random) -> Toll:
    """The dispatcher's clock, set back or forward by an hour to a year after every trial."""
    plan, runs, notes = plan_of("control", "other", seeds=max(2, -(-tries // 2))), new_runs(folder), _Jumping(dice)
    time.time = notes.now  # type: ignore[assignment]
    try:
        campaign(plan, runs, observer=notes)
        again = campaign(plan, runs)
    finally:
        time.time = notes.true
    broken = f"{again.trained} trials trained again" if again.trained else ""
    return count(plan, RunOptions(runs=runs), notes.jumps, broken=broken)


# Disks and files


def disk_full(folder: Path, tries: int, dice: random.Random) -> Toll:
    """A small disk of its own is filled at a random instant; then space is made and the command given again."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120m", "ablate", str(disk)]
    if os.getuid() or subprocess.run(mount, check=False).returncode:
        raise NotHere("mounting a small disk takes root")
    stopped, plan = 0, killing_plan(10 * tries)
    try:
        runs = new_runs(disk)
        for attempt in range(tries + 1):
            timer = threading.Timer(dice.uniform(0.5, 4.0), _fill, [disk / "ballast"])
            if attempt < tries:
                timer.start()
            try:
                campaign(plan, runs, LocalExecutor(2, train=stepwise, preload=()))
            except CampaignStopped:
                stopped += 1
            timer.cancel()
            if attempt < tries:
                timer.join()
            (disk / "ballast").unlink(missing_ok=True)
        return count(plan, RunOptions(runs=runs), stopped, remark=f"stopped in a sentence {stopped} times")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**20))


def flip(path: Path, dice: random.Random, *, bits: int = 1) -> None:
    """Other bytes at random places, or the end cut off."""
    content = bytearray(path.read_bytes())
    if dice.random() < 0.3:
        content = content[: dice.randrange(len(content))]
    else:
        for _ in range(bits):
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def damaged_checkpoint(folder: Path, tries: int, dice: random.Random) -> Toll:
    """A bit of the checkpoint turned over, or its end cut off, between two halves of a trial."""
    from ablate.training.data import load_images
    from ablate.training.fit import fit

    plan = killing_plan(1)
    trial = plan.trials[0]
    images = load_images(plan.study.data, folder, folder / "data")
    whole, differ = fit(trial, images), 0

    class Cut(Exception):  # noqa: N818
        pass

    for number in range(tries):
        own, stop = folder / str(number), dice.choice([1, 2, 3])

        def cut(point: object, images_per_s: float, stop: int = stop) -> None:
            if getattr(point, "epoch", 0) == stop + 1:
                raise Cut

        with contextlib.suppress(Cut):
            fit(trial, images, folder=own, on_epoch=cut)
        (checkpoint,) = [path for path in own.iterdir() if path.suffix == ".pt" or "checkpoint" in path.name]
        flip(checkpoint, dice)
        record = fit(trial, images, folder=own)
        differ += not (record.notes and replace(record, notes=whole.notes).same_result(whole))
    return Toll(tries=tries, planned=tries, differ=differ, remark="each record notes that its trial started again")


def damaged_record(folder: Path, tries: int, dice: random.Random) -> Toll:
    """A bit of a record turned over, or its end cut off, between two calls."""
    plan, runs = plan_of("control", "other", seeds=-(-tries // 2)), new_runs(folder)
    campaign(plan, runs)
    for trial in plan.trials:
        flip(RecordStore(runs, plan.study.name).path(trial.key), dice)
    trained = campaign(plan, runs).trained
    remark = f"{len(plan.trials) - trained} came back from MLflow, {trained} were trained again"
    return count(plan, RunOptions(runs=runs), len(plan.trials), remark=remark)
