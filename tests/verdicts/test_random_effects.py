"""The random-effects mean, against metafor's published example, statsmodels, and the likelihood maximised otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.meta_analysis import combine_effects

from ablate.verdicts.random_effects import pooled

# 13 trials of the BCG vaccine (Colditz et al. 1994): cases and others, vaccinated and not.
BCG = np.array(
    [
        (4, 119, 11, 128),
        (6, 300, 29, 274),
        (3, 228, 11, 209),
        (62, 13536, 248, 12619),
        (33, 5036, 47, 5761),
        (180, 1361, 372, 1079),
        (8, 2537, 10, 619),
        (505, 87886, 499, 87892),
        (29, 7470, 45, 7232),
        (17, 1699, 65, 1600),
        (186, 50448, 141, 27197),
        (5, 2493, 3, 2338),
        (27, 16886, 29, 17825),
    ],
    dtype=float,
)


def log_risk_ratios() -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d = BCG.T
    return np.log(a / (a + b) / (c / (c + d))), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def test_the_bcg_trials_give_what_metafor_prints() -> None:
    """Viechtbauer 2010, J. Stat. Softw. 36(3), section 3: tau^2 = 0.3132, I^2 = 92.22 %, estimate -0.7145."""
    y, v = log_risk_ratios()
    found = pooled(y, np.sqrt(v))
    assert round(found.tau**2, 4) == 0.3132
    assert round(100 * found.i_squared, 2) == 92.22
    assert round(found.mean, 4) == -0.7145
    assert found.heterogeneity_p == pytest.approx(stats.chi2.sf(152.2330, 12), rel=1e-3)


def test_the_interval_is_hartung_and_knapps_by_their_formula() -> None:
    y, v = log_risk_ratios()
    found = pooled(y, np.sqrt(v), confidence=0.9)
    w = 1 / (v + found.tau**2)
    mean = (w * y).sum() / w.sum()
    error = math.sqrt((w * (y - mean) ** 2).sum() / (12 * w.sum()))
    t = stats.t.ppf(0.95, 12)
    assert (found.low, found.high) == pytest.approx((mean - t * error, mean + t * error))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(mean) / error, 12))
    reach = stats.t.ppf(0.95, 11) * math.sqrt(found.tau**2 + error**2)
    assert (found.prediction_low, found.prediction_high) == pytest.approx((mean - reach, mean + reach))


def test_without_variance_between_sets_it_is_statsmodels_fixed_effect_with_its_scaled_interval() -> None:
    y, v = np.array([0.10, 0.14, 0.17, 0.05]), np.array([0.0031, 0.0015, 0.0024, 0.0030])
    found, theirs = pooled(y, np.sqrt(v)), combine_effects(y, v, method_re="dl")
    assert found.tau == 0
    assert found.mean == pytest.approx(theirs.mean_effect_fe)
    assert found.standard_error == pytest.approx(theirs.sd_eff_w_fe_hksj)
    assert found.heterogeneity_p == pytest.approx(theirs.test_homogeneity().pvalue)


@given(
    st.lists(st.floats(-3, 3), min_size=3, max_size=8),
    st.lists(st.floats(0.05, 2), min_size=8, max_size=8),
)
def test_tau_maximises_the_restricted_likelihood(estimates: list[float], errors: list[float]) -> None:
    y = np.array(estimates)
    v = np.array(errors[: y.size]) ** 2

    def minus_twice(log_tau2: float) -> float:
        total = np.diag(v + math.exp(log_tau2))  # the general form, with X a column of ones
        x, inverse = np.ones((y.size, 1)), np.linalg.inv(total)
        information = x.T @ inverse @ x
        rest = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
        return float(np.linalg.slogdet(total)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest)

    best = min(
        optimize.minimize_scalar(minus_twice, bounds=(low, low + 6), method="bounded").fun for low in range(-18, 6, 3)
    )
    found = pooled(y, np.sqrt(v)).tau ** 2
    assert minus_twice(math.log(max(found, 1e-300))) <= best + 1e-6


@given(st.floats(1e-6, 1e6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_another_unit_changes_the_numbers_by_its_factor_alone(factor: float, mirrored: bool) -> None:
    y, v = log_risk_ratios()
    scale = -factor if mirrored else factor
    plain, scaled = pooled(y, np.sqrt(v)), pooled(scale * y, factor * np.sqrt(v))
    assert scaled.mean == pytest.approx(scale * plain.mean, rel=1e-5)
    assert scaled.tau == pytest.approx(factor * plain.tau, rel=1e-4)
    assert scaled.p == pytest.approx(plain.p, rel=1e-3)
    assert scaled.i_squared == pytest.approx(plain.i_squared, rel=1e-4)


def test_the_intervals_cover_what_they_promise() -> None:
    """Eight data sets of different precision: the mean's interval keeps 95 %, the prediction interval nearly so."""
    generator = np.random.default_rng(4)
    inside = foretold = 0
    for _ in range(600):
        truths, errors = generator.normal(0.3, 0.5, 9), generator.uniform(0.2, 0.4, 8)
        found = pooled(truths[:8] + generator.normal(0, errors), errors)
        inside += found.low <= 0.3 <= found.high
        foretold += (found.prediction_low or 0) <= truths[8] <= (found.prediction_high or 0)
    assert 0.93 <= inside / 600 <= 0.98
    assert 0.89 <= foretold / 600 <= 0.98


def test_two_sets_have_a_mean_but_foretell_nothing() -> None:
    found = pooled([0.1, 0.3], [0.1, 0.1])
    assert found.mean == pytest.approx(0.2)
    assert found.prediction_low is None


@pytest.mark.parametrize(
    ("estimates", "errors"), [([1.0], [0.1]), ([1, 2], [0.1]), ([1, 2], [0, 1]), ([1, math.nan], [1, 1])]
)
def test_what_cannot_be_pooled_is_refused(estimates: list[float], errors: list[float]) -> None:
    with pytest.raises(ValueError, match="standard error"):
        pooled(estimates, errors)
