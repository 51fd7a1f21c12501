"""Simulated studies with known truth, judged by the very rule that judges real ones; used by verdict_simulations.py.

Every study is simulated as it is run: seeds of a control and of m arms that share the control, so that the contrasts
are correlated as real ones are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ablate.design.study import Plan
from ablate.verdicts.sequential import Decided, Look, decide, planned_looks

ALPHA = 0.05
# Noise of one training, arm or control; differences vary by its square root of two.
SD = 1.0
SD_OF_DIFFERENCES = math.sqrt(2) * SD
Noise = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


@dataclass(frozen=True)
class Row:
    """One promise: what was simulated, how often it came out, and between which bounds it must; None: no promise."""

    promise: str
    setting: str
    found: float
    low: float | None
    high: float | None
    simulations: int

    def kept(self, slack: float) -> bool:
        """Whether ``found`` lies within the bounds, each widened by ``slack`` of its standard errors."""
        if self.low is None or self.high is None:
            return True
        low, high = (
            slack * math.sqrt(max(bound * (1 - bound), 0.0) / self.simulations) for bound in (self.low, self.high)
        )
        return self.low - low <= self.found <= self.high + high


def normal(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return generator.normal(0.0, SD, shape)


def counted(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Right answers out of 1,000 images at 97 %, in SDs: in steps, with ties, and skewed, as small test sets give."""
    right = generator.binomial(1000, 0.97, shape)
    return (right - 970.0) / math.sqrt(1000 * 0.97 * 0.03) * SD


def heavy(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Student's t with 3 degrees of freedom, scaled to SD 1."""
    return generator.standard_t(3, shape) / math.sqrt(3)


def skewed(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Exponential with the long tail towards failure."""
    return 1 - generator.exponential(SD, shape)


def collapsing(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Normal, and one training of ten ends 30 SDs lower."""
    return normal(generator, shape) - 30.0 * (generator.random(shape) < 0.1)


def unequal(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """The arms' SDs go from a third of the control's to three times it."""
    scale = np.concatenate([[1.0], np.geomspace(1 / 3, 3, shape[0] - 1)])
    return normal(generator, shape) * scale[:, None]


def opposed(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A seed that helps the control harms the arms: correlation -.5, so that pairing loses."""
    common = generator.normal(0, math.sqrt(0.5), (1, shape[1]))
    sign = np.where(np.arange(shape[0])[:, None] == 0, 1.0, -1.0)
    return sign * common + generator.normal(0, math.sqrt(0.5), shape)


def skewed_arms(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Only the arms' noise is skewed, and three times the control's: their differences are skewed too."""
    values = normal(generator, shape)
    values[1:] = 3 * skewed(generator, (shape[0] - 1, shape[1]))
    return values


NOISES: dict[str, Noise] = {
    "right answers out of 1,000": counted,
    "t with 3 degrees of freedom": heavy,
    "exponential": skewed,
    "one training of ten collapses": collapsing,
    "SDs from 1/3 to 3": unequal,
    "correlation -.5 with the control": opposed,
}


def outcomes(
    generator: np.random.Generator,
    shifts: list[float],
    looks: tuple[Look, ...],
    *,
    margin: float,
    noise: Noise = normal,
) -> dict[str, Decided]:
    """One study: an arm for each shift (true difference), judged by the rule."""
    n = looks[-1].seeds
    values = noise(generator, (len(shifts) + 1, n))
    arms = {str(i): values[i + 1] + shift - values[0] for i, shift in enumerate(shifts)}
    return decide(arms, looks, alpha=ALPHA, margin=margin, num_contrasts=len(shifts))


def rate(
    shifts: list[float],
    looks: tuple[Look, ...],
    wrong: Callable[[dict[str, Decided]], bool],
    simulations: int,
    *,
    margin: float = 1e-9,
    noise: Noise = normal,
) -> float:
    """The share of simulated studies of which ``wrong`` (or whatever else it asks) holds."""
    generator = np.random.default_rng([len(shifts), looks[-1].seeds, len(looks)])
    return float(
        np.mean([wrong(outcomes(generator, shifts, looks, margin=margin, noise=noise)) for _ in range(simulations)])
    )


def one_look(n: int) -> tuple[Look, ...]:
    return (Look(n, 1.0),)


def settled() -> tuple[Look, ...]:
    plan = Plan(seeds=8, until="settled", max_seeds=20, block=4)
    return planned_looks(plan, alpha=ALPHA)


def named(looks: tuple[Look, ...]) -> str:
    sizes = ", ".join(str(look.seeds) for look in looks)
    return f"{sizes} seeds" if len(looks) == 1 else f"settled: looks at {sizes} seeds"


def contrasts(m: int) -> str:
    return f"{m} contrast{'s' if m > 1 else ''}"


def any_different(decided: dict[str, Decided], but: int = 0) -> bool:
    """Whether an arm came out different, the first ``but`` of them aside; equivalent arms were shown different too."""
    return any(one.conclusion == "different" or one.also_different for one in list(decided.values())[but:])


def any_equivalent(decided: dict[str, Decided], but: int = 0) -> bool:
    return any(one.conclusion == "equivalent" for one in list(decided.values())[but:])


def all_covered(decided: dict[str, Decided]) -> bool:
    """Whether every joint interval holds zero."""
    return all((one.joint.low or 0.0) <= 0 <= (one.joint.high or 0.0) for one in decided.values())
