"""Statistics of two samples whose runs are not paired: permutation tests, and what they can find.

Every function takes the arm's values (n,) and the control's (k,), finite, n and k at least 1; n and k may differ. The
statistic is Welch's t, so that the test holds its level approximately where the spreads differ (Janssen 1997, Statist.
Probab. Lett. 36), and exactly where arm and control are alike.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from ablate.verdicts.stats import Floats, finite, t_quantile, welch

EXACT_UP_TO = 200_000  # ways to split the runs; above that, splits are sampled
SAMPLED_SPLITS = 99_999
_TIE = 1e-9
_NO_VARIANCE = 1e-13  # of values scaled to at most 1: rounding of equal values
_AT_ONCE = 2_000_000  # random numbers held at a time


@dataclass(frozen=True)
class Splits:
    """Welch's t of every way to split the runs, or of a sample of them.

    Attributes:
        observed: of the split that was run.
        others: of all splits, the observed one among them; or of the sampled ones.
        exact: whether these are all splits.
    """

    observed: float
    others: Floats
    exact: bool

    def p(self, hits: int) -> float:
        """The p-value for so many splits at least as extreme; (hits + 1) / (splits + 1) where they are sampled."""
        return hits / self.others.size if self.exact else (hits + 1) / (self.others.size + 1)


def permutation_p(arm: ArrayLike, control: ArrayLike, *, seed: int = 0) -> float:
    """Two-sided permutation p of "arm and control come from one distribution".

    Exact up to 200,000 splits; above, 99,999 splits drawn from ``seed`` (Phipson & Smyth 2010). Equal means: 1.

    Example:
        >>> permutation_p([1.0, 2.0, 3.0], [7.0, 8.0, 9.0])  # 2 of the 20 splits are as extreme
        0.1
    """
    splits = _splits(arm, control, seed)
    if splits.observed == 0:
        return 1.0
    return splits.p(int((np.abs(splits.others) >= abs(splits.observed) * (1 - _TIE)).sum()))


def permutation_above_p(arm: ArrayLike, control: ArrayLike, *, seed: int = 0) -> float:
    """One-sided permutation p against "the arm's mean is at most the control's"."""
    splits = _splits(arm, control, seed)
    return splits.p(int((splits.others >= splits.observed - _TIE * min(abs(splits.observed), 1e300)).sum()))


def welch_above_p(arm: ArrayLike, control: ArrayLike) -> float:
    """One-sided Welch t test against "the arm's mean is at most the control's"; 1 from a single run of either."""
    difference, error, df = welch(finite(arm), finite(control))
    if df is None:
        return 1.0
    if error == 0:
        return 0.0 if difference > 0 else 1.0
    return float(special.stdtr(df, -difference / error))


def welch_tost_p(arm: ArrayLike, control: ArrayLike, margin: float) -> float:
    """Two one-sided Welch tests of "the true difference lies outside (-margin, margin)"; Schuirmann 1987."""
    x, y = finite(arm), finite(control)
    return max(welch_above_p(x + margin, y), welch_above_p(y + margin, x))


def permutation_tost_p(arm: ArrayLike, control: ArrayLike, margin: float, *, seed: int = 0) -> float:
    """The permutation twin of ``welch_tost_p``, which a handful of runs that happen to agree cannot pass."""
    x, y = finite(arm), finite(control)
    return max(permutation_above_p(x + margin, y, seed=seed), permutation_above_p(y + margin, x, seed=seed))


def smallest_p(n: int, k: int) -> float:
    """The smallest two-sided p that n and k runs can give: with equal numbers the mirrored split is as extreme."""
    return (2.0 if n == k else 1.0) / math.comb(n + k, n)


def runs_to_reach(level: float) -> int:
    """The fewest runs of each arm at which the exact test can reach this level."""
    return next(n for n in itertools.count(2) if smallest_p(n, n) <= level)


def two_samples_power(difference: float, arm: ArrayLike, control: ArrayLike, *, level: float) -> float:
    """Probability that as many runs, with the spreads of these, find a true difference of this size.

    Welch's t, noncentral, at the largest level that the exact test attains; 0 where it cannot reach ``level`` at all or
    a spread is not known.
    """
    x, y = finite(arm), finite(control)
    _, error, df = welch(x, y)
    attained = _attained(x.size, y.size, level)
    if df is None or attained == 0:
        return 0.0
    if error == 0:
        return 1.0
    return 1 - float(special.nctdtr(df, abs(difference) / error, t_quantile(1 - attained, df)))


def detectable_two_samples(arm: ArrayLike, control: ArrayLike, *, level: float, power: float = 0.8) -> float | None:
    """The smallest true difference that as many runs find with ``power``, at the spreads seen.

    None where the exact test cannot reach ``level``, or a spread is not known.
    """
    x, y = finite(arm), finite(control)
    _, error, df = welch(x, y)
    if df is None or _attained(x.size, y.size, level) == 0:
        return None
    if error == 0:
        return 0.0
    high = 1.0
    while two_samples_power(high * error, x, y, level=level) < power:
        high *= 2
    found = optimize.brentq(lambda size: two_samples_power(size * error, x, y, level=level) - power, 0, high, xtol=1e-6)
    return float(found) * error


def _attained(n: int, k: int, level: float) -> float:
    """The largest p at most ``level`` that the exact test can give; 0 where there is none."""
    step = smallest_p(n, k)
    return level if step < 1e-6 else math.floor(level / step + 1e-9) * step


def _splits(arm: ArrayLike, control: ArrayLike, seed: int) -> Splits:
    x, y = finite(arm), finite(control)
    runs = np.concatenate([x, y])
    runs = runs - runs.mean()
    runs = runs / (float(np.abs(runs).max()) or 1.0)
    observed = float(_t(runs, np.arange(x.size)[None, :])[0])
    if math.comb(runs.size, x.size) <= EXACT_UP_TO:
        return Splits(observed, _t(runs, _every_split(runs.size, x.size)), exact=True)
    generator = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // runs.size)
    drawn = []
    for start in range(0, SAMPLED_SPLITS, rows):
        keys = generator.random((min(rows, SAMPLED_SPLITS - start), runs.size))
        drawn.append(_t(runs, np.argpartition(keys, x.size - 1, axis=1)[:, : x.size]))
    return Splits(observed, np.concatenate(drawn), exact=False)


@lru_cache(maxsize=4)
def _every_split(total: int, size: int) -> NDArray[np.int64]:
    """Which runs go to the arm in every split: (splits, size)."""
    flat = itertools.chain.from_iterable(itertools.combinations(range(total), size))
    return np.fromiter(flat, dtype=np.int64, count=math.comb(total, size) * size).reshape(-1, size)


def _t(runs: Floats, chosen: NDArray[np.int64]) -> Floats:
    """Welch's t of each split, (splits,); the plain difference of the means where either side is a single run.

    No spread on either side: infinite with the difference's sign, or 0 where the means agree.
    """
    n, k = chosen.shape[1], runs.size - chosen.shape[1]
    sums, squares = runs[chosen].sum(axis=1), (runs**2)[chosen].sum(axis=1)
    rest, rest_squares = runs.sum() - sums, (runs**2).sum() - squares
    difference = sums / n - rest / k
    difference[np.abs(difference) < _TIE] = 0.0
    if min(n, k) < 2:
        return np.asarray(difference)
    var = _variance(squares, sums, n) / n + _variance(rest_squares, rest, k) / k
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(difference == 0, 0.0, difference / np.sqrt(var)))


def _variance(squares: Floats, sums: Floats, count: int) -> Floats:
    found = (squares - sums**2 / count) / (count - 1)
    found[found < _NO_VARIANCE] = 0.0
    return found
