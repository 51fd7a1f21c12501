"""What a number of seeds can find, and how many seeds a question needs.

The rule that these functions answer for is the one in judge.py: a difference is found when its max-T p is at most alpha
and the t interval at 1 - alpha lies on one side of zero. Power is for one arm that differs among ``num_contrasts`` that
share a control. Effects are in standard deviations of the paired differences unless a function takes ``sd``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ablate.verdicts.maxt import EXACT_SEEDS, signs, smallest_p
from ablate.verdicts.stats import Floats, t_quantile

POWER = 0.8
Flags = NDArray[np.bool_]
MOST_SEEDS = 10_000
# Up to here the few values that the exact p can take decide the power, so it is computed by enumerating them on
# simulated differences; above, the p of the sign-flip test and of the t test are the same to a point of power.
_ENUMERATED = 10
_SIMULATIONS = 4_000
SHARED_CONTROL = 0.5  # correlation of two contrasts with the same control, where all arms vary alike


def reachable(n: int, alpha: float = 0.05) -> bool:
    """Whether the smallest p of the exact test is at most alpha, for any number of contrasts."""
    return smallest_p(n) <= alpha


def seeds_to_reach(alpha: float = 0.05) -> int | None:
    """The fewest seeds at which the exact test can reach its level at all; None if no number of them does."""
    return next((n for n in range(1, EXACT_SEEDS + 1) if reachable(n, alpha)), None)


@lru_cache(maxsize=256)
def shared_level(alpha: float, num_contrasts: int, correlation: float = SHARED_CONTROL) -> float:
    """The level of each contrast at which the largest of ``num_contrasts`` equally correlated |z| has level alpha.

    Dunnett 1955 (J. Am. Statist. Assoc. 50) for many seeds: between alpha / num_contrasts and alpha.
    """
    if num_contrasts == 1:
        return alpha
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    shift, scale = math.sqrt(correlation) * nodes, math.sqrt(1 - correlation)

    def too_high(level: float) -> bool:
        z = -float(special.ndtri(level / 2))
        inside = special.ndtr((z + shift) / scale) - special.ndtr((shift - z) / scale)
        return 1 - float(weights @ inside**num_contrasts) >= alpha

    low, high = alpha / num_contrasts, alpha
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if too_high(middle) else (middle, high)
    return low


def t_test_power(effect: float, n: int, level: float) -> float:
    """Power of the two-sided paired t test, counting findings in the right direction only."""
    return 1 - float(special.nctdtr(n - 1, abs(effect) * math.sqrt(n), t_quantile(1 - level, n - 1)))


def power(
    effect: float, n: int, *, alpha: float = 0.05, num_contrasts: int = 1, correlation: float = SHARED_CONTROL
) -> float:
    """Probability (0 to 1) that n paired seeds find a normal effect of ``effect`` SDs and name its direction."""
    if n < 2 or not reachable(n, alpha):
        return 0.0
    if n > _ENUMERATED:
        return t_test_power(effect, n, shared_level(alpha, num_contrasts, correlation))
    return float(_found(effect, n, alpha, num_contrasts, correlation)[0].mean())


def exaggeration(effect: float, n: int, *, alpha: float = 0.05, num_contrasts: int = 1) -> float | None:
    """How many times its true size a difference of ``effect`` SDs seems on average where it is found.

    Gelman & Carlin 2014 (Perspect. Psychol. Sci. 9), the error of type M; None where it is found too rarely to tell.
    """
    if n < 2 or not reachable(n, alpha) or effect <= 0:
        return None
    found, means = _found(effect, n, alpha, num_contrasts, SHARED_CONTROL)
    return float(means[found].mean() / effect) if found.sum() >= 20 else None


@lru_cache(maxsize=32)
def _found(effect: float, n: int, alpha: float, num_contrasts: int, correlation: float) -> tuple[Flags, Floats]:
    """Of simulated studies: whether they find the effect and name its direction, and the mean difference they see."""
    values = _normal(n)[: _simulations(num_contrasts)] + abs(effect)
    means, total = values.mean(axis=1), values.sum(axis=1)
    t = means / values.std(axis=1, ddof=1) * math.sqrt(n)
    if n > _ENUMERATED:
        return t > t_quantile(1 - shared_level(alpha, num_contrasts, correlation), n - 1), means
    size = np.sqrt(n * (values**2).sum(axis=1))
    largest = np.abs(values @ signs(n).T.astype(np.float64)) / size[:, None]
    if num_contrasts > 1:
        largest = np.maximum(largest, _others(n, num_contrasts, correlation))
    p = (largest >= (total / size - 1e-5)[:, None]).mean(axis=1)
    return (p <= alpha + 1e-12) & (t > t_quantile(1 - alpha, n - 1)), means


@lru_cache(maxsize=512)
def detectable_effect(
    n: int, *, alpha: float = 0.05, num_contrasts: int = 1, correlation: float = SHARED_CONTROL
) -> float | None:
    """The smallest effect in SDs found with 80 % power; None where the exact test cannot reach its level."""
    if n < 2 or not reachable(n, alpha):
        return None
    return _smallest(
        lambda effect: power(effect, n, alpha=alpha, num_contrasts=num_contrasts, correlation=correlation) >= POWER,
        2e-3,
    )


def detectable(n: int, sd: float, *, alpha: float = 0.05, num_contrasts: int = 1) -> float | None:
    """``detectable_effect`` in the metric's unit, for differences with standard deviation ``sd``."""
    effect = detectable_effect(n, alpha=alpha, num_contrasts=num_contrasts)
    return None if effect is None else effect * sd


