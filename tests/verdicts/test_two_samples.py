"""Two samples without pairs, against scipy and against every split counted one by one."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ablate.verdicts import two_samples as two

SAMPLES = st.lists(st.integers(-50, 50), min_size=2, max_size=6)


def welch_t(x: np.ndarray, y: np.ndarray) -> float:
    """By its formula; of samples without any spread, infinite or 0."""
    difference, error = x.mean() - y.mean(), math.sqrt(x.var(ddof=1) / x.size + y.var(ddof=1) / y.size)
    if abs(difference) < 1e-12:
        return 0.0
    return float(difference / error) if error > 0 else math.copysign(math.inf, difference)


def every_split(x: list[float], y: list[float]) -> list[float]:
    """Welch's t of every way to split the runs, one by one."""
    runs = np.array([*x, *y], dtype=float)
    found = []
    for chosen in itertools.combinations(range(runs.size), len(x)):
        mine = np.isin(np.arange(runs.size), chosen)
        found.append(welch_t(runs[mine], runs[~mine]))
    return found


@given(SAMPLES, SAMPLES)
def test_the_exact_p_counts_every_split_that_is_as_extreme(x: list[float], y: list[float]) -> None:
    observed = welch_t(np.array(x, dtype=float), np.array(y, dtype=float))
    every = every_split(x, y)
    two_sided = sum(abs(t) >= abs(observed) - 1e-9 for t in every) / len(every)
    above = sum(t >= observed - 1e-9 for t in every) / len(every)
    assert two.permutation_p(x, y) == pytest.approx(two_sided if observed else 1.0)
    assert two.permutation_above_p(x, y) == pytest.approx(above)


@pytest.mark.parametrize(("n", "k"), [(6, 6), (5, 9), (9, 5)])
def test_the_exact_p_of_a_shift_equals_that_of_scipy(n: int, k: int) -> None:
    generator = np.random.default_rng(n)
    x, y = generator.normal(0.9, 1, n), generator.normal(0, 1, k)

    def t(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return stats.ttest_ind(a, b, axis=axis, equal_var=False).statistic

    theirs = stats.permutation_test((x, y), t, vectorized=True, n_resamples=np.inf, alternative="greater")
    assert two.permutation_above_p(x, y) == pytest.approx(theirs.pvalue)


def test_with_equal_numbers_it_is_the_test_of_the_difference_of_means() -> None:
    generator = np.random.default_rng(3)
    x, y = generator.normal(0.5, 1, 6), generator.normal(0, 1, 6)
    theirs = stats.permutation_test(
        (x, y), lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis), vectorized=True, n_resamples=np.inf
    )
    assert two.permutation_p(x, y) == pytest.approx(theirs.pvalue)


def test_a_sampled_p_is_near_the_t_test_and_the_same_at_every_call() -> None:
    generator = np.random.default_rng(8)
    x, y = generator.normal(0.6, 1, 30), generator.normal(0, 1, 40)
    p = two.permutation_p(x, y)
    assert p == two.permutation_p(x, y)
    assert p == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue, abs=0.01)
    assert two.permutation_p(x + 100, y) == 1 / (two.SAMPLED_SPLITS + 1)


def test_one_sided_welch_equals_that_of_scipy() -> None:
    generator = np.random.default_rng(5)
    x, y = generator.normal(0.3, 1, 7), generator.normal(0, 2, 5)
    theirs = stats.ttest_ind(x, y, equal_var=False, alternative="greater").pvalue
    assert two.welch_above_p(x, y) == pytest.approx(theirs)


def test_equal_values_and_single_runs_have_a_stated_answer_and_raise_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert two.permutation_p([0.5] * 4, [0.5] * 4) == 1
        assert two.permutation_p([0.7] * 4, [0.5] * 4) == pytest.approx(2 / 70)
        assert two.permutation_p([0.7], [0.5]) == 1
        assert two.welch_above_p([0.7], [0.5, 0.6]) == 1
        assert two.welch_above_p([0.7, 0.7], [0.5, 0.5]) == 0
        assert two.detectable_two_samples([0.7], [0.5, 0.6], level=0.05) is None
        assert two.welch_tost_p([0.7] * 2, [0.7] * 2, 0.1) == 0
        assert two.permutation_tost_p([0.7] * 2, [0.7] * 2, 0.1) == pytest.approx(1 / 6)


@pytest.mark.parametrize(("n", "k"), [(4, 4), (3, 5), (5, 3), (2, 7)])
def test_the_smallest_p_is_that_of_samples_wide_apart(n: int, k: int) -> None:
    x, y = np.linspace(100, 101, n), np.linspace(0, 1, k)
    assert two.permutation_p(x, y) == pytest.approx(two.smallest_p(n, k))


def test_the_fewest_runs_are_those_whose_smallest_p_reaches_the_level() -> None:
    assert [two.runs_to_reach(level) for level in (0.05, 0.05 / 4, 0.05 / 15)] == [4, 5, 6]


def test_equivalence_needs_both_sides_and_grows_with_the_difference() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(0, 0.1, 8), generator.normal(0, 0.1, 8)
    for p in (two.welch_tost_p, two.permutation_tost_p):
        assert p(x, y, 0.5) < 0.01
        assert p(x + 0.6, y, 0.5) > 0.5
        assert p(x - 0.6, y, 0.5) > 0.5
    sides = [(x + 0.5, y), (y + 0.5, x)]
    theirs = [stats.ttest_ind(*side, equal_var=False, alternative="greater").pvalue for side in sides]
    assert two.welch_tost_p(x, y, 0.5) == pytest.approx(max(theirs))


@pytest.mark.parametrize(("n", "k", "spread"), [(6, 6, 1.0), (5, 10, 0.5), (10, 5, 2.0)])
def test_the_rule_holds_its_level_where_spreads_and_numbers_differ(n: int, k: int, spread: float) -> None:
    generator = np.random.default_rng([n, k])
    wrong = 0
    for _ in range(600):
        x, y = generator.normal(0, spread, n), generator.normal(0, 1, k)
        wrong += two.permutation_p(x, y) <= 0.05
    assert wrong / 600 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


@pytest.mark.parametrize(("n", "k", "level"), [(8, 8, 0.05), (6, 9, 0.05), (8, 8, 0.05 / 4)])
def test_the_promised_power_is_found_in_simulation(n: int, k: int, level: float) -> None:
    generator = np.random.default_rng(n + k)
    found, promised, effect = 0, [], 1.6
    for _ in range(400):
        x, y = generator.normal(effect, 1, n), generator.normal(0, 1, k)
        found += two.permutation_p(x, y) <= level
    exact = (np.sqrt((n - 1) / n) * stats.zscore(np.arange(n)), np.sqrt((k - 1) / k) * stats.zscore(np.arange(k)))
    promised = two.two_samples_power(effect, *exact, level=level)  # samples whose spread is exactly 1
    assert found / 400 == pytest.approx(promised, abs=0.07)
    smallest = two.detectable_two_samples(*exact, level=level)
    assert smallest is not None
    assert two.two_samples_power(smallest, *exact, level=level) == pytest.approx(0.8, abs=1e-4)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        two.permutation_p([1.0, math.nan], [1.0, 2.0])
