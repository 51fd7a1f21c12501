"""Statistics of few paired seeds: arrays in, small frozen results out.

Every function takes differences (n,), float, arm minus control, paired by seed; they must be finite and n >= 1, or
ValueError is raised. Constant differences and a single seed have a stated answer and raise no warning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

EXACT_UP_TO = 32  # seeds; two halves of 2^16 sums are sorted and met, above that the flips are sampled
SAMPLED_FLIPS = 99_999
WORD = 8  # signs that are looked up at once: the table of their 2^8 sums stays in a processor's nearest cache
# Spread below this share of the largest value is rounding of equal values, not spread.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class Interval:
    """A confidence interval; ``low`` and ``high`` are None where it cannot be known (one seed)."""

    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside; False for an interval that is not known."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def width(self) -> float | None:
        """Distance from low to high, or None."""
        return None if self.low is None or self.high is None else self.high - self.low


def t_quantile(confidence: float, df: float) -> float:
    """The t value that a two-sided interval of this confidence (0 to 1) takes at ``df`` degrees of freedom."""
    return float(special.stdtrit(df, 0.5 + confidence / 2))


def spread(values: ArrayLike) -> float | None:
    """Standard deviation (n,) -> scalar with n - 1; exactly 0 for equal values; None from one value."""
    x = finite(values)
    if x.size < 2:
        return None
    if np.ptp(x) <= _ROUNDING * float(np.abs(x).max()):
        return 0.0
    return float(x.std(ddof=1))


def paired_interval(differences: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean difference. Equal differences give an interval of no width, one seed none."""
    d = finite(differences)
    sd = spread(d)
    if sd is None:
        return Interval(None, None)
    half = t_quantile(confidence, d.size - 1) * sd / math.sqrt(d.size)
    return Interval(float(d.mean()) - half, float(d.mean()) + half)


def repeat_interval(differences: ArrayLike, confidence: float = 0.95) -> Interval:
    """Where the mean of as many new differences is expected: sqrt(2) times as wide as Student's interval.

    Both means vary by sd / sqrt(n), so that their difference varies by sqrt(2) times that (Hahn & Meeker 1991,
    Statistical Intervals).

    Args:
        differences: (n,).
        confidence: 0 to 1.
    """
    own = paired_interval(differences, confidence)
    if own.low is None or own.high is None:
        return own
    middle, half = (own.low + own.high) / 2, math.sqrt(2) * (own.high - own.low) / 2
    return Interval(middle - half, middle + half)


