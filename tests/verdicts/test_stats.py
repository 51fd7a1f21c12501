"""The statistics against scipy and statsmodels, and what they answer where there is nothing to compute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from ablate.verdicts import stats


def some(n: int, *, seed: int = 0, mean: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 11])
def test_the_sign_flip_p_is_scipys_exact_permutation_test(n: int) -> None:
    d = some(n, seed=n)
    theirs = scipy_stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=5_000)
    assert stats.sign_flip_p(d) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_the_one_sided_sign_flip_p_is_scipys() -> None:
    d = some(9)
    theirs = scipy_stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=5_000, alternative="greater"
    )
    assert stats.sign_flip_above_p(d) == pytest.approx(theirs.pvalue, abs=1e-12)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
def test_ties_are_counted_as_a_full_enumeration_of_whole_numbers_counts_them(hits: list[int]) -> None:
    d = np.array(hits)
    signs = 1 - 2 * ((np.arange(2**d.size)[:, None] >> np.arange(d.size)) & 1)
    expected = float((np.abs(signs @ d) >= abs(d.sum())).mean())
    assert stats.sign_flip_p(d / 1000) == pytest.approx(expected, abs=1e-12)


def test_above_32_seeds_the_sampled_p_is_near_the_t_test_and_the_same_at_every_call() -> None:
    d = some(40, mean=0.35)
    p = stats.sign_flip_p(d)
    assert p == stats.sign_flip_p(d)
    assert p == pytest.approx(scipy_stats.ttest_1samp(d, 0).pvalue, abs=0.01)


def test_a_sampled_p_that_no_flip_reaches_counts_the_seen_differences_themselves() -> None:
    assert stats.sign_flip_p(some(40) + 10) == pytest.approx(2 / 100_000)


def test_the_paired_interval_is_scipys() -> None:
    x, y = some(8), some(8, seed=1, mean=0)
    theirs = scipy_stats.ttest_rel(x, y).confidence_interval(0.9)
    ours = stats.paired_interval(x - y, 0.9)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_the_welch_interval_is_scipys() -> None:
    x, y = some(8), 3 * some(5, seed=1)
    theirs = scipy_stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    ours = stats.welch_interval(x, y)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_tost_is_statsmodels() -> None:
    x, y = some(12, mean=0.1), some(12, seed=1, mean=0)
    assert stats.tost_p(x - y, 0.8) == pytest.approx(ttost_paired(x, y, -0.8, 0.8)[0])


def test_the_exact_equivalence_test_is_not_sure_after_a_few_equal_seeds() -> None:
    d = some(7, mean=0.0) * 1e-6
    assert stats.tost_p(d, 1.0) < 1e-6
    assert stats.exact_equivalence_p(d, 1.0) == 2**-7


@pytest.mark.parametrize("p_values", [[0.2], [0.01, 0.04, 0.03, 0.005], [0.02, 0.02, 0.5, 1.0], [0.0, 0.9, 0.9]])
def test_holm_is_statsmodels(p_values: list[float]) -> None:
    assert stats.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_the_correlation_is_numpys() -> None:
    x, y = some(8), some(8, seed=1)
    assert stats.correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_chance_is_scipys_binomial_test() -> None:
    theirs = scipy_stats.binomtest(123, 1000, 0.1, alternative="greater").pvalue
    assert stats.above_chance_p(0.123, 0.1, 1000) == pytest.approx(theirs)
    assert stats.above_chance_p(0.0, 0.1, 1000) == 1.0


@pytest.mark.parametrize("n", [2, 5, 8])
@pytest.mark.parametrize("value", [0.0, 0.018])
def test_equal_differences_have_an_interval_of_no_width_and_the_p_of_equal_signs(n: int, value: float) -> None:
    d = np.full(n, value) + 0.9 - 0.9  # rounding, as accuracies have it
    interval = stats.paired_interval(d)
    assert interval.width == pytest.approx(0, abs=1e-12)
    assert stats.sign_flip_p(d) == (1.0 if value == 0 else 2.0 ** (1 - n))
    assert stats.exact_equivalence_p(d, 0.05) == 2.0**-n
    assert stats.exact_equivalence_p(d, 0.001) == (2.0**-n if value == 0 else 1.0)
    assert stats.welch_interval(np.full(n, 0.5) + value, np.full(n, 0.5)).low == pytest.approx(value)


def test_one_seed_has_a_p_of_one_and_no_interval() -> None:
    assert stats.paired_interval([0.2]) == stats.Interval(None, None)
    assert stats.welch_interval([0.2], [0.1]).width is None
    assert stats.sign_flip_p([0.2]) == 1.0
    assert (stats.tost_p([0.0], 0.1), stats.exact_equivalence_p([0.0], 0.1)) == (1.0, 0.5)
    assert stats.spread([0.2]) is None
    assert not stats.paired_interval([0.2]).excludes_zero


def test_a_constant_arm_has_no_correlation() -> None:
    assert stats.correlation([0.5, 0.5, 0.5], [0.1, 0.2, 0.3]) is None
    assert stats.correlation([0.5, 0.6], [0.1, 0.2]) is None


@pytest.mark.parametrize("bad", [[], [float("nan"), 1.0], [float("inf")], [[1.0, 2.0]]])
def test_numbers_that_are_none_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        stats.sign_flip_p(bad)


@pytest.mark.parametrize("n", [33, 40, 47, 48, 49])
def test_sampled_flips_are_counted_as_a_plain_product_counts_them(n: int) -> None:
    d = np.random.default_rng(n).normal(0.1, 1, n)
    words = stats._drawn_signs(n, 0)
    flips = np.unpackbits(words, axis=0, count=n, bitorder="little")
    sums = (1 - 2.0 * flips.T) @ d
    assert stats.sign_flip_above_p(d) == pytest.approx((np.sum(sums >= d.sum() - 1e-9) + 1) / (len(sums) + 1))
    assert np.allclose(flips.mean(axis=1), 0.5, rtol=0, atol=0.01)  # 6 standard errors
