"""Plans, trainers and observers for the campaign's tests; trainers are named from worker processes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ablate.campaign.executor import TrialContext
from ablate.campaign.options import ArmCosts, RunOptions, Silent
from ablate.campaign.resources import Layout
from ablate.design.datasets import KNOWN
from ablate.design.plan import Arm, CampaignPlan, Trial
from ablate.design.record import EpochPoint, Measured, Point, Record
from ablate.design.study import DataSpec, Plan, Recipe, Study
from ablate.model.spec import NetSpec, StageSpec, diff

TINY = NetSpec(stages=(StageSpec(channels=8),), stem_channels=8, head_channels=0, in_channels=1, num_classes=10)
EPOCHS = 2


def plan_of(
    *arms: str, seeds: int = 2, name: str = "faults", data: str = "mnist5k", epochs: int = EPOCHS
) -> CampaignPlan:
    """A plan whose arms are named after what their trainer does; the first is the control."""
    study = Study(
        name=name,
        arms={arm: {"width_mult": 1.0} for arm in arms[1:]},
        plan=Plan(seeds=seeds),
        recipe=Recipe(epochs=epochs, batch_size=32),
        data=DataSpec(name=data),
    )
    tiny = replace(TINY, num_classes=KNOWN[data].num_classes)
    nets = [replace(tiny, stem_channels=8 * (i + 1)) for i in range(len(arms))]
    made = tuple(
        Arm(name=arm, spec=net, recipe=study.recipe, data=study.data, changes=diff(nets[0], net))
        for arm, net in zip(arms, nets, strict=True)
    )
    trials = tuple(
        Trial(study=name, arm=arm.name, seed=seed, spec=arm.spec, recipe=study.recipe, data=study.data)
        for seed in range(seeds)
        for arm in made
    )
    return CampaignPlan(study=study, data=KNOWN[data], arms=made, trials=trials)


def point(epoch: int) -> EpochPoint:
    return EpochPoint(epoch=epoch, train_loss=1 / epoch, train_accuracy=0.5, val_loss=1.0, val_accuracy=0.5, lr=0.1)


def outcome(trial: Trial) -> Record:
    """What a trial of the null trainer must give, whatever happened on the way."""
    noise = int(hashlib.sha256(trial.key.encode()).hexdigest()[:8], 16) / 2**32
    return Record(
        key=trial.key,
        study=trial.study,
        arm=trial.arm,
        seed=trial.seed,
        status="diverged" if trial.arm == "diverges" else "finished",
        diverged_step=3 if trial.arm == "diverges" else None,
        metrics={} if trial.arm == "diverges" else {"test_accuracy": noise, "test_loss": 1 - noise},
        curve=tuple(point(epoch) for epoch in range(1, trial.recipe.epochs + 1)),
        predictions=bytes(20),
        measured=Measured(wall_s=0.01, started_at=1_700_000_000.0),
    )


def null(trial: Trial, context: TrialContext) -> Record:
    """Does at once what the arm's name says."""
    calls = context.folder / "attempts"
    with calls.open("a") as file:
        file.write("x")
    first = calls.read_text() == "x"
    for epoch in range(1, trial.recipe.epochs + 1):
        context.on_epoch(point(epoch), 100.0)
    print("the last words of", trial.arm, flush=True)  # noqa: T201
    if trial.arm in FAULTS and (first or not trial.arm.startswith("once")):
        FAULTS[trial.arm]()
    return outcome(trial)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise() -> None:
    raise ValueError("the trainer is out of ideas")


def _fill() -> None:
    raise OSError(28, "No space left on device")


ALWAYS: dict[str, Callable[[], object]] = {
    "killed": _kill,
    "raises": _raise,
    "segfaults": lambda: ctypes.string_at(0),
    "hangs": lambda: time.sleep(60),
    "exits": lambda: os._exit(7),
    "fills_disk": _fill,
}
FAULTS = ALWAYS | {f"once_{name}": fault for name, fault in ALWAYS.items()}  # at the first attempt only


def slow(trial: Trial, context: TrialContext) -> Record:
    """Takes its time, and tells its process in a file of its folder."""
    (context.folder / "pid").write_text(str(os.getpid()))
    time.sleep(30)
    return outcome(trial)


def no_costs(plan: CampaignPlan, options: RunOptions, layout: Layout, say: Callable[[str], None]) -> ArmCosts:
    """Costs out of thin air."""
    return {arm.name: {"params": 100 * (i + 1), "macs": 1000, "fvcore_flops": None} for i, arm in enumerate(plan.arms)}


class Notes(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.started_trials: list[tuple[str, int]] = []
        self.messages: list[str] = []
        self.retries: list[str] = []
        self.epochs = 0
        self.todo = -1
        self.more = 0

    def began(self, plan: CampaignPlan, todo: int) -> None:
        self.todo = todo

    def added(self, trials: int) -> None:
        self.more += trials

    def started(self, trial: Trial, attempt: int) -> None:
        self.started_trials.append((trial.key, attempt))

    def progress(self, trial: Trial, point: Point, images_per_s: float) -> None:
        self.epochs += 1

    def retried(self, trial: Trial, reason: str) -> None:
        self.retries.append(reason)

    def said(self, message: str) -> None:
        self.messages.append(message)


def alive(pid: int) -> bool:
    """Whether a process runs, zombies aside."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Waits for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