def seeds_needed(difference: float, sd: float, *, alpha: float = 0.05, num_contrasts: int = 1) -> int | None:
    """The fewest seeds that find ``difference`` with 80 % power; None above 10,000."""

    def enough(n: int) -> bool:
        effect = detectable_effect(n, alpha=alpha, num_contrasts=num_contrasts)
        return effect is not None and effect * sd <= difference

    start = seeds_to_reach(alpha)
    return None if start is None else _fewest(enough, start)


def no_worse_power(margin: float, sd: float, n: int, *, alpha: float = 0.05, num_contrasts: int = 1) -> float:
    """Probability that n seeds show an arm without any difference to be no worse by the margin: noncentral t."""
    if n < 2 or 2.0**-n > alpha:
        return 0.0
    return 1.0 if sd == 0 else t_test_power(margin / sd, n, 2 * alpha / num_contrasts)


def equivalence_power(margin: float, sd: float, n: int, *, alpha: float = 0.05, num_contrasts: int = 1) -> float:
    """Probability that n seeds show a true difference of zero to be equivalent within +-margin.

    Of the t tests, at the first step of Holm; they decide wherever the exact ones can reach alpha at all.
    """
    if n < 2 or 2.0**-n > alpha:
        return 0.0
    if sd == 0:
        return 1.0
    # P(|mean| < margin - t s / sqrt n), averaged over the chi distribution of s.
    t = -float(special.stdtrit(n - 1, alpha / num_contrasts))
    quantiles = (np.arange(100) + 0.5) / 100
    s = np.sqrt(2 * special.gammaincinv((n - 1) / 2, quantiles) / (n - 1))
    room = np.maximum(math.sqrt(n) * margin / sd - t * s, 0)
    return float((special.ndtr(room) - special.ndtr(-room)).mean())


def seeds_for_equivalence(
    margin: float, sd: float, *, alpha: float = 0.05, num_contrasts: int = 1, no_worse: bool = False
) -> int | None:
    """The fewest seeds that show a true zero equivalent (or no worse) with 80 % power; None above 10,000."""
    shown = no_worse_power if no_worse else equivalence_power
    return _fewest(lambda n: shown(margin, sd, n, alpha=alpha, num_contrasts=num_contrasts) >= POWER, 2)


def seeds_to_settle(
    margin: float, sd: float, *, alpha: float = 0.05, num_contrasts: int = 1, no_worse: bool = False
) -> int | None:
    """Seeds that settle the question either way with 80 % power: a difference of the margin, or none at all."""
    found = seeds_needed(margin, sd, alpha=alpha, num_contrasts=num_contrasts)
    shown = seeds_for_equivalence(margin, sd, alpha=alpha, num_contrasts=num_contrasts, no_worse=no_worse)
    return None if found is None or shown is None else max(found, shown)


def detectable_factorial(
    num_arms: int, num_seeds: int, num_effects: int, sd: float, *, alpha: float = 0.05
) -> float | None:
    """The smallest effect of two-level factors found with 80 % power, in the metric's unit.

    Args:
        num_arms: combinations run, each with ``num_seeds`` seeds.
        num_seeds: each gives one estimate of every effect.
        num_effects: main effects and interactions in the table.
        sd: standard deviation of paired differences between two arms, sqrt(2) times that of an arm within its seed.
            Effects that vary from seed to seed by themselves are found less often.
        alpha: family-wise.

    Returns:
        None where the exact test cannot reach its level with so few seeds.
    """
    effect = detectable_effect(num_seeds, alpha=alpha, num_contrasts=num_effects, correlation=0.0)
    return None if effect is None else effect * math.sqrt(2 / num_arms) * sd


def _fewest(enough: Callable[[int], bool], start: int) -> int | None:
    """The smallest n >= start for which the monotone predicate holds, or None above MOST_SEEDS."""
    low, high = max(start, 2) - 1, max(start, 2)
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _smallest(enough: Callable[[float], bool], precision: float) -> float:
    """The smallest effect for which the monotone predicate holds, to a relative precision, from above."""
    low, high = 0.0, 1.0
    while not enough(high):
        low, high = high, 2 * high
    while high - low > precision * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _simulations(num_contrasts: int) -> int:
    return max(500, min(_SIMULATIONS, 20_000 // num_contrasts))


@lru_cache(maxsize=16)
def _normal(n: int) -> Floats:
    """Simulated standard normal differences (simulations, n), the same at every call."""
    return np.random.default_rng(20_240_601 + n).standard_normal((_SIMULATIONS, n))


@lru_cache(maxsize=4)
def _others(n: int, num_contrasts: int, correlation: float) -> NDArray[np.float32]:
    """The largest |r| of the contrasts without an effect under each flip, (simulations, patterns)."""
    first, generator = _normal(n)[: _simulations(num_contrasts)], np.random.default_rng(n)
    root, rest = math.sqrt(correlation), math.sqrt(1 - correlation)
    common = root * first + rest * generator.standard_normal(first.shape)  # what the contrasts share, given the first
    flips = signs(n).T.astype(np.float64)
    found = np.zeros((len(first), flips.shape[1]), np.float32)
    for _ in range(num_contrasts - 1):
        drawn = root * common + rest * generator.standard_normal(first.shape)
        r = np.abs(drawn @ flips) / np.sqrt(n * (drawn**2).sum(axis=1))[:, None]
        np.maximum(found, r, out=found, casting="same_kind")
    return found
