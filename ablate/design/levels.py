"""``[stability]``: the same arms again at other levels of one field of net, recipe or data.

Each further level is a study of its own, the study as it is with that field moved. Its trials have keys of their own,
and those at the study's own level are the trials that its verdicts rest on.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from ablate.design.arms import Arm, Images, Setup, not_a_field, outside
from ablate.design.imported import Imported
from ablate.design.own_block import residual_of, unread_by_block
from ablate.design.study import DataSpec, Level, Plan, Recipe, Study
from ablate.design.tuning_fields import Tuning
from ablate.design.unmatched import unmatched_arms
from ablate.design.unread import unread
from ablate.design.validation import FieldError, FieldsError, field_errors
from ablate.errors import one_of
from ablate.model.spec import CHANGEABLE

DATA_SETS = "data.name"  # the field whose levels are data sets
MAX_LEVELS = 20
_PARTS: dict[str, type[BaseModel]] = {"recipe": Recipe, "data": DataSpec}


def moved_field(study: Study) -> str:
    """The field whose levels are asked for; empty where the study asks for none."""
    return next(iter(study.stability), "")


def own_level(study: Study, control: Setup) -> Level:
    """The study's own level of that field: where its verdicts are made."""
    name = moved_field(study)
    table, of_table = outside(name)
    if table:
        return getattr(study.recipe if table == "recipe" else study.data, of_table)  # type: ignore[no-any-return]
    if name in study.control:
        return study.control[name]
    spec = control.spec
    if isinstance(spec, Imported) or hasattr(spec, name):
        return getattr(spec, name)  # type: ignore[no-any-return]
    found = list(dict.fromkeys(getattr(stage.block, name) for stage in spec.stages))
    return found[0] if len(found) == 1 else " ".join(map(str, found))


def all_levels(study: Study, control: Setup) -> tuple[Level, ...]:
    """The levels asked for and the study's own: numbers ascending, others as they are written, the own one first."""
    own = own_level(study, control)
    asked = study.stability[moved_field(study)]
    found = asked if own in asked else (own, *asked)
    if all(isinstance(level, int | float) and not isinstance(level, bool) for level in found):
        return tuple(sorted(found, key=float))
    return found


def other_levels(study: Study, control: Setup) -> tuple[Level, ...]:
    """All levels but the study's own; none where the study asks for none."""
    if not study.stability:
        return ()
    own = own_level(study, control)
    return tuple(level for level in all_levels(study, control) if level != own)


def study_at(study: Study, level: Level) -> Study:
    """The study as it is at another level: as many seeds as at its first look, no noise floor, nothing tuned again.

    Raises:
        FieldsError: the field may not have that level.
    """
    name = moved_field(study)
    table, of_table = outside(name)
    plain: dict[str, object] = {
        "stability": {},
        "noise_floor": False,
        "tuning": Tuning(),
        "expect": {},
        "plan": Plan(seeds=study.plan.seeds, first_seed=study.plan.first_seed),
    }
    try:
        if table:
            part = getattr(study, table)
            plain[table] = type(part).model_validate({**part.model_dump(), of_table: level})
        else:
            plain["control"] = {**study.control, name: level}
    except ValidationError as error:
        raise FieldsError(field_errors(error, (table,))) from error
    return study.model_copy(update=plain)


def stability_errors(study: Study, arms: Sequence[Arm], images: Images) -> list[FieldError]:
    """What is wrong with ``[stability]``, for the study's arms; of every level where its arms cannot be made."""
    if not study.stability:
        return []
    name = moved_field(study)
    key = f"stability.{name}"
    if len(study.stability) > 1:
        message = f"must hold one field, whose levels are compared; got {', '.join(study.stability)}"
        return [FieldError("stability", message)]
    if message := _not_movable(study, arms, name):
        return [FieldError(key, message)]
    levels = study.stability[name]
    if len(set(levels)) < len(levels):
        return [FieldError(key, f"must hold every level once, got {list(levels)!r}")]
    if len(levels) > MAX_LEVELS:
        return [FieldError(key, f"must hold at most {MAX_LEVELS} levels, got {len(levels)}")]
    others = other_levels(study, arms[0])
    if not others:
        return [FieldError(key, f"must hold a level besides the study's own, got {list(levels)!r}")]
    return [error for level in others for error in _errors_at(study, level, key, images)]


def _not_movable(study: Study, arms: Sequence[Arm], name: str) -> str:
    """Why the levels of this field cannot be compared; empty if they can."""
    table, of_table = outside(name)
    if table and of_table not in _PARTS[table].model_fields:
        return one_of(of_table, _PARTS[table].model_fields)
    if table and study.own_training:
        return "is read by this package's own training only; name a field of [control]"
    if isinstance(arms[0].spec, Imported):
        if not table and name not in study.control:
            return f"needs the control's own level: set control.{name} to one of them"
    elif not table and name not in ("net", *CHANGEABLE):
        return not_a_field(name)
    if table == "recipe" and (message := unread(study.recipe, of_table)):
        return message
    if not table and all(message := unread_by_block(residual_of(arm.spec), name) for arm in arms):
        return message
    if table == "recipe" and of_table in study.tuning.space:
        return "is tuned: every arm finds its own level of it"
    movers = [arm.name for arm in arms[1:] if any(change.field.split("[")[0] == name for change in arm.changes)]
    if name in study.factors:
        return "is a factor of the study: its levels are compared already"
    return f"is what {movers[0]} changes: it has to be alike in every arm" if movers else ""


def _errors_at(study: Study, level: Level, key: str, images: Images) -> list[FieldError]:
    from ablate.design.consistency import data_errors

    try:
        there = study_at(study, level)
        unmatched_arms(there, images)
    except FieldsError as error:
        found = list(error.errors)
    else:
        found = data_errors(there)
    return [FieldError(key, f"cannot be {level!r}: {one.key} {one.message}") for one in found]
