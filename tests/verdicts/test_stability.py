"""Contrasts at several levels: words, interactions and error rates against scipy, counting by hand, and known truth."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.record import Measured, Record
from ablate.design.sealed import SealedPlan
from ablate.design.study import Level, Study
from ablate.verdicts.judge import judge
from ablate.verdicts.random_effects import pooled
from ablate.verdicts.stability import interactions, stability, word

N = 8
NOISE = np.random.default_rng(5).normal(0, 0.002, (4, 3, N))
SETUP: dict[str, Any] = {"name": "hand_made", "arms": {"a": {"bottleneck": "relu"}}, "plan": {"seeds": N}}


def campaign(
    effects: Mapping[Level, float], field: str = "recipe.epochs", **study: Any
) -> tuple[CampaignPlan, dict[str, Record]]:
    """Arm "a" differs from the control by so much at each level; the first level is the study's own, 4 epochs."""
    levels = list(effects)
    plan = make_plan(Study.model_validate({**SETUP, "stability": {field: levels[1:]}, **study}))
    records = {}
    for place, one in enumerate((plan, *(at.plan for at in plan.levels))):
        for row, arm in enumerate(one.arms):
            for seed, trial in enumerate(one.arm_trials(arm.name)):
                value = 0.9 + NOISE[place, row, seed] + (effects[levels[place]] if arm.name == "a" else 0)
                metrics = {"test_accuracy": value, "test_loss": 1 - value}
                records[trial.key] = Record.of(trial, "finished", metrics=metrics, measured=Measured(started_at=100.0))
    return plan, records


@pytest.mark.parametrize(
    ("effects", "said", "told"),
    [
        ({4: -0.02, 8: -0.02, 16: -0.01}, "holds", "worse at every level asked of recipe.epochs: 4, 8, 16"),
        ({4: 0.0, 8: 0.0}, "holds", "equivalent at every level asked"),
        ({4: -0.02, 8: 0.02}, "changes sign", "found at recipe.epochs = 8 and one of the other sign at 4"),
        ({4: -0.02, 8: 0.0}, "fades", "found at recipe.epochs = 4; at 8 none was, and it is shown to be smaller"),
        ({4: 0.0, 8: -0.02}, "fades", "found at recipe.epochs = 8; at 4 none was"),
        ({4: -0.0035, 8: -0.0015}, "cannot tell", "no difference between levels is shown"),
    ],
)
def test_the_word_says_what_the_levels_show(effects: dict[Level, float], said: str, told: str) -> None:
    plan, records = campaign(effects)
    found = stability(plan, records)
    assert found is not None
    (term,) = found.terms
    assert (term.term, term.word) == ("a", said)
    assert told in term.why
    assert [one.own for one in term.levels] == [level == 4 for level in found.levels]


def test_a_difference_found_at_one_level_and_not_at_another_has_not_faded_where_the_two_levels_may_be_alike() -> None:
    found = stability(*campaign({4: -0.02, 8: 0.0}))
    assert found is not None
    (term,) = found.terms
    smallest = min(one.adjusted_p for one in term.interactions)
    assert word(term.levels, term.interactions, smallest) == ("fades", (4, 8))
    assert word(term.levels, term.interactions, smallest / 2) == ("cannot tell", ())


def test_the_numbers_are_those_of_scipy_and_of_counting_every_flip() -> None:
    plan, records = campaign({4: -0.01, 8: -0.004, 16: 0.001})
    found = stability(plan, records)
    assert found is not None
    (term,) = found.terms
    differences = {
        level: NOISE[i, 1] - NOISE[i, 0] + e for i, (level, e) in enumerate(((4, -0.01), (8, -0.004), (16, 0.001)))
    }
    for one in term.levels:
        d = differences[int(one.level)]
        low, high = stats.ttest_1samp(d, 0).confidence_interval(0.95)
        assert (one.estimate, one.low, one.high) == pytest.approx((d.mean(), low, high))
        assert one.standard_error == pytest.approx(stats.sem(d))
    flips = np.array(list(itertools.product((1, -1), repeat=N)))
    moved = {(i, j): differences[j] - differences[i] for i, j in ((4, 8), (4, 16), (8, 16))}
    size = {pair: np.abs(flips @ d) / np.sqrt((d**2).sum()) for pair, d in moved.items()}
    largest = np.max(list(size.values()), axis=0)
    for one in term.interactions:
        pair = int(one.first), int(one.second)
        assert one.estimate == pytest.approx(moved[pair].mean())
        assert one.p == pytest.approx((size[pair] >= size[pair][0] - 1e-9).mean())
        single_step = (largest >= size[pair][0] - 1e-9).mean()
        assert one.p - 1e-12 <= one.adjusted_p <= single_step + 1e-12


