"""What a number of seeds can find, and how many seeds a question needs.

The rule that these functions answer for is the one in judge.py: a difference is found when the exact sign-flip p is at
most ``level`` and the t interval at 1 - alpha lies on one side of zero. ``level`` is alpha / num_contrasts: Holm's
first step, so that the promise holds when one arm alone differs. Effects are in standard deviations of the paired
differences unless a function takes ``sd``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import special

from ablate.verdicts.stats import Floats, t_quantile

POWER = 0.8
MOST_SEEDS = 10_000
# Standard deviation of paired differences in test accuracy where no record was seen yet: 0.5 points, measured on
# mnist5k (4 epochs, linear against relu bottleneck, 8 seeds); CIFAR-10 ResNet-9 between seeds: 0.56 points at 4
# epochs to 0.15 at 64 (arXiv:2304.01910).
PRIOR_SD = 0.005
PRIOR_SOURCE = "0.5 points, measured on mnist5k; CIFAR-10 is near it: 0.15 to 0.56 between seeds, arXiv:2304.01910"
# Up to here the few values that the exact p can take decide the power, so it is computed by enumerating them on
# simulated differences; above, the p of the sign-flip test and of the t test are the same to a point of power.
_ENUMERATED = 12
_SIMULATIONS = 4_000


def reachable(n: int, alpha: float = 0.05, num_contrasts: int = 1) -> bool:
    """Whether the smallest p of the exact two-sided sign-flip test, 2 / 2^n, is at most alpha / num_contrasts."""
    return 2.0 ** (1 - n) <= alpha / num_contrasts


def seeds_to_reach(alpha: float = 0.05, num_contrasts: int = 1) -> int:
    """The fewest seeds at which the exact test can reach its level at all."""
    return 1 + math.ceil(math.log2(num_contrasts / alpha) - 1e-12)


def t_test_effect(n: int, level: float, power: float = POWER) -> float:
    """The effect that a two-sided paired t test at ``level`` finds with ``power``: noncentral t, n - 1 degrees."""
    return _smallest(lambda effect: t_test_power(effect, n, level) >= power, 1e-6)


def t_test_power(effect: float, n: int, level: float) -> float:
    """Power of the two-sided paired t test, counting findings in the right direction only."""
    return 1 - float(special.nctdtr(n - 1, abs(effect) * math.sqrt(n), t_quantile(1 - level, n - 1)))


def power(effect: float, n: int, *, alpha: float = 0.05, num_contrasts: int = 1) -> float:
    """Probability (0 to 1) that n paired seeds find a normal effect of ``effect`` SDs and name its direction."""
    level = alpha / num_contrasts
    if n < 2 or not reachable(n, alpha, num_contrasts):
        return 0.0
    if n > _ENUMERATED:
        steps = 2.0 ** min(n - 1, 60)  # the exact p is a multiple of 1 / steps
        return t_test_power(effect, n, math.floor(level * steps) / steps)
    drawn, flipped, balance = _flips(n)
    values = drawn + abs(effect)
    total = values.sum(axis=1)
    shifted, observed = flipped + abs(effect) * balance, (total - 1e-5)[:, None]
    hits = (shifted >= observed).sum(axis=1) + (-shifted >= observed).sum(axis=1)
    exact = 2 * hits / 2.0**n <= level + 1e-12
    above_zero = total / values.std(axis=1, ddof=1) > t_quantile(1 - alpha, n - 1) * math.sqrt(n)
    return float((exact & above_zero).mean())


@lru_cache(maxsize=512)
def detectable_effect(n: int, *, alpha: float = 0.05, num_contrasts: int = 1) -> float | None:
    """The smallest effect in SDs found with 80 % power after Holm; None where the exact test cannot reach its level."""
    if n < 2 or not reachable(n, alpha, num_contrasts):
        return None
    return _smallest(lambda effect: power(effect, n, alpha=alpha, num_contrasts=num_contrasts) >= POWER, 2e-3)


def detectable(n: int, sd: float, *, alpha: float = 0.05, num_contrasts: int = 1) -> float | None:
    """``detectable_effect`` in the metric's unit, for differences with standard deviation ``sd``."""
    effect = detectable_effect(n, alpha=alpha, num_contrasts=num_contrasts)
    return None if effect is None else effect * sd


