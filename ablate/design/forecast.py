"""How long a campaign will take: an estimate by arithmetic, replaced arm by arm by what was measured."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ablate.design.arms import CONTROL, Images, Setup
from ablate.design.datasets import KNOWN, DataInfo, own_data
from ablate.design.levels import other_levels, study_at
from ablate.design.own_block import is_ours
from ablate.design.own_training import OwnTraining
from ablate.design.plan import NOISE_FLOOR, AtLevel, CampaignPlan
from ablate.design.search import full_epochs, num_search_trials, search_trials
from ablate.design.study import Study
from ablate.design.unmatched import unmatched_arms
from ablate.design.validation import FieldsError
from ablate.model.layers import layers
from ablate.model.spec import NetSpec

# Seconds of one core for a training image, fitted by benchmarks/forecast_fit.py to seven nets (MobileNetV2 at several
# sizes, its full and classic variants, MobileNetV1 0.25) at batch 64 on one thread of an AVX2 machine, each met within
# 16 %: dense convolutions are bound by arithmetic, depthwise ones and batch norm by reading and writing.
MAC_S = 9.3e-11
ELEMENT_S = 4.4e-10
START_S = 0.5  # of a trial beside its images: net, optimiser, checkpoints, and a share of the worker's start
EVALUATED = 1 / 3  # of what a training image costs: forward, without the two gradients


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a study will take.

    Attributes:
        arms, trials: how many, tuning and search included; under ``until = "settled"`` the trials at most.
        tuning: how many of the trials tune or search.
        minutes: from the first trial's start to the last one's end, nothing cached; None where the speed of an arm's
            net is not known, because it would have to be imported.
        measured: how many of the arms the time of was measured rather than estimated.
    """

    arms: int
    trials: int
    minutes: float | None
    tuning: int = 0
    measured: int = 0


def forecast(plan: CampaignPlan, *, jobs: int = 1, images_per_s: Mapping[str, float] | None = None) -> Forecast:
    """The time of every trial of a plan.

    Args:
        plan: the campaign.
        jobs: trials at a time, a core each.
        images_per_s: training images a second of one trial, for the arms that records exist of; of training of the
            user's own the trials a second.
    """
    known = {arm: rate for arm, rate in (images_per_s or {}).items() if rate > 0}
    seconds = 0.0
    for arm in plan.arms:
        rate = known.get(arm.name) or _rate(arm, plan.data)
        seconds += _seconds(rate, arm, plan.data) * len(plan.arm_trials(arm.name))
        seconds += _seconds(rate, arm, plan.data, test=False) * tuning_trials(plan.study)
    rate = known.get(CONTROL) or _rate(plan.control, plan.data)
    searched, found = _unknown_arms(plan.study, plan.control, rate, plan.data, plan.to_find)
    seconds += found
    tuning = exploring_trials(plan.study, len(plan.arms))
    further = [
        forecast(at.plan, jobs=jobs, images_per_s=images_per_s if _same_nets(at, plan) else {}) for at in plan.levels
    ]
    return Forecast(
        arms=len(plan.arms) + plan.to_find,
        trials=len(plan.trials) + searched + tuning + sum(one.trials for one in further),
        minutes=_minutes(seconds, jobs, further),
        tuning=tuning,
        measured=sum(arm.name in known for arm in plan.arms),
    )


def _same_nets(at: AtLevel, plan: CampaignPlan) -> bool:
    """Whether the arms at another level train as many images a second as at the study's own."""
    return at.plan.data == plan.data and [arm.spec for arm in at.plan.arms] == [
        arm.spec for arm in plan.arms if arm.name != NOISE_FLOOR
    ]


def tuning_trials(study: Study) -> int:
    """How many trials tune each arm."""
    return (study.tuning.trials or 0) * study.tuning.seeds * study.tuning.blocks


def exploring_trials(study: Study, arms: int) -> int:
    """How many trials tune so many arms, or search."""
    return tuning_trials(study) * arms + num_search_trials(study)


def _unknown_arms(study: Study, control: Setup, rate: float, data: DataInfo, to_find: int) -> tuple[int, float]:
    """The trials of the arms that a search is still to find, and the seconds of these and of its own trials.

    The control's time stands for that of every candidate.
    """
    recipe, seconds = control.recipe, 0.0
    for epochs, count in search_trials(study):
        one = replace(control, recipe=recipe.model_copy(update={"epochs": epochs}))
        share = epochs / full_epochs(study) if study.own_training else 1.0
        seconds += count * share * _seconds(rate, one, data, test=False)
    trials = to_find * study.plan.most_seeds
    return trials, seconds + trials * _seconds(rate, control, data)


def rough_forecast(study: Study, *, jobs: int = 1) -> Forecast | None:
    """The same without solving widths and without reading data: an arm at equal cost takes the control's time.

    None where the data are a file of the user's own, or the arms cannot be made.
    """
    data = own_data(study) if study.own_training else KNOWN.get(study.data.name)
    if data is None:
        return None
    try:
        arms = unmatched_arms(study, Images(channels=data.channels, num_classes=data.num_classes))
    except FieldsError:
        return None
    own = [(arm, _rate(arm, data)) for arm in arms]
    rates = own
    if study.match != "none":
        control_rate = own[0][1]
        moved = [(arm, rate) for arm, rate in own if rate != control_rate]
        rates = [(arm, control_rate) for arm in arms] + (moved if study.unmatched else [])
    rates = rates + [rates[0]] * study.noise_floor
    tuning = exploring_trials(study, len(rates))
    seconds = sum(_seconds(rate, arm, data, test=False) for arm, rate in rates) * tuning_trials(study)
    to_find = study.search.confirm * study.searched
    searched, found = _unknown_arms(study, arms[0], own[0][1], data, to_find)
    seeds = study.plan.most_seeds
    seconds += sum(_seconds(rate, arm, data) for arm, rate in rates) * seeds
    further = [rough_forecast(study_at(study, level), jobs=jobs) for level in other_levels(study, arms[0])]
    known = [one for one in further if one is not None]
    if len(known) < len(further):
        return None
    return Forecast(
        arms=len(rates) + to_find,
        trials=len(rates) * seeds + tuning + searched + sum(one.trials for one in known),
        minutes=_minutes(seconds + found, jobs, known),
        tuning=tuning,
    )


def _minutes(seconds: float, jobs: int, further: Sequence[Forecast]) -> float | None:
    """Of these seconds and of the study's further levels."""
    total = seconds / jobs / 60 + sum(math.nan if one.minutes is None else one.minutes for one in further)
    return None if math.isnan(total) else total


def _rate(setup: Setup, data: DataInfo) -> float:
    """Nan of a net that would have to be imported."""
    return estimated_rate(setup.spec, data) if is_ours(setup.spec) else math.nan


@functools.lru_cache(maxsize=1024)
def estimated_rate(spec: NetSpec, data: DataInfo) -> float:
    """Training images a second on one core, from multiply-adds and from numbers read and written."""
    ops = layers(spec, data.height, data.width)
    seconds = sum(MAC_S * op.macs + ELEMENT_S * (op.in_elements + op.out_elements) for op in ops)
    return 1 / seconds


def _seconds(rate: float, setup: Setup, data: DataInfo, *, test: bool = True) -> float:
    """One trial: its training images, the validation after each epoch, the test once unless it tunes."""
    if isinstance(setup.spec, OwnTraining):
        return 1 / rate
    trained, held_back = data.split(setup.data)
    images = setup.recipe.epochs * (trained + EVALUATED * held_back) + EVALUATED * data.num_test * test
    return START_S + images / rate
