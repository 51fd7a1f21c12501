"""Runs trained elsewhere, judged from arrays: the rule of a study, and what differs where nothing is paired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ablate.verdicts.judge import judge
from ablate.verdicts.runs import judge_runs
from ablate.verdicts.runs_wording import UNKNOWN
from ablate.verdicts.samples import Question

Runs = dict[str, dict[int, float]]
OPPOSITE = {"better": "worse", "worse": "better"}


def question(**changes: Any) -> Question:
    return Question(**{"metric": "score", "control": "base", "higher_is_better": True, **changes})


def drawn(
    generator: np.random.Generator, shifts: dict[str, float], seeds: dict[str, range] | range = range(8), sd: float = 1
) -> Runs:
    """Normal values: arm -> seed -> value around the arm's shift."""
    each = {arm: seeds if isinstance(seeds, range) else seeds[arm] for arm in shifts}
    return {arm: {s: float(generator.normal(shift, sd)) for s in each[arm]} for arm, shift in shifts.items()}


def test_runs_get_the_verdicts_and_numbers_that_a_study_of_the_same_numbers_gets(
    campaign: Callable[..., Any],
) -> None:
    generator = np.random.default_rng(2)
    accuracies = {name: list(generator.normal(mean, 0.003, 9)) for name, mean in (("control", 0.9), ("a", 0.88))}
    accuracies |= {"b": list(generator.normal(0.9, 0.001, 9)), "c": list(generator.normal(0.903, 0.02, 9))}
    theirs = judge((made := campaign(accuracies)).plan, made.records)
    runs = {name: dict(enumerate(values)) for name, values in accuracies.items()}
    ours = judge_runs(runs, question(metric="test_accuracy", control="control", margin=theirs.margin))
    for mine, their in zip(ours.verdicts, theirs.verdicts, strict=True):
        assert (mine.arm, mine.outcome) == (their.arm, their.outcome)
        assert mine.contrast is not None
        assert their.contrast is not None
        for name in (
            "differences",
            "low",
            "high",
            "p",
            "adjusted_p",
            "equivalence_holm_p",
            "detectable",
            "seeds_to_settle",
        ):
            assert getattr(mine.contrast, name) == pytest.approx(getattr(their.contrast, name)), name
    assert {one.outcome for one in ours.verdicts} >= {"worse", "equivalent"}


def test_an_arm_that_shares_no_seed_is_compared_by_welchs_interval() -> None:
    runs = drawn(np.random.default_rng(1), {"base": 0, "new": 3}, {"base": range(6), "new": range(10, 19)})
    (found,) = judge_runs(runs, question()).verdicts
    contrast = found.contrast
    assert contrast is not None
    x, y = list(runs["new"].values()), list(runs["base"].values())
    interval = stats.ttest_ind(x, y, equal_var=False).confidence_interval()
    assert (contrast.low, contrast.high) == pytest.approx((interval.low, interval.high))
    assert (contrast.n, contrast.control_runs, contrast.differences) == (9, 6, ())
    assert found.outcome == "better"
    assert "9 runs against 6" in found.why


def test_paired_is_what_shares_seeds_unless_the_pairs_mean_nothing() -> None:
    generator = np.random.default_rng(3)
    base = {seed: float(generator.normal(0, 1)) for seed in range(8)}
    runs = {"base": base, "new": {seed: value + 0.05 + 0.01 * (seed % 3) for seed, value in base.items()}}
    paired, apart = (judge_runs(runs, question(unpaired=unpaired)).verdicts[0] for unpaired in (False, True))
    assert (paired.outcome, apart.outcome) == ("better", "undecided")
    assert apart.contrast is not None
    assert apart.contrast.control_runs == 8


def test_seeds_of_only_one_side_are_left_out_of_the_pairs_and_named() -> None:
    runs = drawn(np.random.default_rng(4), {"base": 0, "new": 0}, {"base": range(8), "new": range(2, 9)})
    judged = judge_runs(runs, question())
    assert judged.verdicts[0].contrast is not None
    assert judged.verdicts[0].contrast.seeds == (2, 3, 4, 5, 6, 7)
    assert any("seed 0, 1, 8" in said and "--unpaired" in said for said in judged.statements)


