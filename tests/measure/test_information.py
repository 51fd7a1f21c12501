"""Figure 1 and appendix A of arXiv:1801.04381: what a random ReLU layer keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ablate.measure.information import (
    DIMS,
    InformationError,
    embed,
    expected_loss,
    reconstruct,
    recover,
    relative_error,
    spiral,
)

CURVE = spiral(300)


@given(dim=st.integers(2, 64), seed=st.integers(0, 2**32 - 1))
def test_without_the_relu_the_pseudo_inverse_gives_the_spiral_back(dim: int, seed: int) -> None:
    _, matrix = embed(CURVE, dim, np.random.default_rng(seed))
    np.testing.assert_allclose(recover(CURVE @ matrix.T, matrix), CURVE, atol=1e-6 * np.linalg.cond(matrix))


def test_the_pseudo_inverse_is_that_of_the_normal_equations() -> None:
    activations, matrix = embed(CURVE, 7, np.random.default_rng(0))
    by_hand = np.linalg.solve(matrix.T @ matrix, matrix.T @ activations.T).T
    np.testing.assert_allclose(recover(activations, matrix), by_hand)
    assert (activations >= 0).all()


def test_many_channels_give_half_of_each_point_back() -> None:
    activations, matrix = embed(CURVE, 10_000, np.random.default_rng(0))
    np.testing.assert_allclose(recover(activations, matrix), CURVE / 2, atol=0.03)


def test_the_error_does_not_depend_on_the_scale_and_is_the_residual_of_a_regression() -> None:
    recovered = recover(*embed(CURVE, 5, np.random.default_rng(3)))
    (scale,), residual, _, _ = np.linalg.lstsq(recovered.reshape(-1, 1), CURVE.ravel())
    by_hand = float(np.sqrt(residual[0] / (CURVE**2).sum()))
    assert relative_error(recovered, CURVE) == pytest.approx(by_hand)
    assert relative_error(scale * recovered, CURVE) == pytest.approx(by_hand)
    assert relative_error(CURVE / 2, CURVE) == pytest.approx(0, abs=1e-7)
    assert relative_error(0 * CURVE, CURVE) == 1


def test_two_and_three_channels_lose_information_and_thirty_keep_it() -> None:
    found = reconstruct(draws=400)
    assert found.dims == DIMS
    means = found.errors.mean(axis=1)
    assert (np.diff(means) < 0).all()
    assert means[0] > 2 * means[-1]
    assert found.lost[0].mean() > 0.7
    assert found.lost[-1].mean() < 0.001


def test_the_share_of_lost_points_is_that_of_fair_coins() -> None:
    found = reconstruct((2, 3, 5, 8), draws=2000, points=50)
    for dim, lost in zip(found.dims, found.lost, strict=True):
        expected = stats.binom.cdf(1, dim, 0.5)
        assert expected_loss(dim) == pytest.approx(expected)
        error = lost.std() / np.sqrt(len(lost))
        assert abs(lost.mean() - expected) < 4 * error


def test_the_seed_decides_and_further_widths_change_nothing() -> None:
    alone, among = reconstruct((5,), draws=20, seed=4), reconstruct((2, 5), draws=20, seed=4)
    np.testing.assert_array_equal(alone.errors[0], among.errors[1])
    assert not np.array_equal(alone.errors, reconstruct((5,), draws=20, seed=5).errors)


@pytest.mark.parametrize("dim", [1, 0, -3, 10_001])
def test_a_width_out_of_range_is_refused(dim: int) -> None:
    with pytest.raises(InformationError, match=f"from 2 to 10000, got {dim}"):
        reconstruct((dim,), draws=1)


def test_no_draw_and_a_negative_seed_are_refused() -> None:
    with pytest.raises(InformationError, match="draws must be from 1 to 1000000, got 0"):
        reconstruct(draws=0)
    with pytest.raises(InformationError, match="seed must be from 0"):
        reconstruct(seed=-1)
