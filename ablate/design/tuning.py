"""Tuning as a study asks for it: the settings of an arm's recipe that are tried, each a few ordinary trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from ablate.design.arms import CONTROL, NOISE_FLOOR, Arm, moved_outside
from ablate.design.noun import Range
from ablate.design.own_training import OwnTraining
from ablate.design.study import Recipe, Study
from ablate.design.trial import Trial
from ablate.design.unread import unread
from ablate.design.validation import FieldError
from ablate.errors import one_of

NOISE_FLOOR_SEEDS = 1_000_000  # how far the A/A arm's seeds lie from the control's
TUNING_SEEDS = 2_000_000  # how far the tuning seeds lie from the confirming ones; the A/A arm's lie between them
EDGE = 0.05  # of the range: a best setting nearer to its end may have a better one beyond
# The fields of a recipe that can be tuned.
TUNABLE = (
    "lr", "weight_decay", "label_smoothing", "ema", "warmup_epochs", "crop_padding",
    "rand_augment", "random_erasing", "mixup", "cutmix", "grad_clip", "bn_momentum",
    "momentum", "rms_decay", "beta1", "beta2", "step_epochs", "step_factor",
)  # fmt: skip
WHOLE = ("crop_padding", "rand_augment")
Values = Mapping[str, float]  # field of the recipe -> its value in one setting


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One point of the space, and the trials that score it: one for each tuning seed."""

    values: Values
    trials: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True)
class ArmTuning:
    """The settings of one arm in the order in which they were asked for; the first is the recipe as written.

    ``block`` numbers the tunings of an arm that tunes several times.
    """

    arm: str
    settings: tuple[Setting, ...]
    block: int = 0


def tuned_recipe(recipe: Recipe, values: Values) -> Recipe:
    """The recipe with the values of a setting."""
    whole = {name: int(value) if name in WHOLE else value for name, value in values.items()}
    return Recipe.model_validate(recipe.model_dump() | whole)


def tuned_by(metric: str) -> str:
    """``val_accuracy`` for ``test_accuracy``: what settings are chosen by, since the test images are not for that."""
    return f"val_{metric.removeprefix('test_')}" if metric.startswith("test_") else metric


def at_setting(arm: Arm, values: Values) -> Arm:
    """The arm with the values of a setting: in its recipe, or in the fields of training of the user's own."""
    if isinstance(arm.spec, OwnTraining):
        return replace(arm, spec=arm.spec.with_changes(values))
    return replace(arm, recipe=tuned_recipe(arm.recipe, values))


def written_recipe(study: Study, arm: Arm) -> Recipe:
    """An arm's recipe as it was before its tuning: the study's with the arm's changes."""
    moved = {change.field: change.after for change in arm.changes}
    return moved_outside(study.recipe, study.data, moved, "arms", read=False)[0]


def own_values(study: Study, arm: Arm) -> dict[str, float]:
    """The setting that an arm's recipe is as written."""
    if study.own_training:
        fields = study.control | {change.field: change.after for change in arm.changes}
        return {name: fields[name] for name in study.tuning.space}
    recipe = written_recipe(study, arm)
    return {name: getattr(recipe, name) for name in study.tuning.space}


def place(value: float, span: Range) -> float:
    """Where a value lies in its range, from 0 to 1, in the scale that it is drawn in."""
    if span.log:
        return math.log(value / span.low) / math.log(span.high / span.low)
    return (value - span.low) / (span.high - span.low)


def at_edge(study: Study, values: Values) -> tuple[str, ...]:
    """The fields whose value lies within ``EDGE`` of an end of its range.

    An end beyond which the recipe allows nothing (no weight decay at all) is none.
    """
    found = []
    for name, span in study.tuning.space.items():
        share = place(values[name], span)
        low, high = (
            (share <= EDGE and _goes_on(study, name, span, -1)),
            (share >= 1 - EDGE and _goes_on(study, name, span, 1)),
        )
        if low or high:
            found.append(name)
    return tuple(found)


def _goes_on(study: Study, name: str, span: Range, way: int) -> bool:
    if study.own_training:  # what its fields may be is not known
        return True
    end = span.high if way > 0 else span.low
    step = 1.0 if name in WHOLE else 1e-9 * max(abs(end), 1e-3)
    return not _refused(study.recipe, name, end + way * step)