def welch_interval(arm: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> Interval:
    """Welch's interval of mean(arm) - mean(control), which ignores the pairing; arm (n,), control (k,).

    Source: Welch 1947, Biometrika 34; degrees of freedom by Welch-Satterthwaite.
    """
    difference, error, df = welch(arm, control)
    if df is None:
        return Interval(None, None)
    half = t_quantile(confidence, df) * error
    return Interval(difference - half, difference + half)


def welch(arm: ArrayLike, control: ArrayLike) -> tuple[float, float, float | None]:
    """mean(arm) - mean(control), its standard error, and Welch's degrees of freedom; None where these are not known."""
    x, y = finite(arm), finite(control)
    difference = float(x.mean() - y.mean())
    sd_x, sd_y = spread(x), spread(y)
    if sd_x is None or sd_y is None:
        return difference, math.nan, None
    var_x, var_y = sd_x**2 / x.size, sd_y**2 / y.size
    if var_x + var_y == 0:
        return difference, 0.0, math.inf
    df = (var_x + var_y) ** 2 / (var_x**2 / (x.size - 1) + var_y**2 / (y.size - 1))
    return difference, math.sqrt(var_x + var_y), df


def correlation(arm: ArrayLike, control: ArrayLike) -> float | None:
    """Pearson's r of (n,) and (n,); None below three pairs or when either is constant."""
    x, y = finite(arm), finite(control)
    sd_x, sd_y = spread(x), spread(y)
    if x.size < 3 or not sd_x or not sd_y:
        return None
    r = float(((x - x.mean()) * (y - y.mean())).sum() / ((x.size - 1) * sd_x * sd_y))
    return min(1.0, max(-1.0, r))


def sign_flip_p(differences: ArrayLike, *, seed: int = 0) -> float:
    """Two-sided sign-flip p of the mean being 0, for differences that are symmetric about 0 under the null.

    Exact up to 32 seeds, by meeting the sorted sums of two halves in the middle; above, 99,999 flips drawn from
    ``seed`` and (hits + 1) / (flips + 1), which is valid too (Phipson & Smyth 2010). The smallest value is
    2 / 2^n for n seeds, and 2 / 100,000 where flips are drawn. All differences zero: 1.
    """
    d = finite(differences)
    observed = abs(float(d.sum()))
    if observed <= _tolerance(d):
        return 1.0
    return min(1.0, 2 * _upper_p(d, observed, seed))


def sign_flip_above_p(values: ArrayLike, *, seed: int = 0) -> float:
    """One-sided sign-flip p against "the centre of symmetry is at most 0"; smallest value 1 / 2^n."""
    d = finite(values)
    return _upper_p(d, float(d.sum()), seed)


def t_above_p(values: ArrayLike) -> float:
    """One-sided t test against "the mean is at most 0"; equal values: 0 if positive, else 1; one value: 1."""
    d = finite(values)
    sd = spread(d)
    if sd is None:
        return 1.0
    mean = float(d.mean())
    if sd == 0:
        return 0.0 if mean > _tolerance(d) else 1.0
    return float(special.stdtr(d.size - 1, -mean * math.sqrt(d.size) / sd))


def tost_p(differences: ArrayLike, margin: float) -> float:
    """Two one-sided t tests of "the true difference lies outside (-margin, margin)"; Schuirmann 1987."""
    d = finite(differences)
    return max(t_above_p(d + margin), t_above_p(margin - d))


def exact_equivalence_p(differences: ArrayLike, margin: float, *, seed: int = 0) -> float:
    """The exact sign-flip twin of ``tost_p``, for differences that are symmetric about the margin there.

    The t test alone would call two seeds with equal differences equivalent beyond all doubt; this one cannot go below
    1 / 2^n, so that a handful of seeds that happen to agree proves nothing.
    """
    d = finite(differences)
    return max(sign_flip_above_p(d + margin, seed=seed), sign_flip_above_p(margin - d, seed=seed))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjusted p-values, in the order given; Holm 1979, Scand. J. Statist. 6."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def above_chance_p(accuracy: float, chance: float, num_images: int) -> float:
    """One-sided binomial p of ``accuracy`` (0 to 1) on ``num_images`` images against guessing with ``chance``."""
    hits = round(min(accuracy, 1.0) * num_images)
    return 1.0 if hits <= 0 else float(special.bdtrc(hits - 1, num_images, chance))


def _upper_p(d: Floats, observed: float, seed: int) -> float:
    """P(sum of randomly signed |d| >= observed), the identity among the flips."""
    threshold = observed - _tolerance(d)
    if d.size > EXACT_UP_TO:
        sums = np.zeros(SAMPLED_FLIPS)
        for place, words in enumerate(_drawn_signs(d.size, seed)):
            sums += _signed_sums(d[WORD * place : WORD * (place + 1)])[words]
        return (int((sums >= threshold).sum()) + 1) / (SAMPLED_FLIPS + 1)
    left, right = _signed_sums(d[: d.size // 2]), np.sort(_signed_sums(d[d.size // 2 :]))
    hits = int((right.size - np.searchsorted(right, threshold - left, side="left")).sum())
    return float(hits / 2.0**d.size)


def _signed_sums(d: Floats) -> Floats:
    """All 2^n sums of +-d, (n,) -> (2^n,); bit i of a sum's place is 1 where it has -d[i]."""
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return sums


@lru_cache(maxsize=2)
def _drawn_signs(n: int, seed: int) -> NDArray[np.uint8]:
    """The sampled flips, a bit a sign, (words, flips): the same for every contrast, 64 times smaller than floats."""
    words = np.random.default_rng(seed).integers(0, 2**WORD, (-(-n // WORD), SAMPLED_FLIPS), np.uint8)
    words[-1] >>= -n % WORD
    return words


def _tolerance(d: Floats) -> float:
    """Sums that differ by less are ties: accuracies are multiples of 1 / images and equal sums round differently."""
    return _ROUNDING * float(np.abs(d).sum())


def finite(values: ArrayLike) -> Floats:
    """The values as floats (n,).

    Raises:
        ValueError: there is none, or one is not finite.
    """
    x = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if x.ndim != 1 or x.size < 1 or not np.isfinite(x).all():
        raise ValueError(f"one or more finite numbers (n,) are needed, got shape {x.shape}: {x!r}")
    return x
