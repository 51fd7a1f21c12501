"""What a tuning found: the score of each setting, the best one, and how good a best is to be expected of a budget.

A score is the mean over the tuning seeds of the decision metric's twin on the validation images, turned so that higher
is better. A setting of which one seed failed or diverged has the worst score there is, whatever the others did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from ablate.design.decision import Decision
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.design.trial import Trial
from ablate.design.tuning import tuned_by

WORST = float("-inf")


class Scored(Protocol):
    """What a score is of: a setting of a tuning, a rung of a search's candidate."""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """One for each seed."""


def curve_metric(study: Study) -> str:
    """What the learning curve shows: validation accuracy, or the metric that the user's own training code reports."""
    return tuned_by(study.decision.metric) if study.own_training else "val_accuracy"


def is_scored(setting: Scored, records: Mapping[str, Record]) -> bool:
    """Whether all its trials have a record."""
    return all(trial.key in records for trial in setting.trials)


def score(setting: Scored, records: Mapping[str, Record], decision: Decision) -> float:
    """The score of a setting all of whose trials have a record; ``WORST`` if one of them has not finished."""
    chosen_by = tuned_by(decision.metric)
    sign = 1 if decision.wants_high else -1
    outcomes = [records[trial.key] for trial in setting.trials]
    if any(record.status != "finished" for record in outcomes):
        return WORST
    return fmean(sign * record.metrics[chosen_by] for record in outcomes)


def best(scores: Sequence[float]) -> int:
    """The place of the highest score, of the first where several are alike."""
    return max(range(len(scores)), key=lambda place: (scores[place], -place))


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """The best score to be expected of ``budget`` settings: mean, standard deviation, and a band of one of these.

    ``low`` and ``high`` stay within the scores that were seen, since no best of them can lie beyond.
    """

    budget: int
    mean: float
    sd: float
    low: float
    high: float


def best_of(scores: Sequence[float]) -> tuple[BestOf, ...]:
    """For each budget up to their number, the best of so many settings drawn at random from those tried.

    Draws are with replacement, so the chance that the best of k is at most the i-th of n ordered scores is (i / n)^k
    (Dodge et al. 2019, arXiv:1909.03004).

    Args:
        scores: finite, one a setting, in any order.
    """
    ordered, n = sorted(scores), len(scores)
    found = []
    for budget in range(1, n + 1):
        chances = [((i + 1) / n) ** budget - (i / n) ** budget for i in range(n)]
        mean = sum(chance * value for chance, value in zip(chances, ordered, strict=True))
        spread = sum(chance * (value - mean) ** 2 for chance, value in zip(chances, ordered, strict=True)) ** 0.5
        low, high = max(ordered[0], mean - spread), min(ordered[-1], mean + spread)
        found.append(BestOf(budget=budget, mean=mean, sd=spread, low=low, high=high))
    return tuple(found)


def floored(scores: Iterable[float], metric: str, seen: Iterable[float]) -> list[float]:
    """Scores in which the worst has a number: accuracy 0, or the highest loss among all that were ``seen``."""
    finished = [value for value in seen if value != WORST]
    floor = 0.0 if metric.endswith("accuracy") else min(finished, default=0.0)
    return [floor if value == WORST else value for value in scores]