def test_the_verdict_is_the_same_with_levels_and_without() -> None:
    plan, records = campaign({4: -0.02, 8: 0.02})
    plain = make_plan(Study.model_validate(SETUP))
    with_levels = judge(plan, records)
    assert replace(with_levels, stability=None) == judge(plain, records)
    assert judge(plain, records).stability is None


def test_a_level_that_is_not_whole_is_named_and_nothing_is_told_from_it() -> None:
    plan, records = campaign({4: -0.02, 8: -0.02})
    lost = plan.levels[0].plan.arm_trials("control")[3]
    del records[lost.key]
    found = stability(plan, records)
    assert found is not None
    assert found.terms[0].word == "cannot tell"
    assert found.terms[0].why == "recipe.epochs = 8 is not judged (seed 3 of control has no record)"
    assert judge(plan, records).verdicts[0].outcome == "worse"


def test_too_few_seeds_say_so() -> None:
    plan, records = campaign({4: -0.02, 8: -0.02}, plan={"seeds": 4})
    found = stability(plan, records)
    assert found is not None
    assert found.terms[0].why == "4 seeds are too few for the exact test to show anything"


def test_a_factorial_study_is_compared_in_its_effects() -> None:
    factors = {"bottleneck": ["linear", "relu"], "conv": ["depthwise", "full"]}
    study = Study.model_validate({**SETUP, "arms": {}, "factors": factors, "stability": {"recipe.epochs": [8]}})
    plan, rng = make_plan(study), np.random.default_rng(2)
    records = {}
    for one, size in ((plan, -0.02), (plan.levels[0].plan, 0.0)):
        for trial in one.trials:
            value = 0.9 + rng.normal(0, 0.001) + size * (one.arm(trial.arm).factors["bottleneck"] == "relu")
            records[trial.key] = Record.of(trial, "finished", metrics={"test_accuracy": value, "test_loss": 0.1})
    judged = judge(plan, records)
    assert judged.stability is not None
    words = {term.term: term.word for term in judged.stability.terms}
    assert words == {"bottleneck": "fades", "conv": "holds", "bottleneck:conv": "holds"}
    own = {term.term: term.levels[0].estimate for term in judged.stability.terms}
    assert own == pytest.approx({effect.term: effect.estimate for effect in judged.effects})


def test_over_data_sets_the_mean_is_the_random_effects_one_with_a_prediction_interval() -> None:
    plan, records = campaign({"mnist5k": -0.02, "mnist": -0.01, "kmnist": -0.015}, "data.name")
    found = stability(plan, records)
    assert found is not None
    assert found.over_data_sets
    (term,) = found.terms
    expected = pooled([one.estimate or 0 for one in term.levels], [one.standard_error or 0 for one in term.levels])
    assert term.pooled == expected
    assert expected.num_sets == 3
    assert expected.prediction_low is not None


@pytest.mark.parametrize(
    ("sealed_at", "asked", "told"),
    [
        (50.0, {"recipe.epochs": [8]}, ""),
        (150.0, {"recipe.epochs": [8]}, "the plan that asks for these levels was sealed after the first trial"),
        (50.0, {}, "these levels were not asked for in a plan that was sealed"),
        (50.0, {"recipe.epochs": [16]}, "these levels were not asked for in a plan that was sealed"),
    ],
)
def test_levels_that_were_not_sealed_beforehand_are_exploratory_and_the_verdicts_are_not(
    sealed_at: float, asked: dict[str, list[Level]], told: str
) -> None:
    plan, records = campaign({4: -0.02, 8: -0.02})
    before = make_plan(Study.model_validate({**SETUP, "stability": asked}))
    judged = judge(plan, records, [SealedPlan(plan=before, sealed_at=sealed_at, commit="")])
    assert judged.stability is not None
    assert judged.stability.exploratory == told
    assert judged.registration is not None
    assert judged.registration.is_confirmatory == (sealed_at < 100)


def test_interactions_that_are_not_there_are_found_in_at_most_alpha_of_the_studies() -> None:
    rng, found, tries = np.random.default_rng(0), 0, 150
    for _ in range(tries):  # the arm's effect is large, and the same at every level
        seeds = rng.normal(0, 1, N)
        levels = {level: {"a": 3 + seeds + rng.normal(0, 1, N), "b": rng.normal(0, 1, N)} for level in (1, 2, 4)}
        between = interactions(levels, ["a", "b"], 0.05)
        found += any(one.adjusted_p <= 0.05 for ones in between.values() for one in ones)
    assert found <= stats.binom.ppf(0.999, tries, 0.05)
