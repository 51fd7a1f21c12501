"""The fields of `[decision]` in a study file and their defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ablate.design.noun import HIGHER_IS_BETTER, Line, Metric, Noun

SMALLEST_ALPHA = 1e-6  # no test here resolves less, and 1 - alpha rounds to 1 far below it


class CoPrimary(Noun):
    """A metric that verdicts are given in beside the deciding one, with a margin of its own."""

    margin: float = Field(gt=0, description="smallest difference that matters, in that metric's unit")
    higher_is_better: bool | None = Field(default=None, description="the direction of a metric of your own training")
    unit: Line = Field(default="", description="of such a metric; not written: none")


class Decision(Noun):
    """The rule that turns contrasts into verdicts, fixed before the runs.

    ``margin`` is the smallest difference that matters, in the metric's own unit (accuracy: from 0 to 1);
    ``co_primary`` names further metrics that get verdicts, in one family with the deciding metric's;
    ``also`` lists further metrics that are reported as exploratory. ``ask = "no_worse"`` replaces the question whether
    an arm is equivalent by the one-sided question whether it is worse by less than the margin.
    """

    metric: Metric = Field(default="test_accuracy", description="the one that verdicts rest on")
    higher_is_better: bool | None = Field(default=None, description="the direction of a metric of your own training")
    unit: Line = Field(default="", description="of such a metric, as in 'bits per character'; not written: none")
    margin: float = Field(
        default=0.005, gt=0, le=1e100, description="smallest difference that matters, in the metric's unit"
    )
    alpha: float = Field(
        default=0.05, ge=SMALLEST_ALPHA, lt=0.5, description="error rate over all contrasts of the study"
    )
    also: tuple[Metric, ...] = Field(default=(), strict=False, description="further metrics, exploratory")
    co_primary: dict[Metric, CoPrimary] = Field(
        default_factory=dict,
        description="[decision.co_primary.METRIC]: a further metric that gets verdicts; alpha is shared with it",
    )
    ask: Literal["equivalent", "no_worse"] = Field(
        default="equivalent",
        description="what is shown where no difference is: no_worse is one-sided, and needs fewer seeds",
    )

    @property
    def wants_high(self) -> bool:
        """The metric's direction: as declared, else as known of the metrics of our own training."""
        return HIGHER_IS_BETTER.get(self.metric, True) if self.higher_is_better is None else self.higher_is_better

    def wants_high_of(self, co_primary: str) -> bool:
        """The direction of a co-primary metric, likewise."""
        declared = self.co_primary[co_primary].higher_is_better
        return HIGHER_IS_BETTER.get(co_primary, True) if declared is None else declared

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that get verdicts, the deciding one first."""
        return (self.metric, *self.co_primary)
