"""Main effects and interactions against averages by hand, scipy and statsmodels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from ablate.design.fractional import construct
from ablate.design.plan import make_plan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.verdicts.factorial import effect_checks, factorial_effects
from ablate.verdicts.judge import judge
from ablate.verdicts.maxt import step_down
from ablate.verdicts.stats import sign_flip_p

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


def test_every_effect_is_tested_on_the_estimates_of_the_single_seeds() -> None:
    values = some_values(8)
    effects = factorial_effects(CELLS, values, levels=LEVELS, **RULE)
    estimates = np.array([[one.estimate for one in factorial_effects(CELLS, seed[:, None], levels=LEVELS, **RULE)]
                          for seed in values.T])  # fmt: skip
    for place, effect in enumerate(effects):
        test = scipy_stats.ttest_1samp(estimates[:, place], 0)
        low, high = test.confidence_interval(0.95)
        assert (effect.low, effect.high) == pytest.approx((low, high))
        assert effect.p == pytest.approx(sign_flip_p(estimates[:, place]))
    assert [effect.adjusted_p for effect in effects] == pytest.approx(list(step_down(estimates)))


def test_noise_of_an_effect_between_seeds_is_in_its_interval() -> None:
    """Slopes that vary by one noise SD from seed to seed gave 25 % false findings while they were not counted."""
    generator = np.random.default_rng(4)
    at_yes = np.array([[1.0 if cell["a"] == "yes" else -1.0] for cell in CELLS])
    found = 0
    for _ in range(400):
        values = generator.normal(size=(8, 8)) + at_yes * generator.normal(0, 1, (1, 8))
        found += factorial_effects(CELLS, values, levels=LEVELS, **RULE)[0].outcome in ("better", "worse")
    assert found / 400 <= 0.08


def test_an_interaction_comes_with_the_simple_effects_that_make_it() -> None:
    values = some_values()
    (effect,) = [one for one in factorial_effects(CELLS, values, levels=LEVELS, **RULE) if one.term == "a:c"]
    rows = {(cell["a"], cell["b"], cell["c"]): row for cell, row in zip(CELLS, values, strict=True)}
    by_hand = np.mean([rows["yes", b, "yes"] - rows["no", b, "yes"] for b in ("no", "yes")], axis=0)
    simple = {(one.factor, one.at): one for one in effect.simple}
    assert set(simple) == {("a", "c = no"), ("a", "c = yes"), ("c", "a = no"), ("c", "a = yes")}
    assert simple["a", "c = yes"].estimate == pytest.approx(by_hand.mean())
    low, high = scipy_stats.ttest_1samp(by_hand, 0).confidence_interval(0.95)
    assert (simple["a", "c = yes"].low, simple["a", "c = yes"].high) == pytest.approx((low, high))
    assert simple["a", "c = yes"].estimate - simple["a", "c = no"].estimate == pytest.approx(2 * effect.estimate)


def test_the_checks_are_the_f_ratios_of_statsmodels() -> None:
    values = some_values(6)
    frame = pd.DataFrame(
        [
            {**{name: 1 if level == "yes" else -1 for name, level in cell.items()}, "seed": seed, "y": values[i, seed]}
            for i, cell in enumerate(CELLS)
            for seed in range(values.shape[1])
        ]
    )
    table = anova_lm(ols("y ~ C(seed) * ((a + b + c) ** 2) + a:b:c", frame).fit())
    checks = effect_checks(CELLS, values, levels=LEVELS)
    assert checks is not None
    assert checks.lack_of_fit == pytest.approx(table.loc["a:b:c", "F"])
    by_seed = table.loc[[name for name in table.index if name.startswith("C(seed):")]]
    mean_square = by_seed["sum_sq"].sum() / by_seed["df"].sum()
    assert checks.by_seed == pytest.approx(mean_square / table.loc["Residual", "mean_sq"])
    assert checks.df == (1, 5, 30)
    assert checks.by_seed_p == pytest.approx(scipy_stats.f.sf(checks.by_seed, 30, 5))


def test_an_interaction_of_three_factors_is_a_lack_of_fit() -> None:
    values = np.random.default_rng(3).normal(size=(8, 8))
    three = np.array([[np.prod([1 if level == "yes" else -1 for level in cell.values()])] for cell in CELLS])
    checks = [effect_checks(CELLS, values + shift * three, levels=LEVELS) for shift in (0.0, 3.0)]
    assert [one is not None and one.lack_of_fit_p <= 0.05 for one in checks] == [False, True]
    assert effect_checks(CELLS[:4], values[:4], levels={"b": LEVELS["b"], "c": LEVELS["c"]}) is None


def test_each_level_of_a_factor_with_three_is_compared_with_the_controls() -> None:
    levels = {"t": (1, 3, 6), "b": ("no", "yes")}
    cells = [dict(zip(levels, cell, strict=True)) for cell in itertools.product(*levels.values())]
    values = np.random.default_rng(1).normal(size=(6, 3))
    effects = factorial_effects(cells, values, levels=levels, **RULE)
    mean = {(t, b): values[cells.index({"t": t, "b": b})].mean() for t in (1, 3, 6) for b in ("no", "yes")}
    at = {t: (mean[t, "no"] + mean[t, "yes"]) / 2 for t in (1, 3, 6)}
    gain = {t: mean[t, "yes"] - mean[t, "no"] for t in (1, 3, 6)}
    assert [(effect.term, effect.contrast, effect.estimate) for effect in effects] == [
        ("t", "3 - 1", pytest.approx(at[3] - at[1])),
        ("t", "6 - 1", pytest.approx(at[6] - at[1])),
        ("b", "yes - no", pytest.approx(sum(gain.values()) / 3)),
        ("t:b", "(3 - 1) x (yes - no)", pytest.approx((gain[3] - gain[1]) / 2)),
        ("t:b", "(6 - 1) x (yes - no)", pytest.approx((gain[6] - gain[1]) / 2)),
    ]


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
    exact = np.tile(np.array([[cell["a"] == "yes"] for cell in CELLS], dtype=float), (1, 6))
    effects = factorial_effects(CELLS, exact, levels=LEVELS, **RULE)
    assert (effects[0].p, effects[0].low, effects[0].high) == pytest.approx((2**-5, 1.0, 1.0))
    assert effects[0].outcome == "better"
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
