"""The mean effect over several data sets, and where the effect on a new data set is to be expected.

Each data set is one unit. Its true effect is drawn from a normal distribution around the mean with variance tau^2
between data sets. tau^2 is estimated by restricted maximum likelihood (Viechtbauer 2005, J. Educ. Behav. Stat. 30), the
interval of the mean is that of Hartung & Knapp (2001, Statist. Med. 20), with k - 1 degrees of freedom; the prediction
interval has k - 2 (Higgins et al. 2009, J. R. Statist. Soc. A 172; Partlett & Riley 2017, Statist. Med. 36).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from ablate.verdicts.stats import Floats, Interval, t_quantile

_GRID = 200  # values of tau^2 among which the likelihood is maximised before it is refined


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A random-effects mean over data sets, in the unit of the estimates.

    Attributes:
        num_sets: data sets pooled.
        mean, standard_error: the mean effect and its standard error after Hartung & Knapp.
        low, high: confidence interval of the mean.
        p: two-sided t test of the mean being 0, with num_sets - 1 degrees of freedom.
        tau: standard deviation of the true effects between data sets.
        i_squared: share (0 to 1) of the variance of the estimates that lies between data sets.
        heterogeneity_p: Cochran's Q test of "every data set has the same effect".
        prediction_low, prediction_high: interval for the true effect on a new data set; None below three data sets.
    """

    num_sets: int
    mean: float
    standard_error: float
    low: float
    high: float
    p: float
    tau: float
    i_squared: float
    heterogeneity_p: float
    prediction_low: float | None
    prediction_high: float | None

    @property
    def interval(self) -> Interval:
        """The confidence interval of the mean."""
        return Interval(self.low, self.high)


def pooled(estimates: ArrayLike, standard_errors: ArrayLike, *, confidence: float = 0.95) -> Pooled:
    """The random-effects mean of the estimates.

    Args:
        estimates: effect in each data set, (k,), k at least 2.
        standard_errors: of the estimates, (k,), above 0.
        confidence: of both intervals (0 to 1).

    Raises:
        ValueError: fewer than two data sets, or a number that is not finite or a standard error that is not above 0.

    Example:
        >>> found = pooled([0.10, 0.30, 0.35], [0.10, 0.12, 0.09])
        >>> round(found.mean, 3), found.num_sets
        (0.251, 3)
    """
    y, errors = np.asarray(estimates, dtype=np.float64), np.asarray(standard_errors, dtype=np.float64)
    if y.ndim != 1 or y.shape != errors.shape or y.size < 2:
        raise ValueError(
            f"two or more estimates, each with its standard error, are needed; got {y.shape}, {errors.shape}"
        )
    if not (np.isfinite(y).all() and np.isfinite(errors).all() and (errors > 0).all()):
        raise ValueError(f"estimates must be finite and standard errors above 0; got {y!r} and {errors!r}")
    # in units of the estimates' own size, so that no square leaves the range of a float
    size = float(max(np.abs(y).max(), errors.max()))
    y, v = y / size, (errors / size) ** 2
    tau2 = _reml(y, v)
    weights = 1 / (v + tau2)
    mean = float((weights * y).sum() / weights.sum())
    df = y.size - 1
    error = math.sqrt(float((weights * (y - mean) ** 2).sum() / (df * weights.sum())))
    t = t_quantile(confidence, df)
    reach = t_quantile(confidence, df - 1) * math.sqrt(tau2 + error**2) if df > 1 else None
    return Pooled(
        num_sets=y.size,
        mean=size * mean,
        standard_error=size * error,
        low=size * (mean - t * error),
        high=size * (mean + t * error),
        p=_two_sided(mean, error, df),
        tau=size * math.sqrt(tau2),
        i_squared=_i_squared(v, tau2),
        heterogeneity_p=_heterogeneity_p(y, v),
        prediction_low=None if reach is None else size * (mean - reach),
        prediction_high=None if reach is None else size * (mean + reach),
    )


def _reml(y: Floats, v: Floats) -> float:
    """The tau^2 of the highest restricted likelihood: the best of a grid, refined between its neighbours."""
    highest = max(float(np.ptp(y)) ** 2, float(v.max())) * 10
    grid = np.concatenate([[0.0], np.geomspace(float(v.min()) * 1e-6, highest, _GRID)])
    best = int(np.argmin([_deviance(tau2, y, v) for tau2 in grid]))
    if best == 0:
        return 0.0
    bounds = float(grid[best - 1]), float(grid[min(best + 1, _GRID)])
    found = optimize.minimize_scalar(
        _deviance, bounds=bounds, args=(y, v), method="bounded", options={"xatol": 1e-10 * bounds[1]}
    )
    return float(found.x)


def _deviance(tau2: float, y: Floats, v: Floats) -> float:
    """Minus twice the restricted log likelihood, without its constant."""
    weights = 1 / (v + tau2)
    mean = (weights * y).sum() / weights.sum()
    return float(np.log(v + tau2).sum() + math.log(weights.sum()) + (weights * (y - mean) ** 2).sum())


def _two_sided(mean: float, error: float, df: int) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * special.stdtr(df, -abs(mean) / error))


def _i_squared(v: Floats, tau2: float) -> float:
    """tau^2 over tau^2 plus the typical variance of an estimate (Higgins & Thompson 2002, Statist. Med. 21)."""
    weights = 1 / v
    rest = weights.sum() ** 2 - (weights**2).sum()
    typical = (v.size - 1) * weights.sum() / rest
    return float(tau2 / (tau2 + typical))


def _heterogeneity_p(y: Floats, v: Floats) -> float:
    weights = 1 / v
    q = float((weights * (y - (weights * y).sum() / weights.sum()) ** 2).sum())
    return float(special.chdtrc(y.size - 1, q))
