"""Equal budgets: the width at which an arm costs what the control costs, solved on specs alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Match:
    """What came of matching one arm.

    Attributes:
        quantity: macs, params, train_flops or peak_memory.
        width_mult: the width solved for; the arm's own where nothing had to move.
        target, reached: the control's cost and the arm's at that width.
        identity: the arm cost the same beforehand, so its width was left alone.
    """

    quantity: str
    width_mult: float
    target: float
    reached: float
    identity: bool = False

    @property
    def remainder(self) -> float:
        """How far from the target, relative to it: 0.004 is 0.4 % above."""
        return self.reached / self.target - 1

    def __str__(self) -> str:
        if self.identity:
            return f"{self.quantity} equal to the control's as it stands"
        return f"{self.quantity} matched at width {self.width_mult:g}, remainder {self.remainder:+.2%}"
