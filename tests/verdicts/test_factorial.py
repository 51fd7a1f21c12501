"""Main effects and interactions against averages by hand and against statsmodels' formula interface."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols

from ablate.design.fractional import construct
from ablate.design.plan import make_plan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.verdicts.factorial import factorial_effects
from ablate.verdicts.judge import judge

LEVELS = {"a": ("no", "yes"), "b": ("no", "yes"), "c": ("no", "yes")}
CELLS = [dict(zip(LEVELS, cell, strict=True)) for cell in itertools.product(*LEVELS.values())]
RULE: dict[str, Any] = {"alpha": 0.05, "margin": 0.2, "higher_is_better": True}


def some_values(num_seeds: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, num_seeds)) + np.arange(8)[:, None] % 3


def test_a_main_effect_is_the_difference_of_two_means() -> None:
    values = some_values()
    effects = {effect.term: effect for effect in factorial_effects(CELLS, values, levels=LEVELS, **RULE)}
    yes = np.array([cell["b"] == "yes" for cell in CELLS])
    assert effects["b"].estimate == pytest.approx(values[yes].mean() - values[~yes].mean())
    assert effects["b"].contrast == "yes - no"


def test_an_interaction_is_half_the_difference_of_differences() -> None:
    values = some_values()
    effects = {effect.term: effect for effect in factorial_effects(CELLS, values, levels=LEVELS, **RULE)}
    mean = {
        (a, c): values[[cell["a"] == a and cell["c"] == c for cell in CELLS]].mean()
        for a, c in itertools.product(("no", "yes"), repeat=2)
    }
    by_hand = (mean["yes", "yes"] - mean["no", "yes"]) - (mean["yes", "no"] - mean["no", "no"])
    assert effects["a:c"].estimate == pytest.approx(by_hand / 2)


def test_p_values_and_intervals_are_those_of_statsmodels_with_the_seed_as_block() -> None:
    values = some_values()
    frame = pd.DataFrame(
        [
            {**{name: 1 if level == "yes" else -1 for name, level in cell.items()}, "seed": seed, "y": values[i, seed]}
            for i, cell in enumerate(CELLS)
            for seed in range(values.shape[1])
        ]
    )
    fit = ols("y ~ C(seed) + (a + b + c) ** 2", frame).fit()
    for effect in factorial_effects(CELLS, values, levels=LEVELS, **RULE):
        assert effect.p == pytest.approx(fit.pvalues[effect.term])
        low, high = 2 * fit.conf_int().loc[effect.term]
        assert (effect.low, effect.high) == pytest.approx((low, high))


def test_a_factor_of_three_levels_is_compared_with_the_mean() -> None:
    levels = {"t": (1, 3, 6), "b": ("no", "yes")}
    cells = [dict(zip(levels, cell, strict=True)) for cell in itertools.product(*levels.values())]
    values = np.random.default_rng(1).normal(size=(6, 3))
    effects = factorial_effects(cells, values, levels=levels, **RULE)
    six = next(effect for effect in effects if effect.contrast == "6 - mean")
    assert six.estimate == pytest.approx(values[[cell["t"] == 6 for cell in cells]].mean() - values.mean())
    assert [effect.term for effect in effects] == ["t", "t", "b", "t:b", "t:b"]


def test_a_fraction_lists_the_aliases_that_its_words_say() -> None:
    design = construct(("a", "b", "c", "d", "e"), 8)
    levels = dict.fromkeys(design.factors, (0, 1))
    cells = [dict(zip(design.factors, run, strict=True)) for run in design.runs]
    values = np.random.default_rng(2).normal(size=(8, 3))
    said = design.aliases()
    effects = factorial_effects(cells, values, levels=levels, **RULE)
    assert [effect.term for effect in effects][:5] == list(design.factors)
    for effect in effects:
        assert set(effect.aliases) == set(said[effect.term])


def test_no_noise_and_no_degrees_of_freedom_have_an_answer() -> None:
    exact = np.tile(np.array([[cell["a"] == "yes"] for cell in CELLS], dtype=float), (1, 3))
    effects = factorial_effects(CELLS, exact, levels=LEVELS, **RULE)
    assert [(effect.outcome, effect.p) for effect in effects[:1]] == [("better", 0.0)]
    assert all(effect.p == 1.0 for effect in effects[1:])
    two = {"a": ("no", "yes"), "b": ("no", "yes")}
    cells = [dict(zip(two, cell, strict=True)) for cell in itertools.product(*two.values())]
    one_seed = factorial_effects(cells, np.array([[1.0], [2.0], [3.0], [5.0]]), levels=two, **RULE)
    assert {(effect.low, effect.p, effect.outcome) for effect in one_seed} == {(None, 1.0, "undecided")}


def test_a_factorial_study_is_judged_by_effects_too() -> None:
    fields = {
        "name": "crossed",
        "factors": {"bottleneck": ["relu", "linear"], "activation": ["relu6", "relu"]},
        "expect": {"bottleneck": "worse"},
    }
    plan = make_plan(Study.model_validate(fields))
    generator = np.random.default_rng(0)
    records = {
        trial.key: Record(
            key=trial.key,
            study="crossed",
            arm=trial.arm,
            seed=trial.seed,
            status="finished",
            metrics={
                "test_accuracy": 0.95
                - 0.02 * (plan.arm(trial.arm).factors["bottleneck"] == "relu")
                + generator.normal(0, 0.002)
            },
        )
        for trial in plan.trials
    }
    bottleneck, activation, both = judge(plan, records).effects
    assert (bottleneck.contrast, bottleneck.outcome, bottleneck.held) == ("relu - linear", "worse", True)
    assert activation.outcome == "equivalent"
    assert both.term == "bottleneck:activation"
