"""Step-down max-T against a count by hand over every flip, and the intervals that hold jointly."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from ablate.verdicts.maxt import joint_intervals, smallest_p, step_down
from ablate.verdicts.stats import holm, paired_interval, sign_flip_p, t_quantile


def by_hand(differences: np.ndarray) -> list[float]:
    """Westfall & Young's free step-down with |t| as scipy would compute it, over all 2^n flips."""
    n, m = differences.shape

    def t(d: np.ndarray) -> np.ndarray:
        return np.abs(d.mean(axis=0)) / (d.std(axis=0, ddof=1) / np.sqrt(n))

    observed = t(differences)
    flipped = [t(differences * np.array(signs)[:, None]) for signs in itertools.product((1, -1), repeat=n)]
    order = list(np.argsort(-observed))
    adjusted, largest = [0.0] * m, 0.0
    for place, arm in enumerate(order):
        p = np.mean([one[order[place:]].max() >= observed[arm] * (1 - 1e-9) for one in flipped])
        largest = max(largest, float(p))
        adjusted[arm] = largest
    return adjusted


@pytest.mark.parametrize("seed", range(4))
def test_adjusted_p_values_are_those_of_the_algorithm_over_every_flip(seed: int) -> None:
    generator = np.random.default_rng(seed)
    differences = generator.normal([0.0, 0.5, 1.5, -1.0], 1.0, (7, 4)) + generator.normal(0, 1, (7, 1))
    assert list(step_down(differences)) == pytest.approx(by_hand(differences))


def test_six_seeds_are_enough_for_any_number_of_arms_where_holm_needs_ten() -> None:
    differences = np.random.default_rng(0).normal(0, 1, (6, 15))
    differences[:, 0] = 50 + differences[:, 0] / 10
    assert step_down(differences)[0] == smallest_p(6) == 2**-5
    assert holm([sign_flip_p(column) for column in differences.T])[0] == pytest.approx(15 * 2**-5)


DIFFERENCES = arrays.arrays(
    float, st.tuples(st.integers(2, 7), st.integers(1, 4)), elements=st.integers(-20, 20).map(lambda v: v / 100)
)


@given(DIFFERENCES)
def test_an_adjusted_p_lies_between_the_contrasts_own_p_and_one(differences: np.ndarray) -> None:
    own = np.array([sign_flip_p(column) for column in differences.T])
    adjusted = step_down(differences)
    assert (adjusted >= own - 1e-12).all()
    assert (adjusted <= 1).all()
    assert (step_down(differences, absent=2) >= adjusted).all()
    if differences.shape[1] == 1:
        assert adjusted == pytest.approx(own)


@given(DIFFERENCES)
def test_a_joint_interval_holds_the_plain_one_and_never_reaches_beyond_bonferronis(differences: np.ndarray) -> None:
    m = differences.shape[1]
    for column, joint in zip(differences.T, joint_intervals(differences, 0.05), strict=True):
        plain, widest = paired_interval(column), paired_interval(column, 1 - 0.05 / m)
        assert joint.low is not None
        assert joint.high is not None
        assert (widest.low or 0) - 1e-9 <= joint.low <= (plain.low or 0) + 1e-9
        assert (plain.high or 0) - 1e-9 <= joint.high <= (widest.high or 0) + 1e-9


@pytest.mark.parametrize("n", [6, 7, 8])
def test_at_most_alpha_of_the_flips_reach_the_end_of_a_joint_interval(n: int) -> None:
    d = np.random.default_rng(n).normal(size=(n, 3))
    flips = np.array(list(itertools.product((1, -1), repeat=n)))
    t = np.array([stats.ttest_1samp(flip[:, None] * (d - d.mean(axis=0)), 0).statistic for flip in flips])
    reach = [
        (one.width or 0) / 2 / stats.sem(column) for one, column in zip(joint_intervals(d, 0.05), d.T, strict=True)
    ]
    bonferroni = stats.t.ppf(1 - 0.05 / 6, n - 1)
    assert np.ptp(reach) < 1e-9
    assert (np.abs(t).max(axis=1) >= reach[0] - 1e-9).mean() <= 0.05 or reach[0] == pytest.approx(bonferroni)


def test_a_single_contrast_has_students_interval_and_one_seed_none() -> None:
    d = np.random.default_rng(1).normal(size=(8, 1))
    (interval,) = joint_intervals(d, 0.05)
    plain = paired_interval(d[:, 0])
    assert (interval.low, interval.high) == pytest.approx((plain.low, plain.high))
    assert joint_intervals(np.ones((1, 2)), 0.05)[0].low is None


def test_joint_intervals_of_arms_that_share_a_control_are_narrower_than_bonferronis() -> None:
    values = np.random.default_rng(2).normal(size=(16, 16))
    differences = values[:, 1:] - values[:, :1]
    widths = [one.width or 0 for one in joint_intervals(differences, 0.05)]
    own = [paired_interval(column).width or 0 for column in differences.T]
    ratio = np.array(widths) / own * t_quantile(0.95, 15)
    assert (ratio < t_quantile(1 - 0.05 / 15, 15)).all()


def test_joint_intervals_move_with_their_means_and_keep_their_width() -> None:
    differences = np.random.default_rng(4).normal(size=(12, 6)) + np.random.default_rng(5).normal(size=(12, 1))
    moved = joint_intervals(differences + np.arange(6), 0.05)
    for place, (one, other) in enumerate(zip(joint_intervals(differences, 0.05), moved, strict=True)):
        assert (other.low, other.high) == pytest.approx(((one.low or 0) + place, (one.high or 0) + place))


def test_three_hundred_arms_with_thirty_seeds_take_seconds() -> None:
    differences = np.random.default_rng(3).normal(size=(30, 300))
    start = time.perf_counter()
    step_down(differences)
    joint_intervals(differences, 0.05)
    assert time.perf_counter() - start < 60
