"""One alpha over many studies: the count, and a correction that holds over all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ablate.design.sealed import SealedPlan
from ablate.verdicts.judge import judge
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.tally import tally
from ablate.verdicts.verdict import Contrast, Verdict

Make = Callable[..., Any]
RNG = np.random.default_rng(3)
CONTROL = 0.95 + RNG.normal(0, 0.004, 10)
WORSE = CONTROL - 0.018 + RNG.normal(0, 0.004, 10)
SAME = CONTROL + RNG.normal(0, 0.0008, 10)
NOISY = CONTROL + RNG.normal(0, 0.01, 10)


def of(p_values: list[float], name: str, plan: Any) -> tuple[Any, Judgement]:
    """A judgement whose arms have these adjusted p-values."""
    verdicts = tuple(
        Verdict(
            arm=f"arm{place}",
            outcome="better" if p <= 0.05 else "undecided",
            why="",
            contrast=Contrast(
                arm=f"arm{place}", metric="test_accuracy", seeds=(0,), differences=(0.1,), control_mean=0.5,
                arm_mean=0.6, mean_difference=0.1, sd_difference=0.01, correlation=None, low=0.05, high=0.15, p=p,
                adjusted_p=p,
            ),
        )
        for place, p in enumerate(p_values)
    )  # fmt: skip
    made = Judgement(
        metric="test_accuracy", higher_is_better=True, alpha=0.05, margin=0.005, num_seeds=8,
        num_contrasts=len(p_values), stands=True, verdicts=verdicts,
    )  # fmt: skip
    return dataclasses.replace(plan, study=plan.study.model_copy(update={"name": name})), made


def test_asked_found_and_expected_by_chance_are_counted(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE, "b": SAME, "c": NOISY})
    sealed = SealedPlan(plan=made.plan, sealed_at=1.0, commit="")
    for key, record in made.records.items():
        measured = dataclasses.replace(record.measured, started_at=2.0)
        made.records[key] = dataclasses.replace(record, measured=measured)
    one, two = judge(made.plan, made.records, [sealed]), judge(made.plan, made.records)
    found = tally([(made.plan, one), (made.plan, two)])
    assert (found.campaigns, found.contrasts, found.sealed, found.different) == (2, 6, 3, 2)
    assert found.by_chance == pytest.approx(0.1)
    assert "2 campaigns asked 6 contrasts, 3 of them sealed beforehand; 2 came out different" in found.sentence


def test_an_arm_whose_interval_holds_zero_is_not_counted_as_different(campaign: Make) -> None:
    plan, made = of([0.01], "x", campaign({"control": CONTROL, "a": WORSE}).plan)
    (verdict,) = made.verdicts
    assert verdict.contrast is not None
    around = dataclasses.replace(verdict.contrast, low=-0.05)
    made = dataclasses.replace(made, verdicts=(dataclasses.replace(verdict, outcome="equivalent", contrast=around),))
    found = tally([(plan, made)])
    assert (found.contrasts, found.different, found.survive) == (1, 0, ())


def test_what_survives_is_holm_over_the_studies(campaign: Make) -> None:
    plan = campaign({"control": CONTROL, "a": WORSE}).plan
    studies = [of([0.04, 0.5], "x", plan), of([0.001, 0.03], "y", plan), of([0.02], "z", plan)]
    assert tally(studies).survive == (("y", "arm0"), ("z", "arm0"), ("x", "arm0"))
    studies[2] = of([0.03], "z", plan)
    assert tally(studies).survive == (("y", "arm0"),)


def test_over_many_studies_without_any_effect_few_have_a_survivor(campaign: Make) -> None:
    generator = np.random.default_rng(0)
    plan = campaign({"control": CONTROL, "a": WORSE}).plan
    wrong = uncorrected = 0
    for _ in range(300):
        found = tally([of([p], str(place), plan) for place, p in enumerate(generator.random(10))])
        wrong += bool(found.survive)
        uncorrected += found.different > 0
    assert wrong / 300 <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5
    assert uncorrected / 300 > 0.3