def seeds_needed(difference: float, sd: float, *, alpha: float = 0.05, num_contrasts: int = 1) -> int | None:
    """The fewest seeds that find ``difference`` with 80 % power after Holm; None above 10,000."""

    def enough(n: int) -> bool:
        effect = detectable_effect(n, alpha=alpha, num_contrasts=num_contrasts)
        return effect is not None and effect * sd <= difference

    return _fewest(enough, seeds_to_reach(alpha, num_contrasts))


def equivalence_power(margin: float, sd: float, n: int, *, alpha: float = 0.05, num_contrasts: int = 1) -> float:
    """Probability that n seeds show a true difference of zero to be equivalent within +-margin."""
    level = alpha / num_contrasts
    if n < 2 or 2.0**-n > level:
        return 0.0
    if sd == 0:
        return 1.0
    reach = margin / sd
    t = -float(special.stdtrit(n - 1, level))
    if n > _ENUMERATED:
        # P(|mean| < margin - t s / sqrt n), averaged over the chi distribution of s.
        quantiles = (np.arange(400) + 0.5) / 400
        s = np.sqrt(2 * special.gammaincinv((n - 1) / 2, quantiles) / (n - 1))
        room = np.maximum(math.sqrt(n) * reach - t * s, 0)
        return float((special.ndtr(room) - special.ndtr(-room)).mean())
    drawn, flipped, balance = _flips(n)
    total = drawn.sum(axis=1)
    passed = np.abs(total) + t * math.sqrt(n) * drawn.std(axis=1, ddof=1) < n * reach
    for sign in (1, -1):
        shifted = sign * flipped + reach * balance
        observed = (sign * total + n * reach - 1e-5)[:, None]
        hits = (shifted >= observed).sum(axis=1) + (-shifted >= observed).sum(axis=1)
        passed &= hits / 2.0**n <= level + 1e-12
    return float(passed.mean())


def seeds_for_equivalence(margin: float, sd: float, *, alpha: float = 0.05, num_contrasts: int = 1) -> int | None:
    """The fewest seeds that show a true zero equivalent with 80 % power after Holm; None above 10,000."""
    return _fewest(
        lambda n: equivalence_power(margin, sd, n, alpha=alpha, num_contrasts=num_contrasts) >= POWER,
        max(2, seeds_to_reach(alpha, num_contrasts) - 1),
    )


def seeds_to_settle(margin: float, sd: float, *, alpha: float = 0.05, num_contrasts: int = 1) -> int | None:
    """Seeds that settle the question either way with 80 % power: a difference of the margin, or none at all."""
    found = seeds_needed(margin, sd, alpha=alpha, num_contrasts=num_contrasts)
    shown = seeds_for_equivalence(margin, sd, alpha=alpha, num_contrasts=num_contrasts)
    return None if found is None or shown is None else max(found, shown)


def detectable_factorial(
    num_arms: int, num_seeds: int, num_effects: int, sd: float, *, alpha: float = 0.05
) -> float | None:
    """The smallest effect of two-level factors found with 80 % power after Holm, in the metric's unit.

    Args:
        num_arms: combinations run, each with ``num_seeds`` seeds.
        num_seeds: the blocks.
        num_effects: main effects and interactions in the table, the family of Holm.
        sd: standard deviation of paired differences between two arms, sqrt(2) times that of an arm within its block.
        alpha: family-wise.

    Returns:
        None where the model leaves no degrees of freedom.
    """
    df = num_arms * num_seeds - num_seeds - num_effects
    if df < 1:
        return None
    error = math.sqrt(2 / (num_arms * num_seeds)) * sd
    critical = t_quantile(1 - alpha / num_effects, df)
    return error * _smallest(lambda shift: 1 - float(special.nctdtr(df, shift, critical)) >= POWER, 1e-4)


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


@lru_cache(maxsize=8)
def _flips(n: int) -> tuple[Floats, Floats, Floats]:
    """Simulated standard normal differences and their sign-flipped sums, the same at every call.

    Returns:
        drawn (simulations, n); sums with the first sign held (simulations, 2^(n-1)); sums of the signs (2^(n-1),).
    """
    drawn = np.random.default_rng(20_240_601 + n).standard_normal((_SIMULATIONS, n))
    signs = np.ones((2 ** (n - 1), n))
    for column in range(1, n):
        signs[:, column] = 1 - 2 * ((np.arange(2 ** (n - 1)) >> (column - 1)) & 1)
    return drawn, (drawn @ signs.T).astype(np.float32), signs.sum(axis=1).astype(np.float32)
