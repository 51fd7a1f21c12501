"""What is asked of runs that were trained elsewhere, and the values of two arms that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ablate.verdicts.stats import Floats, spread

Values = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of the runs.

    Attributes:
        metric: by name; it only appears in words.
        control: the arm that every other arm is compared with.
        higher_is_better: the direction of the metric.
        alpha: error rate over all contrasts.
        margin: the smallest difference that matters, in the metric's unit; 0: none, so no arm can be equivalent.
        no_worse: whether "no worse" by the margin is asked for in place of "equivalent".
        unpaired: whether equal seeds mean nothing, so that arms are two samples even where they share seeds.
        noise_floor: an arm that is the control again, under other seeds; "" for none.
        expect: arm -> better, worse, equivalent, different or undecided, written down beforehand.
    """

    metric: str
    control: str
    higher_is_better: bool
    alpha: float = 0.05
    margin: float = 0.0
    no_worse: bool = False
    unpaired: bool = False
    noise_floor: str = ""
    expect: Mapping[str, str] = field(default_factory=dict)

    @property
    def good(self) -> Literal[1, -1] | None:
        """The sign of a good difference where "no worse" is asked for, else None."""
        if not self.no_worse:
            return None
        return 1 if self.higher_is_better else -1

    def arms(self, values: Values) -> tuple[str, ...]:
        """The arms that get a verdict, in the order given."""
        return tuple(arm for arm in values if arm not in (self.control, self.noise_floor))


@dataclass(frozen=True)
class Sample:
    """An arm's values and the control's that they are compared with; of equal length and in pairs where ``paired``.

    ``seeds`` are the arm's. ``left_out`` are seeds of only one of the two that a paired comparison cannot use.
    """

    arm: str
    seeds: tuple[int, ...]
    values: Floats
    against: Floats
    paired: bool
    left_out: tuple[int, ...] = ()

    @property
    def differences(self) -> Floats:
        """Arm minus control in each pair."""
        return self.values - self.against

    @property
    def difference(self) -> float:
        """Of the means."""
        return float(self.values.mean() - self.against.mean())

    @property
    def standard_error(self) -> float | None:
        """Of the difference; None where a spread is not known."""
        parts = (self.differences,) if self.paired else (self.values, self.against)
        found = [(spread(part), part.size) for part in parts]
        if any(sd is None for sd, _ in found):
            return None
        return float(np.sqrt(sum((sd or 0.0) ** 2 / size for sd, size in found)))


def sample(values: Values, arm: str, question: Question) -> Sample:
    """The arm against the control: the seeds that both have, or all runs of both where they share none."""
    mine, theirs = values[arm], values[question.control]
    shared = sorted(mine.keys() & theirs.keys())
    if shared and not question.unpaired:
        left_out = tuple(sorted(mine.keys() ^ theirs.keys()))
        pairs = [np.array([runs[seed] for seed in shared], dtype=np.float64) for runs in (mine, theirs)]
        return Sample(arm, tuple(shared), pairs[0], pairs[1], paired=True, left_out=left_out)
    both = [np.array([runs[seed] for seed in sorted(runs)], dtype=np.float64) for runs in (mine, theirs)]
    return Sample(arm, tuple(sorted(mine)), both[0], both[1], paired=False)
