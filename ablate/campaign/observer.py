"""Who is told how a campaign goes."""

from __future__ import annotations

from typing import Protocol

from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import EpochPoint, Record


class Observer(Protocol):
    """Is told how a campaign goes, from the dispatcher's thread; ``said`` from the ledger's too."""

    def began(self, plan: CampaignPlan, todo: int) -> None:
        """``todo`` trials are missing and are going to be run."""

    def added(self, trials: int) -> None:
        """So many more are going to be run than was said when it began."""

    def started(self, trial: Trial, attempt: int) -> None:
        """A trial runs; ``attempt`` is 1 for the first."""

    def progress(self, trial: Trial, point: EpochPoint, images_per_s: float) -> None:
        """An epoch has ended."""

    def finished(self, trial: Trial, record: Record) -> None:
        """A trial has finished or diverged."""

    def failed(self, trial: Trial, record: Record) -> None:
        """A trial has failed for good; the record says why."""

    def retried(self, trial: Trial, reason: str) -> None:
        """An attempt was lost; another follows."""

    def said(self, message: str) -> None:
        """Something that the user should read: a sentence."""


class Silent:
    """An Observer that tells nobody."""

    def began(self, plan: CampaignPlan, todo: int) -> None: ...
    def added(self, trials: int) -> None: ...
    def started(self, trial: Trial, attempt: int) -> None: ...
    def progress(self, trial: Trial, point: EpochPoint, images_per_s: float) -> None: ...
    def finished(self, trial: Trial, record: Record) -> None: ...
    def failed(self, trial: Trial, record: Record) -> None: ...
    def retried(self, trial: Trial, reason: str) -> None: ...
    def said(self, message: str) -> None: ...