def tuning_errors(study: Study, arms: Sequence[Arm] = ()) -> list[FieldError]:
    """What is wrong with ``[tuning]`` beside the types of its keys, for the study's recipe and those of its arms."""
    tuning = study.tuning
    if tuning.trials is None:
        if tuning == type(tuning)():
            return []
        return [FieldError("tuning.trials", "is missing: say how many settings of its recipe each arm may try")]
    if not tuning.space:
        message = "must hold at least one field of the recipe, as lr = { low = 1e-3, high = 1e-1 }"
        return [FieldError("tuning.space", message)]
    if message := _blocks_error(study):
        return [FieldError("tuning.blocks", message)]
    if study.own_training:
        return [error for name, span in tuning.space.items() if (error := _own_range_error(study, arms, name, span))]
    recipes = {study.recipe: "", **{arm.recipe: f" (in arm {arm.name})" for arm in arms if arm.recipe != study.recipe}}
    errors: dict[str, FieldError] = {}
    for name, span in tuning.space.items():
        for recipe, whose in recipes.items():
            if error := _range_error(recipe, name, span):
                errors.setdefault(name, FieldError(error.key, error.message + whose))
    return list(errors.values())


def _blocks_error(study: Study) -> str:
    blocks, plan = study.tuning.blocks, study.plan
    if blocks == 1:
        return ""
    if plan.until == "settled":
        return f'must be 1 with plan.until = "settled", got {blocks}'
    allowed = f"must be 1 or plan.seeds = {plan.seeds}, so that each seed confirms its own tuning"
    return "" if blocks == plan.seeds else f"{allowed}; got {blocks}"


def is_whole(study: Study, name: str) -> bool:
    """Whether only whole numbers are tried; with the user's own training code, if ``[control]`` has one."""
    return isinstance(study.control[name], int) if study.own_training else name in WHOLE


def _own_range_error(study: Study, arms: Sequence[Arm], name: str, span: Range) -> FieldError | None:
    key = f"tuning.space.{name}"
    numbers = [name for name, value in study.control.items() if type(value) in (int, float)]
    if name not in numbers:
        return FieldError(key, one_of(name, numbers))
    if error := _span_error(key, span):
        return error
    for end in ("low", "high"):
        if is_whole(study, name) and (getattr(span, end) % 1 or span.log):
            message = f"must be a whole number, without log, as control.{name} is, got {getattr(span, end):g}"
            return FieldError(f"{key}.{end}", message)
    for arm in arms:
        own = own_values(study, arm)[name]
        if not isinstance(own, int | float) or not span.low <= own <= span.high:
            held = f"must hold {name} = {own!r} of {arm.name}, which is tried first, got {span.low:g} to {span.high:g}"
            return FieldError(key, held)
    return None


def _span_error(key: str, span: Range) -> FieldError | None:
    if span.low >= span.high:
        return FieldError(f"{key}.low", f"must be below high = {span.high:g}, got {span.low:g}")
    if span.log and span.low <= 0:
        return FieldError(f"{key}.low", f"must be above 0 where log = true, got {span.low:g}")
    return None


def _range_error(recipe: Recipe, name: str, span: Range) -> FieldError | None:
    key = f"tuning.space.{name}"
    if name in ("epochs", "batch_size"):
        return FieldError(key, "is not tuned: it decides what training costs, which has to be alike for every setting")
    if name not in TUNABLE:
        return FieldError(key, one_of(name, TUNABLE))
    if message := unread(recipe, name):
        return FieldError(key, message)
    if error := _span_error(key, span):
        return error
    for end in ("low", "high"):
        value = getattr(span, end)
        if name in WHOLE and (value % 1 or span.log):
            return FieldError(f"{key}.{end}", f"must be a whole number, without log, got {value:g}")
        if message := _refused(recipe, name, value):
            return FieldError(f"{key}.{end}", message)
    own = getattr(recipe, name)
    if not span.low <= own <= span.high:
        written = f"which is tried first, got {span.low:g} to {span.high:g}"
        return FieldError(key, f"must hold recipe.{name} = {own:g}, {written}")
    return None


def _refused(recipe: Recipe, name: str, value: float) -> str:
    """Why the recipe may not have this value; empty if it may."""
    try:
        tuned_recipe(recipe, {name: value})
    except ValidationError as error:
        told = error.errors()[0]["msg"].replace("Input should be", "must be")
        told = told.removeprefix("Value error, ").removeprefix(f"{name} ")
        return told if ", got" in told else f"{told}, got {value:g}"
    return ""


def tuning_seeds(study: Study, arm: str = CONTROL, block: int = 0) -> tuple[int, ...]:
    """The seeds that settings are scored with; no confirming trial has any of them.

    They are the same for every arm but the A/A arm, whose tuning is to be as far from the control's as its seeds are.
    Each block has seeds of its own.
    """
    first = study.plan.first_seed + TUNING_SEEDS + block * study.tuning.seeds
    first += NOISE_FLOOR_SEEDS if arm == NOISE_FLOOR else 0
    return tuple(range(first, first + study.tuning.seeds))
