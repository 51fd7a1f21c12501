"""What comes of a call of ``run_campaign``, and how it can end early."""

from __future__ import annotations

from dataclasses import dataclass, field

from ablate.campaign.costs import ArmCosts
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.errors import AblateError


class CampaignStopped(AblateError):  # noqa: N818 - an end, not a mistake
    """The campaign could not go on; what is finished stays, and the same command goes on from there."""

    resumable = True


class CampaignInterrupted(CampaignStopped):
    """Ctrl-C. ``result`` is what there is so far."""

    def __init__(self, result: CampaignResult) -> None:
        self.result = result
        done, needed = len(result.records), len(result.needed)
        super().__init__(f"interrupted; {done} of {needed} trials are finished and kept")


@dataclass(frozen=True, kw_only=True)
class CampaignResult:
    """What came of a campaign.

    Attributes:
        needed: keys of the trials that the campaign needs; under ``until = "settled"``, as far as it has come.
        records: trial key -> Record, failures included.
        costs: arm -> cost field -> number; empty where nothing was ever trained here and MLflow has none.
        trained: how many trials this call ran.
        waiting: how many records MLflow does not have yet; they go there at the next call.
        unread: keys of trials that are done, but whose records only an unreachable MLflow holds.
    """

    plan: CampaignPlan
    needed: tuple[str, ...]
    records: dict[str, Record]
    costs: ArmCosts = field(default_factory=dict)
    trained: int = 0
    waiting: int = 0
    unread: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Record, ...]:
        """The failures among the records."""
        return tuple(record for record in self.records.values() if record.status == "failed")

    @property
    def missing(self) -> tuple[str, ...]:
        """Keys of needed trials without an outcome: failed, or not run."""
        done = {key for key, record in self.records.items() if record.status != "failed"}
        return tuple(key for key in self.needed if key not in done and key not in self.unread)
