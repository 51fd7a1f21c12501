"""Results: a campaign's plan, costs, records and judgement together; every table, figure and page starts from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.design.plan import CONTROL, NOISE_FLOOR, Arm, Trial
from ablate.reporting.style import Unit, colours, unit

if TYPE_CHECKING:
    from ablate.campaign.result import CampaignResult
    from ablate.design.plan import CampaignPlan
    from ablate.design.record import Record
    from ablate.verdicts.verdict import Judgement

Costs = Mapping[str, Mapping[str, float | int | None]]


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a campaign found.

    Attributes:
        plan: study, data, arms and trials as they were planned.
        costs: arm -> cost field -> number; an arm or a field may be missing.
        records: trial key -> Record; two arms that are the same net share their records.
        judgement: the verdicts.
        needed: keys of the trials that the verdicts need; None: all of the plan.
        run_id, tracking_uri: where the campaign lies in MLflow; empty where it lies nowhere.
    """

    plan: CampaignPlan
    costs: Costs
    records: Mapping[str, Record]
    judgement: Judgement
    needed: frozenset[str] | None = None
    run_id: str = ""
    tracking_uri: str = ""

    @property
    def arms(self) -> tuple[str, ...]:
        """Names in the order of the plan: the control first, the noise floor last."""
        names = [arm.name for arm in self.plan.arms]
        return tuple(sorted(names, key=lambda name: (name != CONTROL, name == NOISE_FLOOR)))

    @property
    def compared(self) -> tuple[str, ...]:
        """The arms that have a verdict, the noise floor last."""
        judged = [verdict.arm for verdict in self.judgement.verdicts]
        return (*judged, NOISE_FLOOR) if self.judgement.noise_floor is not None else tuple(judged)

    @property
    def unit(self) -> Unit:
        """How the primary metric is printed."""
        return unit(self.judgement.metric)

    @property
    def palette(self) -> dict[str, str]:
        """A colour an arm, the same in every figure."""
        return colours(self.arms, CONTROL, NOISE_FLOOR)

    def arm(self, name: str) -> Arm:
        """The arm of that name.

        Raises:
            KeyError: the plan has no such arm.
        """
        for arm in self.plan.arms:
            if arm.name == name:
                return arm
        raise KeyError(name)

    def outcomes(self) -> list[tuple[Trial, Record | None]]:
        """Every trial that is needed with its record, None where it is missing.

        Seeds that a study which settled early never came to are not among them.
        """
        trials = [trial for trial in self.plan.trials if self.needed is None or trial.key in self.needed]
        return [(trial, self.records.get(trial.key)) for trial in trials]

    def cost(self, arm: str, name: str) -> float | None:
        """One cost of an arm, None where it is not known."""
        return self.costs.get(arm, {}).get(name)


def results_of(result: CampaignResult, tracking_uri: str) -> Results:
    """The results of a campaign that was just carried out; MLflow need not answer."""
    from ablate.verdicts.judge import judge

    return Results(
        plan=result.plan,
        costs=result.costs,
        records=result.records,
        judgement=judge(result.plan, result.records),
        needed=frozenset(result.needed),
        tracking_uri=tracking_uri,
    )


def load_results(study_name: str, *, runs: Path, tracking_uri: str | None = None, digest: str | None = None) -> Results:
    """Reads a campaign back from MLflow and judges it again; neither the study file nor torch is needed.

    Args:
        study_name: the study's name.
        runs: the runs folder, for the default store.
        tracking_uri: the MLflow store; None: sqlite in ``runs``.
        digest: which campaign; None: the newest.

    Raises:
        AblateError: there is no such campaign, or the store cannot be read.
    """
    from ablate.campaign.agenda import Confirming
    from ablate.campaign.tracking import Tracking
    from ablate.paths import tracking_uri as resolve
    from ablate.verdicts.judge import judge

    uri = resolve(runs, tracking_uri)
    campaign = Tracking(uri, runs / "artifacts").load_campaign(study_name, digest)
    return Results(
        plan=campaign.plan,
        costs=campaign.costs,
        records=campaign.records,
        judgement=judge(campaign.plan, campaign.records),
        needed=frozenset(trial.key for trial in Confirming(campaign.plan).trials(campaign.records)),
        run_id=campaign.run_id,
        tracking_uri=uri,
    )
