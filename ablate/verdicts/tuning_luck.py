"""How much a contrast of tuned arms depends on which settings the tuning happened to choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from ablate.design.arms import CONTROL, NOISE_FLOOR
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.design.tuning import ArmTuning
from ablate.verdicts.search import WORST, best, is_scored, score


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """An arm minus the control in the validation metric, by the tuning's own trials, at several settings.

    Attributes:
        arm: its name.
        own: each at its own best setting.
        at_control, at_arm: both at the control's best setting, and both at the arm's.
        low, mean, high: over all settings that both tried.
        settings: how many both tried. A difference whose sign is not the same in all of these depends on the tuning.
    """

    arm: str
    own: float
    at_control: float | None
    at_arm: float | None
    low: float
    mean: float
    high: float
    settings: int


def sensitivities(plan: CampaignPlan, records: Mapping[str, Record]) -> tuple[Sensitivity, ...]:
    """One row an arm whose tuning has finished and shares settings with the control's; empty where nothing is tuned.

    Empty too where each seed has a tuning of its own: the luck of the tuning is then in the intervals.

    Scores are of the tuning seeds on the validation images: they show how the contrast moves with the settings, and no
    verdict rests on them. Where a shared setting failed for either arm, it is left out.
    """
    if plan.study.tuning.blocks > 1:
        return ()
    tuned = {one.arm: _scores(plan, one, records) for one in plan.tuning if one.arm != NOISE_FLOOR}
    control = tuned.pop(CONTROL, {})
    found = [_sensitivity(name, scores, control, plan) for name, scores in tuned.items()]
    return tuple(one for one in found if one is not None)


Scores = dict[tuple[tuple[str, float], ...], float]


def _scores(plan: CampaignPlan, tuning: ArmTuning, records: Mapping[str, Record]) -> Scores:
    """Setting -> score, the mean over the tuning seeds; empty until each setting is scored."""
    if not all(is_scored(setting, records) for setting in tuning.settings):
        return {}
    scores = {tuple(sorted(one.values.items())): score(one, records, plan.study.decision) for one in tuning.settings}
    return {setting: value for setting, value in scores.items() if value != WORST}


def _sensitivity(name: str, arm: Scores, control: Scores, plan: CampaignPlan) -> Sensitivity | None:
    shared = [setting for setting in arm if setting in control]
    if not shared:
        return None
    sign = 1 if plan.study.decision.wants_high else -1
    own, base = (list(scores)[best(list(scores.values()))] for scores in (arm, control))
    differences = {setting: sign * (arm[setting] - control[setting]) for setting in shared}
    return Sensitivity(
        arm=name,
        own=sign * (arm[own] - control[base]),
        at_control=differences.get(base),
        at_arm=differences.get(own),
        low=min(differences.values()),
        mean=fmean(differences.values()),
        high=max(differences.values()),
        settings=len(shared),
    )
