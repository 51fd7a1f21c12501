"""Rare failures: flagged, bounded and compared, against scipy and by simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ablate.verdicts.failures import fisher_p, highest_rate, is_asymmetric, outliers
from ablate.verdicts.judge import judge

Make = Callable[..., Any]
RNG = np.random.default_rng(3)
CONTROL = 0.95 + RNG.normal(0, 0.004, 12)
SAME = CONTROL + RNG.normal(0, 0.0008, 12)


@pytest.mark.parametrize(("failed", "of"), [(0, 8), (1, 8), (3, 20), (7, 8)])
def test_the_highest_rate_is_the_exact_one_sided_bound(failed: int, of: int) -> None:
    exact = scipy_stats.binomtest(failed, of, alternative="less").proportion_ci(0.95, method="exact").high
    assert highest_rate(failed, of) == pytest.approx(exact)
    assert highest_rate(8, 8) == 1.0


@pytest.mark.parametrize("table", [(6, 8, 0, 8), (1, 8, 0, 8), (0, 5, 0, 5), (3, 10, 7, 9), (8, 8, 8, 8)])
def test_rates_are_compared_by_fishers_exact_test(table: tuple[int, int, int, int]) -> None:
    failed, of, other, other_of = table
    theirs = scipy_stats.fisher_exact([[failed, of - failed], [other, other_of - other]]).pvalue
    assert fisher_p(*table) == pytest.approx(theirs)


def test_one_normal_sample_in_a_hundred_has_an_outlier() -> None:
    drawn = np.random.default_rng(0).normal(size=(4000, 8))
    assert np.mean([bool(outliers(row)) for row in drawn]) == pytest.approx(0.01, abs=0.006)


def test_two_collapses_do_not_hide_each_other() -> None:
    values = np.random.default_rng(1).normal(0, 1, 10)
    values[[2, 7]] -= 30
    assert outliers(values) == (2, 7)
    assert outliers(np.zeros(8)) == ()
    assert outliers(values[:4]) == ()


def test_outliers_are_those_of_rosners_test_step_by_step() -> None:
    generator = np.random.default_rng(4)
    for n in generator.integers(5, 60, size=200):
        values = np.round(generator.standard_t(1.5, n), 1)  # heavy tails, and many ties
        left, removed, found = list(range(n)), [], 0
        for size in range(n, n - n // 4, -1):
            rest = values[left]
            if not rest.std():
                break
            place = int(np.abs(rest - rest.mean()).argmax())
            t = scipy_stats.t.ppf(1 - 0.01 / (2 * size), size - 2)
            critical = t * (size - 1) / np.sqrt((size - 2 + t**2) * size)
            removed.append(values[left.pop(place)])
            if abs(removed[-1] - rest.mean()) / rest.std(ddof=1) > critical:
                found = len(removed)
        assert sorted(values[list(outliers(values))]) == sorted(removed[:found])


def test_skewed_differences_are_flagged_and_one_in_twenty_normal_ones() -> None:
    generator = np.random.default_rng(2)
    normal = [is_asymmetric(row) for row in generator.normal(size=(2000, 8))]
    assert np.mean(normal) == pytest.approx(0.05, abs=0.015)
    assert np.mean([is_asymmetric(row) for row in generator.exponential(size=(500, 20)) ** 2]) > 0.9
    assert is_asymmetric(np.arange(4.0)) is None


def test_a_collapsed_seed_is_named_with_the_median_and_counted_as_a_failure(campaign: Make) -> None:
    arm = SAME.copy()
    arm[3] = 0.6
    found = judge(*_campaign(campaign, arm))
    contrast = found.verdict("a").contrast
    assert contrast is not None
    assert contrast.outliers == (3,)
    assert contrast.median_difference == pytest.approx(np.median(arm - CONTROL))
    assert found.failure_rates["a"].failed == 1
    assert found.failure_rates["a"].upper == pytest.approx(scipy_stats.beta.ppf(0.95, 2, 11))
    assert any("far from the others: a seed 3 (median difference" in one for one in found.statements)
    assert any("a 1 of 12 (up to 34 % is not excluded; not distinguishable from" in one for one in found.statements)


def test_an_equivalent_arm_says_which_failure_rate_its_seeds_do_not_exclude(campaign: Make) -> None:
    made = campaign({"control": CONTROL[:8], "a": SAME[:8]})
    found = judge(made.plan, made.records)
    assert found.verdict("a").outcome == "equivalent"
    assert "no seed of 8 collapsed, which does not exclude a rate of 31 %" in found.verdict("a").why
    assert found.failure_rates["a"].failed == 0


def test_an_arm_that_diverges_more_often_is_told_from_the_control(campaign: Make) -> None:
    made = campaign({"control": CONTROL[:8], "a": SAME[:8], "b": SAME[:8]})
    for position in range(7):
        made.spoil("a", position, status="diverged", metrics={})
    made.spoil("b", 1, status="diverged", metrics={})
    found = judge(made.plan, made.records)
    p = scipy_stats.fisher_exact([[7, 1], [0, 8]]).pvalue
    assert found.failure_rates["a"].adjusted_p == pytest.approx(2 * p)
    (told,) = [one for one in found.statements if "far worse than the others" in one]
    assert "a 7 of 8 (up to 99 % is not excluded; different from the control's rate" in told
    assert "b 1 of 8 (up to 47 % is not excluded; not distinguishable from the control's rate" in told


def test_a_skewed_equivalence_says_what_it_assumes(campaign: Make) -> None:
    arm = CONTROL + 0.0005 * RNG.exponential(size=12) ** 2
    found = judge(*_campaign(campaign, arm))
    contrast = found.verdict("a").contrast
    assert contrast is not None
    assert found.verdict("a").outcome == "equivalent"
    assert contrast.asymmetric is True
    assert any("more skewed than 95 % of normal samples" in one for one in found.statements)


def _campaign(campaign: Make, arm: np.ndarray) -> tuple[Any, Any]:
    made = campaign({"control": CONTROL, "a": arm})
    return made.plan, made.records
