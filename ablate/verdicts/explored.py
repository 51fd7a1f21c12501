"""What a search found: the score and cost of each candidate, those to confirm, and how much of their lead was luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from ablate.design.arm_cost import estimated_cost
from ablate.design.datasets import DataInfo
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.design.search import COST_METRICS, Candidate, confirmed_names, full_epochs
from ablate.design.study import Study
from ablate.design.tuning import tuned_by
from ablate.verdicts.search import WORST, is_scored, score


def cost_of(study: Study, data: DataInfo, candidate: Candidate, records: Mapping[str, Record]) -> float | None:
    """What a candidate costs: MACs or parameters by arithmetic, or the mean of the latencies (ms) in its records.

    Of training of the user's own the mean of what it returned under the cost's name. None where a latency has not been
    measured, where nothing was returned, and for the MACs and parameters of an imported net.
    """
    kind = study.search.cost
    if study.own_training:
        last = [records[trial.key].metrics for trial in candidate.rungs[-1].trials if trial.key in records]
        returned = [metrics[COST_METRICS[kind]] for metrics in last if COST_METRICS[kind] in metrics]
        return fmean(returned) if returned and all(map(isfinite, returned)) else None
    if kind == "latency":
        measured = [records[trial.key].measured.latency_ms for trial in candidate.trials if trial.key in records]
        known = [latency for latency in measured if latency is not None]
        return fmean(known) if known else None
    counted = estimated_cost(candidate.arm, data)
    return None if counted is None else float(counted.macs if kind == "macs" else counted.params)


def final_score(study: Study, candidate: Candidate, records: Mapping[str, Record]) -> float | None:
    """The score of a candidate that was trained with all its epochs; None for one that was stopped before, or waits."""
    last = candidate.rungs[-1]
    whole = last.epochs == full_epochs(study) or study.search.pruner == "none"
    return score(last, records, study.decision) if whole and is_scored(last, records) else None


def chosen(
    study: Study, data: DataInfo, candidates: Sequence[Candidate], records: Mapping[str, Record]
) -> tuple[Candidate, ...]:
    """The candidates to confirm, the highest score first: the best ``search.confirm``, with nsga2 of the Pareto front.

    The control is not among them, nor one that has not finished. Of a larger front, members at equal distances in the
    order of their scores are taken, the first and the last among them.
    """
    ranked = _ranked(study, candidates, records)
    control, k = candidates[0].arm.setup, study.search.confirm
    if study.search.sampler != "nsga2":
        return tuple(one for one, _ in ranked if one.arm.setup != control)[:k]
    costs = [cost_of(study, data, one, records) for one, _ in ranked]
    known = [(one, value, cost) for (one, value), cost in zip(ranked, costs, strict=True) if cost is not None]
    on_front = pareto([(value, cost) for _, value, cost in known])
    members = [known[place][0] for place in on_front if known[place][0].arm.setup != control]
    if len(members) <= k:
        return tuple(members)
    places = [round(place * (len(members) - 1) / max(1, k - 1)) for place in range(k)]
    return tuple(members[place] for place in places)


def _ranked(
    study: Study, candidates: Sequence[Candidate], records: Mapping[str, Record]
) -> list[tuple[Candidate, float]]:
    """The candidates with a final score that is a number, the highest first; each setup once."""
    scored = [(one, final_score(study, one, records)) for one in candidates]
    finished = [(one, value) for one, value in scored if value is not None and value != WORST]
    ranked = sorted(finished, key=lambda pair: (-pair[1], pair[0].number))
    first = {one.arm.setup: one.number for one, _ in reversed(ranked)}
    return [(one, value) for one, value in ranked if first[one.arm.setup] == one.number]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the points that no other dominates, by falling score.

    Args:
        points: score (higher is better) and cost (lower is better) of each.

    >>> pareto([(0.9, 5.0), (0.8, 3.0), (0.85, 6.0), (0.7, 3.0)])
    [0, 1]
    """
    order = sorted(range(len(points)), key=lambda place: (-points[place][0], points[place][1], place))
    found: list[int] = []
    for place in order:
        if not found or points[place][1] < points[found[-1]][1]:
            found.append(place)
    return found


@dataclass(frozen=True, kw_only=True)
class Luck:
    """A confirmed candidate's lead over the control on the validation images, in the search and with fresh seeds.

    Attributes:
        arm: its name as an arm.
        candidate: its number in the search.
        search_value, confirmed_value: the metric's mean, over the search seeds and over the confirming ones.
        search_lead, confirmed_lead: the same minus the control's, turned so that more is better.
    """

    arm: str
    candidate: int
    search_value: float
    confirmed_value: float
    search_lead: float
    confirmed_lead: float

    @property
    def luck(self) -> float:
        """The part of the search's lead that fresh seeds do not show; below 0 where they show more."""
        return self.search_lead - self.confirmed_lead


def lucks(plan: CampaignPlan, records: Mapping[str, Record]) -> tuple[Luck, ...]:
    """One for each confirmed arm with confirming seeds that the control has too; empty where nothing was searched."""
    if not plan.search or plan.to_find:
        return ()
    sign = 1 if plan.study.decision.wants_high else -1
    base = final_score(plan.study, plan.search[0], records)
    control = _by_seed(plan, plan.control.name, records)
    found = []
    for name, candidate in confirmed_candidates(plan, records).items():
        own, value = _by_seed(plan, name, records), final_score(plan.study, candidate, records)
        shared = [seed for seed in own if seed in control]
        if value is None or base in (None, WORST) or not shared:
            continue
        mean = fmean(own[seed] for seed in shared)
        found.append(
            Luck(
                arm=name,
                candidate=candidate.number,
                search_value=sign * value,
                confirmed_value=mean,
                search_lead=value - (base or 0.0),
                confirmed_lead=sign * (mean - fmean(control[seed] for seed in shared)),
            )
        )
    return tuple(found)


def confirmed_candidates(plan: CampaignPlan, records: Mapping[str, Record]) -> dict[str, Candidate]:
    """Each confirmed arm's name and candidate; empty while the search is not over."""
    if not plan.search or plan.to_find:
        return {}
    picked = chosen(plan.study, plan.data, plan.search, records)
    return dict(zip(confirmed_names(plan.study), picked, strict=False))


def _by_seed(plan: CampaignPlan, arm: str, records: Mapping[str, Record]) -> dict[int, float]:
    name = tuned_by(plan.study.decision.metric)
    done = {trial.seed: records[trial.key] for trial in plan.arm_trials(arm) if trial.key in records}
    return {
        seed: record.metrics[name]
        for seed, record in done.items()
        if record.status == "finished" and name in record.metrics
    }
