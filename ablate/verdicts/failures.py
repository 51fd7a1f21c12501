"""What means and intervals of few seeds do not show: outliers, asymmetry, and how often training fails."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ablate.verdicts.gather import ArmResults
from ablate.verdicts.stats import Floats, holm, spread
from ablate.verdicts.verdict import FailureRate

OUTLIER_LEVEL = 0.01
_FEWEST = 5  # below, neither an outlier nor asymmetry can be told


def outliers(values: Floats, *, level: float = OUTLIER_LEVEL) -> tuple[int, ...]:
    """Places of the values that lie too far from the others for a normal sample, up to a quarter of them.

    The generalised extreme studentised deviate test (Rosner 1983, Technometrics 25), which finds several outliers that
    hide each other. About ``level`` of normal samples have one; docs/verdict_simulations.md has the share.
    """
    n = values.size
    if n < _FEWEST or not spread(values):
        return ()
    places = np.argsort(values, kind="stable")
    ordered, low, high, found = values[places], 0, n, 0
    removed: list[int] = []
    for step, critical in enumerate(_critical(n, np.arange(1, n // 4 + 1), level), 1):
        rest = ordered[low:high]
        sd = spread(rest)
        if not sd:
            break
        mean = float(rest.mean())
        below, above = mean - rest[0], rest[-1] - mean
        lowest = below >= above
        removed.append(int(places[low if lowest else high - 1]))
        low, high = low + lowest, high - (not lowest)
        if max(below, above) / sd > critical:
            found = step
    return tuple(sorted(removed[:found]))


def _critical(n: int, steps: NDArray[np.int_], level: float) -> Floats:
    sizes = n - steps + 1
    t = special.stdtrit(sizes - 2, 1 - level / (2 * sizes))
    return np.asarray(t * (sizes - 1) / np.sqrt((sizes - 2 + t * t) * sizes))


def is_asymmetric(values: Floats) -> bool | None:
    """Whether the sample skewness is beyond that of 95 % of normal samples of the size; None below five values."""
    if values.size < _FEWEST or not spread(values):
        return None
    return bool(abs(_skewness(values[None, :])[0]) > _normal_skewness(min(values.size, 200)))


def _skewness(samples: Floats) -> Floats:
    centred = samples - samples.mean(axis=1, keepdims=True)
    return np.asarray((centred**3).mean(axis=1) / (centred**2).mean(axis=1) ** 1.5)


@lru_cache(maxsize=64)
def _normal_skewness(n: int) -> float:
    drawn = np.random.default_rng(n).standard_normal((10_000, n))
    return float(np.quantile(np.abs(_skewness(drawn)), 0.95))


def highest_rate(failed: int, of: int, confidence: float = 0.95) -> float:
    """The highest failure rate (0 to 1) that the seeds do not exclude: Clopper & Pearson's exact one-sided bound.

    Example:
        >>> round(highest_rate(0, 8), 3)
        0.312
    """
    return 1.0 if failed >= of else float(special.betaincinv(failed + 1, of - failed, confidence))


def fisher_p(failed: int, of: int, other_failed: int, other_of: int) -> float:
    """Two-sided exact p of equal failure rates; Fisher 1935, J. R. Statist. Soc. 98."""
    total, marked = of + other_of, failed + other_failed
    places = np.arange(max(0, marked - other_of), min(of, marked) + 1)

    chances = special.binom(of, places) * special.binom(other_of, marked - places) / special.binom(total, marked)
    observed = chances[places == failed][0]
    return min(1.0, float(chances[chances <= observed * (1 + 1e-7)].sum()))


def failure_rates(
    control: ArmResults, arms: tuple[ArmResults, ...], run: int, collapsed: Mapping[str, int]
) -> dict[str, FailureRate]:
    """How often each arm's training failed over the seeds run: it diverged, or ended far below the other seeds.

    Args:
        control: compared with every arm by Fisher's exact test, Holm-adjusted over the arms.
        arms: without the control.
        run: seeds judged so far.
        collapsed: arm -> seeds that finished, but far worse than the others.
    """

    def counts(one: ArmResults) -> tuple[int, int]:
        return one.diverged + collapsed.get(one.name, 0), min(one.planned, run)

    base = counts(control)
    p_values = [fisher_p(*counts(arm), *base) for arm in arms]
    rates = {control.name: FailureRate(failed=base[0], of=base[1], upper=highest_rate(*base))}
    for arm, p, adjusted in zip(arms, p_values, holm(p_values), strict=True):
        failed, of = counts(arm)
        rates[arm.name] = FailureRate(failed=failed, of=of, upper=highest_rate(failed, of), p=p, adjusted_p=adjusted)
    return rates
