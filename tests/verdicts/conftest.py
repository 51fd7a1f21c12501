"""A small campaign whose records are made by hand: no net is trained here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.record import Record
from ablate.design.study import Study

TOGGLES = {
    "a": {"bottleneck": "relu"},
    "b": {"activation": "relu"},
    "c": {"conv": "full"},
    "d": {"shortcut": "none"},
}


class Campaign:
    """A plan and its records; ``judge`` them, or spoil some first."""

    def __init__(self, plan: CampaignPlan, records: dict[str, Record]) -> None:
        self.plan = plan
        self.records = records

    def spoil(self, arm: str, position: int, **changes: Any) -> None:
        """Changes fields of one record."""
        key = self.plan.arm_trials(arm)[position].key
        self.records[key] = replace(self.records[key], **changes)

    def drop(self, arm: str, position: int) -> None:
        """Takes one record away."""
        del self.records[self.plan.arm_trials(arm)[position].key]


@pytest.fixture
def campaign() -> Callable[..., Campaign]:
    """Makes a campaign from accuracies by arm; arms "a", "b", "c", "d" each move one toggle."""

    def make(accuracies: Mapping[str, Sequence[float]], *, images: bool = False, **study: Any) -> Campaign:
        arms = {name: TOGGLES[name] for name in accuracies if name in TOGGLES}
        seeds = len(accuracies["control"])
        fields = {"name": "hand_made", "arms": arms, "plan": {"seeds": seeds}, **study}
        plan = make_plan(Study.model_validate(fields))
        records = {}
        for name, values in accuracies.items():
            for position, (trial, value) in enumerate(zip(plan.arm_trials(name), values, strict=False)):
                right = np.random.default_rng(position).random(plan.data.num_test) < value
                records[trial.key] = Record(
                    key=trial.key,
                    study="hand_made",
                    arm=name,
                    seed=trial.seed,
                    status="finished",
                    metrics={"test_accuracy": float(value), "test_loss": 1 - float(value)},
                    correct=np.packbits(right).tobytes() if images else b"",
                )
        return Campaign(plan, records)

    return make
