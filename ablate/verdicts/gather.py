"""From records to arrays: what each arm brings to the judgement, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import LARGEST, Record
from ablate.verdicts.stats import Floats, above_chance_p

CHANCE = "test_accuracy"  # chance is a matter of accuracy, whichever metric decides
# An arm must beat chance this clearly, in its mean accuracy, before anything is said of it.
CHANCE_LEVEL = 0.001


@dataclass(frozen=True)
class ArmResults:
    """One arm's records in the order of its planned seeds.

    Attributes:
        name: of the arm.
        records: the sound records up to the first seed that is not; a seed is never left out from the middle.
        planned: the seeds planned (under ``until = "settled"``: the most that there can be).
        fault: what is wrong at the first unsound seed: "seed 3 failed: reason"; "" when all are sound.
        missing: whether that seed merely has no record yet.
        diverged: seeds of this arm that diverged, wherever they stand.
    """

    name: str
    records: tuple[Record, ...]
    planned: int
    fault: str
    missing: bool
    diverged: int

    @property
    def sound(self) -> int:
        """How many planned seeds, from the first on, have a sound record."""
        return len(self.records)

    def values(self, metric: str, n: int) -> Floats:
        """The metric at the first n seeds, (n,)."""
        return np.array([record.metrics[metric] for record in self.records[:n]], dtype=np.float64)

    def measured(self, metric: str, n: int) -> bool:
        """Whether the metric is a finite number at each of the first n seeds."""
        return all(math.isfinite(record.metrics.get(metric, math.nan)) for record in self.records[:n])

    def seeds(self, n: int) -> tuple[int, ...]:
        """The first n seeds."""
        return tuple(record.seed for record in self.records[:n])

    def correct(self, n: int, num_images: int) -> NDArray[np.bool_] | None:
        """Which test images were right at the first n seeds, (n, images); None where a record does not say."""
        rows = [record.correct for record in self.records[:n]]
        if any(len(row) != (num_images + 7) // 8 for row in rows):
            return None
        packed = np.array([np.frombuffer(row, dtype=np.uint8) for row in rows])
        return np.unpackbits(packed, axis=1, count=num_images).astype(np.bool_)

    def at_chance(self, n: int, num_classes: int, num_images: int) -> bool:
        """Whether the mean accuracy over the first n seeds is not clearly above the best constant answer."""
        chance = max(1 / num_classes, *(record.chance for record in self.records[:n]))
        accuracy = float(self.values(CHANCE, n).mean())
        return chance >= 1 or above_chance_p(accuracy, chance, num_images) > CHANCE_LEVEL


def gather(plan: CampaignPlan, records: Mapping[str, Record]) -> dict[str, ArmResults]:
    """Each arm's results by name, the control's and the noise floor's included."""
    needed = {*plan.study.decision.metrics, *([] if plan.study.own_training else [CHANCE])}
    return {arm.name: _results(arm.name, plan.arm_trials(arm.name), records, needed) for arm in plan.arms}


def _results(name: str, trials: tuple[Trial, ...], records: Mapping[str, Record], needed: set[str]) -> ArmResults:
    sound: list[Record] = []
    fault, missing = "", False
    for trial in trials:
        record = records.get(trial.key)
        fault, missing = _fault(trial, record, needed), record is None
        if fault or record is None:
            break
        sound.append(record)
    diverged = sum(trial.key in records and records[trial.key].status == "diverged" for trial in trials)
    return ArmResults(name, tuple(sound), len(trials), fault, missing, diverged)


def _fault(trial: Trial, record: Record | None, needed: set[str]) -> str:
    if record is None:
        return f"seed {trial.seed} of {trial.arm} has no record"
    if record.status != "finished":
        reason = record.reason.strip().splitlines()
        return f"seed {trial.seed} of {trial.arm} {record.status}" + (f" ({reason[0]})" if reason else "")
    unusable = sorted(name for name in needed if not abs(record.metrics.get(name, math.nan)) < LARGEST)
    if unusable:
        return f"seed {trial.seed} of {trial.arm} has no finite {' nor '.join(unusable)}"
    return ""