def test_arms_with_different_numbers_of_pairs_are_adjusted_by_holm() -> None:
    seeds = {"base": range(12), "few": range(8), "more": range(12), "other": range(20, 30)}
    runs = drawn(np.random.default_rng(5), {"base": 0, "few": 1.2, "more": 0.9, "other": 1.1}, seeds)
    contrasts = [one.contrast for one in judge_runs(runs, question()).verdicts]
    p = np.array([one.p for one in contrasts if one is not None])
    order = np.argsort(p)
    by_hand = np.minimum(1, np.maximum.accumulate(p[order] * np.array([3, 2, 1])))
    assert [contrasts[i].adjusted_p for i in order] == pytest.approx(list(by_hand))  # type: ignore[union-attr]


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0.0, 0.5, 2.0]), st.floats(0, 4))
@settings(max_examples=15, deadline=None)
def test_a_metric_turned_over_with_its_direction_gives_the_same_verdicts(
    seed: int, unpaired: bool, margin: float, shift: float
) -> None:
    runs = drawn(np.random.default_rng(seed), {"base": 0, "a": shift, "b": -shift})
    turned = {arm: {key: -value for key, value in values.items()} for arm, values in runs.items()}
    first = judge_runs(runs, question(margin=margin, unpaired=unpaired))
    second = judge_runs(turned, question(margin=margin, unpaired=unpaired, higher_is_better=False))
    wrong = judge_runs(runs, question(margin=margin, unpaired=unpaired, higher_is_better=False))
    outcomes = [one.outcome for one in first.verdicts]
    assert outcomes == [one.outcome for one in second.verdicts]
    assert [OPPOSITE.get(outcome, outcome) for outcome in outcomes] == [one.outcome for one in wrong.verdicts]


@pytest.mark.parametrize("unpaired", [False, True])
def test_without_a_margin_nothing_is_equivalent_and_with_one_equal_arms_are(unpaired: bool) -> None:
    runs = drawn(np.random.default_rng(6), {"base": 5, "same": 5}, range(10), sd=0.01)
    without, within = (judge_runs(runs, question(margin=m, unpaired=unpaired)) for m in (0.0, 0.1))
    assert without.verdicts[0].outcome == "undecided"
    assert without.verdicts[0].contrast is not None
    assert without.verdicts[0].contrast.equivalence_p is None
    assert any("--margin" in said for said in without.statements)
    assert within.verdicts[0].outcome == "equivalent"


def test_a_noise_floor_that_differs_withholds_every_verdict() -> None:
    seeds = {"base": range(8), "again": range(20, 28), "new": range(8)}
    sound = drawn(np.random.default_rng(7), {"base": 0, "again": 0, "new": 5}, seeds)
    passed = judge_runs(sound, question(noise_floor="again"))
    assert passed.stands
    assert passed.num_contrasts == 1
    assert [one.arm for one in passed.verdicts] == ["new"]
    assert passed.verdicts[0].outcome == "better"
    moved = {**sound, "again": {seed: value + 5 for seed, value in sound["again"].items()}}
    failed = judge_runs(moved, question(noise_floor="again"))
    assert not failed.stands
    assert {one.outcome for one in failed.verdicts} == {"not judged"}
    assert failed.statements[0].startswith("The noise floor failed")


def test_it_says_what_runs_from_elsewhere_cannot_tell_and_when_they_are_too_few() -> None:
    judged = judge_runs(drawn(np.random.default_rng(8), {"base": 0, "new": 9}, range(4)), question())
    assert UNKNOWN in judged.statements
    assert judged.verdicts[0].outcome == "undecided"
    assert any("cannot reach its level" in said for said in judged.statements)


def test_expectations_are_compared_with_what_came_out() -> None:
    runs = drawn(np.random.default_rng(9), {"base": 0, "new": 5, "other": 0.1})
    judged = judge_runs(runs, question(expect={"new": "better", "other": "worse"}))
    assert [one.held for one in judged.verdicts] == [True, None]


def test_single_runs_are_undecided_and_have_no_interval() -> None:
    judged = judge_runs({"base": {0: 1.0}, "new": {0: 2.0}, "apart": {5: 2.0}}, question(margin=0.5))
    assert [one.outcome for one in judged.verdicts] == ["undecided", "undecided"]
    assert all(one.contrast is not None and one.contrast.low is None for one in judged.verdicts)


def test_a_seed_that_lies_far_from_the_others_is_named_with_the_median() -> None:
    runs = drawn(np.random.default_rng(10), {"base": 0, "new": 0}, range(10), sd=0.1)
    runs["new"][7] = -9.0
    said = [one for one in judge_runs(runs, question()).statements if "far from the others" in one]
    assert len(said) == 1
    assert "seed 7" in said[0]


@pytest.mark.parametrize("unpaired", [False, True])
@pytest.mark.parametrize("direction", [1, -1])
def test_no_worse_is_asked_one_sided_in_the_metrics_direction(unpaired: bool, direction: int) -> None:
    shifts = {
        "base": 0.0,
        "a little worse": -0.02 * direction,
        "much worse": -5.0 * direction,
        "better": 5.0 * direction,
    }
    runs = drawn(np.random.default_rng(11), shifts, range(10), sd=0.05)
    asked = question(margin=0.5, no_worse=True, unpaired=unpaired, higher_is_better=direction == 1)
    outcomes = {one.arm: one.outcome for one in judge_runs(runs, asked).verdicts}
    assert outcomes == {"a little worse": "no worse", "much worse": "worse", "better": "better"}
