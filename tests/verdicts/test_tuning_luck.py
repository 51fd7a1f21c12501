"""How a tuned contrast moves with the settings, from the tuning's own trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ablate.design.plan import setting
from ablate.design.record import Record
from ablate.design.tuning import ArmTuning
from ablate.verdicts.judge import judge

Make = Callable[..., Any]
CONTROL = 0.95 + np.random.default_rng(3).normal(0, 0.004, 8)
TUNING = {"trials": 3, "space": {"lr": {"low": 1e-3, "high": 1e-1, "log": True}}}
RATES = (0.001, 0.006, 0.05)


def tuned(campaign: Make, scores: dict[str, tuple[float, ...]], metric: str = "test_accuracy") -> Any:
    """A campaign whose tuning scored the three rates so, by arm."""
    made = campaign({"control": CONTROL, "a": CONTROL - 0.01}, tuning=TUNING, decision={"metric": metric})
    tunings = []
    for name, values in scores.items():
        arm = made.plan.arm(name)
        settings = tuple(setting(made.plan.study, arm, made.plan.data, {"lr": rate}) for rate in RATES)
        tunings.append(ArmTuning(arm=name, settings=settings))
        for one, value in zip(settings, values, strict=True):
            for trial in one.trials:
                metrics = {metric.replace("test_", "val_"): value}
                status = "finished" if np.isfinite(value) else "diverged"
                made.records[trial.key] = Record.of(trial, status, metrics=metrics)
    made.plan = dataclasses.replace(made.plan, tuning=tuple(tunings))
    return judge(made.plan, made.records)


def test_the_contrast_is_shown_at_each_ones_best_and_over_the_settings(campaign: Make) -> None:
    found = tuned(campaign, {"control": (0.90, 0.95, 0.93), "a": (0.89, 0.91, 0.94)})
    (one,) = found.sensitivities
    assert (one.arm, one.settings) == ("a", 3)
    assert one.own == pytest.approx(0.94 - 0.95)
    assert one.at_control == pytest.approx(0.91 - 0.95)
    assert one.at_arm == pytest.approx(0.94 - 0.93)
    assert (one.low, one.mean, one.high) == pytest.approx((-0.04, (-0.01 - 0.04 + 0.01) / 3, 0.01))
    told = found.statements[-1]
    assert told.startswith("The recipes were tuned once")
    assert (
        "a -1.00 points with each at its own best setting, -4.00 points at the control's, +1.00 points at the" in told
    )


def test_where_lower_is_better_the_difference_stays_arm_minus_control(campaign: Make) -> None:
    found = tuned(campaign, {"control": (0.5, 0.3, 0.4), "a": (0.6, 0.5, 0.35)}, metric="test_loss")
    (one,) = found.sensitivities
    assert one.own == pytest.approx(0.35 - 0.3)
    assert (one.low, one.high) == pytest.approx((-0.05, 0.2))


def test_settings_that_failed_are_left_out_and_an_unfinished_tuning_has_no_row(campaign: Make) -> None:
    found = tuned(campaign, {"control": (0.90, 0.95, 0.93), "a": (0.89, 0.91, float("nan"))})
    assert found.sensitivities[0].settings == 2
    alone = tuned(campaign, {"control": (0.90, 0.95, 0.93)})
    assert alone.sensitivities == ()
    assert "do not include the luck of the tuning." in alone.statements[-1]


def test_a_study_that_tunes_nothing_says_nothing_of_it(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": CONTROL - 0.01})
    assert not any("tuned" in one for one in judge(made.plan, made.records).statements)
