"""Several contrasts at once: step-down max-T over joint sign flips, and intervals that hold jointly.

The contrasts share their seeds and their control, so that they are dependent. A sign flip turns the differences of one
seed in all contrasts together and keeps that dependence (Westfall & Young 1993, Resampling-Based Multiple Testing, free
step-down). The statistic is the paired t of each contrast. For any set of contrasts without an effect whose vectors
of differences are symmetric about zero, the probability that any of them comes out different is at most alpha.
Simulations with skewed noise are in docs/verdict_simulations.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ablate.verdicts.stats import Floats, Interval, paired_interval, spread, t_quantile

Signs = NDArray[np.int8]
EXACT_SEEDS = 16  # up to here all flips are counted, above as many are drawn
_PATTERNS = 2 ** (EXACT_SEEDS - 1)  # a pattern and its opposite have the same |t|, so half of 2^n are enough
_TIE = 1e-9  # equal sums round differently


def smallest_p(n: int) -> float:
    """The smallest adjusted p that n paired seeds can give, whatever the number of contrasts."""
    return 1 / 2 ** (min(n, EXACT_SEEDS) - 1) if n > 0 else 1.0


def step_down(differences: Floats, *, absent: int = 0) -> Floats:
    """Adjusted two-sided p-values, (contrasts,).

    Args:
        differences: arm minus control, (n seeds, contrasts); constant zeros have p = 1.
        absent: contrasts of the family that have no differences here. Each counts as one more contrast with the same p,
            by the union bound, so that a failure never makes the others' tests easier.

    Example:
        >>> step_down(np.array([[1.0, 0.2], [1.1, -0.3], [0.9, 0.1], [1.2, 0.0], [1.0, -0.1], [0.8, 0.2]]))
        array([0.03125, 1.     ])
    """
    observed = _correlations(differences, np.ones((1, len(differences))))[0]
    order = np.argsort(observed, kind="stable")  # the least extreme first, as the maxima run
    threshold = observed[order] - _TIE
    joint, alone = np.zeros(order.size), np.zeros(order.size)
    patterns = signs(len(differences))
    for chunk in _chunks(patterns, order.size):
        flipped = _correlations(differences, chunk)[:, order]
        alone += (flipped >= threshold).sum(axis=0)
        joint += (np.maximum.accumulate(flipped, axis=1) >= threshold).sum(axis=0)
    raw = np.minimum(1.0, (joint + absent * alone) / len(patterns))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.maximum.accumulate(raw[::-1])[::-1]
    return adjusted


def joint_intervals(differences: Floats, alpha: float, *, absent: int = 0) -> tuple[Interval, ...]:
    """Intervals of the mean differences that hold together with probability 1 - alpha, one a contrast.

    mean +- c x standard error, where at most alpha of the joint flips of the differences about their means have a
    largest |t| of c or more. Since the means are estimated, this is approximate (docs/verdict_simulations.md has the
    joint coverage). c is never below Student's quantile nor above Bonferroni's, which also serves where the flips are
    too few for alpha.

    Args:
        differences: (n seeds, contrasts).
        alpha: of the whole family.
        absent: contrasts of the family that have no differences here; the union bound gives them their part of alpha.
    """
    n, present = differences.shape
    family = present + absent
    if n < 2:
        return tuple(Interval(None, None) for _ in range(present))
    highest = t_quantile(1 - alpha / family, n - 1)
    critical = highest
    if family > 1 and smallest_p(n) <= alpha * present / family:
        critical = min(highest, max(t_quantile(1 - alpha, n - 1), _largest_t(differences, alpha * present / family)))
    scale = critical / t_quantile(1 - alpha, n - 1)
    return tuple(_stretched(column, 1 - alpha, scale) for column in differences.T)


def _stretched(column: Floats, confidence: float, scale: float) -> Interval:
    own = paired_interval(column, confidence)
    if own.low is None or own.high is None:
        return own
    middle, half = (own.low + own.high) / 2, scale * (own.high - own.low) / 2
    return Interval(middle - half, middle + half)


def _largest_t(differences: Floats, alpha: float) -> float:
    """The largest |t| that at most alpha of the joint flips of the differences about their means reach or exceed."""
    n = len(differences)
    varying = np.array([bool(spread(column)) for column in differences.T])
    centred = (differences - differences.mean(axis=0))[:, varying]
    if not centred.size:
        return 0.0
    patterns = signs(n)
    parts = (_correlations(centred, chunk).max(axis=1) for chunk in _chunks(patterns, centred.shape[1]))
    largest = np.sort(np.concatenate(list(parts)))
    r = min(float(largest[-math.floor(alpha * len(largest) + _TIE)]), 1 - 1e-12)
    return r * float(np.sqrt((n - 1) / (1 - r**2)))


def _chunks(patterns: Signs, contrasts: int) -> Iterator[Floats]:
    """The patterns as floats, in parts that take little memory with what is made of them."""
    parts = max(1, len(patterns) * max(contrasts, patterns.shape[1]) // 2_000_000)
    return (part.astype(np.float64) for part in np.array_split(patterns, parts))


def _correlations(differences: Floats, patterns: Floats) -> Floats:
    """|r| of each contrast under each flip, (patterns, contrasts); |t| = |r| sqrt((n - 1) / (1 - r^2))."""
    size = np.sqrt(len(differences) * (differences**2).sum(axis=0))
    return np.asarray(np.abs(patterns @ differences) / np.where(size > 0, size, 1.0))


@lru_cache(maxsize=16)
def signs(n: int) -> Signs:
    """Patterns of signs (patterns, n), the identity first: all with the first sign +1, or as many drawn at random."""
    if n > EXACT_SEEDS:
        drawn, generator = np.empty((_PATTERNS, n), np.int8), np.random.default_rng(n)
        for some in np.array_split(drawn, 64):  # one call would draw all of them as integers of eight bytes
            some[:] = generator.integers(0, 2, some.shape) * 2 - 1
        drawn[0] = 1
        return drawn
    bits = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n - 1)) & 1
    return np.hstack([np.ones((len(bits), 1), np.int8), (1 - 2 * bits).astype(np.int8)])
