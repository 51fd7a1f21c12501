"""A plan after what was found: the arms' best recipes after a tuning, the best candidates after a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ablate.design.arms import CONTROL, NOISE_FLOOR, Arm
from ablate.design.plan import CampaignPlan, trials
from ablate.design.search import Candidate, confirmed_arms
from ablate.design.tuning import ArmTuning, Values, at_setting


def with_settings(
    plan: CampaignPlan, best: Mapping[str, Sequence[Values]], tuning: tuple[ArmTuning, ...]
) -> CampaignPlan:
    """The plan after its tuning: each arm with its best setting, or with that of every seed.

    Args:
        plan: as made from the study.
        best: the best setting of each arm, one a block; an arm that only a further level has takes the control's.
        tuning: everything that was tried.
    """
    arms = tuple(_with_best(arm, best.get(arm.name, best[CONTROL])) for arm in plan.arms)
    levels = tuple(replace(at, plan=with_settings(at.plan, best, ())) for at in plan.levels)
    return replace(plan, arms=arms, trials=trials(plan.study, arms, plan.data), tuning=tuning, levels=levels)


def _with_best(arm: Arm, values: Sequence[Values]) -> Arm:
    if len(values) > 1:
        return replace(arm, settings=tuple(dict(one) for one in values))
    return replace(at_setting(arm, values[0]), setting=dict(values[0]))


def with_search(plan: CampaignPlan, chosen: Sequence[Candidate], tried: tuple[Candidate, ...]) -> CampaignPlan:
    """The plan after its search: the chosen candidates are its arms, between the control and the A/A arm.

    Args:
        plan: as made from the study.
        chosen: the candidates to confirm, the best first.
        tried: all of them.
    """
    found = confirmed_arms(plan.study, chosen)
    arms = (plan.control, *found, *(arm for arm in plan.arms if arm.name == NOISE_FLOOR))
    return replace(plan, arms=arms, trials=trials(plan.study, arms, plan.data), search=tried, to_find=0)
