"""Results: a campaign's plan, costs, records and judgement together; every table, figure and page starts from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ablate import provenance
from ablate.design.plan import CONTROL, NOISE_FLOOR, Arm, Trial
from ablate.design.tuning import tuned_by
from ablate.reporting.style import Unit, colours, decimals, markers, unit

if TYPE_CHECKING:
    from ablate.design.plan import CampaignPlan
    from ablate.design.record import Record
    from ablate.design.sealed import SealedPlan
    from ablate.verdicts.judgement import Judgement

Costs = Mapping[str, Mapping[str, float | int | None]]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Results:
    """The results of a campaign.

    Attributes:
        plan: study, data, arms and trials as planned.
        costs: arm -> cost field -> number; an arm or a field may be missing.
        records: trial key -> Record; two arms that are the same net share their records.
        judgement: the verdicts.
        needed: keys of the trials that the verdicts need; None: all of the plan.
        rank_factors: returns Optuna's importance of each factor. A report calls it; it takes seconds.
    """

    plan: CampaignPlan
    costs: Costs
    records: Mapping[str, Record]
    judgement: Judgement
    needed: frozenset[str] | None = None
    rank_factors: Callable[[], Mapping[str, float]] = field(default=dict, compare=False)

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
        return self.unit_of(self.judgement.metric)

    def unit_of(self, metric: str, size: float | None = None) -> Unit:
        """How a metric is printed, with the decimals that the margin needs; the user's own is printed as declared.

        Args:
            metric: the primary one, or a further one.
            size: of a further one: a number whose digits it is to show.
        """
        decision = self.plan.study.decision
        if not self.plan.study.own_training:
            return unit(metric)
        if metric in (decision.metric, tuned_by(decision.metric)):
            return unit(metric, decision.unit, decimals(decision.margin))
        if found := decision.co_primary.get(metric):
            return unit(metric, found.unit, decimals(found.margin))
        return unit(metric, "", decimals(abs(size or 0.0)))

    @property
    def palette(self) -> dict[str, str]:
        """A colour an arm, the same in every figure."""
        return colours(self.arms, CONTROL, NOISE_FLOOR)

    @property
    def markers(self) -> dict[str, str]:
        """A marker an arm, the same in every figure, for readers and printers without colours."""
        return markers(self.arms, CONTROL, NOISE_FLOOR)

    @cached_property
    def digest(self) -> str:
        """16 hex digits over all that a report shows and the code that makes it; equal digests give equal reports."""
        sealed = self.judgement.registration
        parts = [self.plan.to_json(), repr(self.judgement), sealed.sentence if sealed else "", provenance.code()]
        parts += [f"{arm}: {sorted(costs.items())}" for arm, costs in sorted(self.costs.items())]
        parts += [f"{key}: {record.checksum}" for key, record in sorted(self.records.items())]
        parts.append("all" if self.needed is None else " ".join(sorted(self.needed)))
        whole = hashlib.sha256()
        for part in parts:
            whole.update(part.encode() + b"\0")
        return whole.hexdigest()[:16]

    def arm(self, name: str) -> Arm:
        """The arm of that name.

        Raises:
            KeyError: the plan has no such arm.
        """
        return self.plan.arm(name)

    def outcomes(self) -> list[tuple[Trial, Record | None]]:
        """Every trial that is needed with its record, None where it is missing.

        Seeds that an ``until = "settled"`` study never reached are not among them.
        """
        trials = [trial for trial in self.plan.trials if self.needed is None or trial.key in self.needed]
        return [(trial, self.records.get(trial.key)) for trial in trials]

    def trained(self) -> list[Record]:
        """The records of all trainings, those of tuning, search and further levels included."""
        plan = self.plan
        every = dict.fromkeys(one.key for one in (*plan.trials, *plan.exploring_trials, *plan.level_trials))
        return [self.records[key] for key in every if key in self.records]

    def knows(self, cost: str) -> bool:
        """Whether a cost of the control is known; the user's own training code may return it."""
        return self.cost(CONTROL, cost) is not None

    def cost(self, arm: str, name: str) -> float | None:
        """One cost of an arm, None where it is not known."""
        return self.costs.get(arm, {}).get(name)


def results_of(
    plan: CampaignPlan,
    costs: Costs,
    records: Mapping[str, Record],
    sealed: Sequence[SealedPlan] | None = None,
    replaced: Sequence[Record] = (),
    rank_factors: Callable[[], Mapping[str, float]] = dict,
) -> Results:
    """The results of a campaign, judged from its plan, costs and records alone.

    Args:
        plan: of the campaign; of one that tunes, with the arms' best recipes once these are known.
        costs: arm -> cost field -> number; what is missing is shown as unknown.
        records: trial key -> Record, failures included; records of other trials are ignored.
        sealed: the sealed plans of the runs folder; the judgement then says whether it follows one. None: it says
            nothing about that.
        replaced: records that were set aside on purpose, so that their trials were trained again.
        rank_factors: as of ``Results``.
    """
    from ablate.verdicts.judge import judge, wanted

    needed = None
    if plan.study.plan.until == "settled":
        reached = {trial.key for trial in plan.trials if trial.key in records}
        needed = frozenset(reached | {trial.key for trial in wanted(plan, records)})
    return Results(
        plan=plan,
        costs=costs,
        records=records,
        judgement=judge(plan, records, sealed, replaced),
        needed=needed,
        rank_factors=rank_factors,
    )
