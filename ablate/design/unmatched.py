"""Which arms a study has, before any width is matched: its design applied to its tables, and what contradicts it."""

from __future__ import annotations

from collections.abc import Callable

from ablate.design.arms import (
    CONTROL,
    Arm,
    Images,
    Setup,
    bad_fields,
    control_of,
    moved_outside,
    new_arm,
    one_change,
    outside,
)
from ablate.design.factors import factorial, fractional
from ablate.design.imported import is_path
from ablate.design.search import search_errors
from ablate.design.search_fields import Search
from ablate.design.space import space_of
from ablate.design.steps import add_one_in, leave_one_out
from ablate.design.study import DesignKind, Study
from ablate.design.tuning_fields import Tuning
from ablate.design.validation import FieldError, FieldsError
from ablate.model.zoo import mobilenet_v2


def search(study: Study, control: Setup, images: Images) -> list[Arm]:
    """No arm beside the control: the search decides which there are.

    Raises:
        FieldsError: a factor, a range or a budget that cannot be.
    """
    if not study.factors:
        return []  # which is said elsewhere
    axes = space_of(study, control)
    if errors := search_errors(study, control, images, axes):
        raise FieldsError(errors)
    return []


_MAKERS: dict[DesignKind, Callable[[Study, Setup, Images], list[Arm]]] = {
    "one_change": one_change,
    "factorial": factorial,
    "fractional": fractional,
    "add_one_in": add_one_in,
    "leave_one_out": leave_one_out,
    "search": search,
}
# What each design reads; anything else that is written would be ignored, so it is refused.
_READS: dict[DesignKind, tuple[str, ...]] = {
    "one_change": ("arms",),
    "factorial": ("factors",),
    "fractional": ("factors", "design.runs"),
    "add_one_in": ("design.to", "design.order"),
    "leave_one_out": ("design.to", "design.order"),
    "search": ("factors", "search"),
}


def unmatched_arms(study: Study, images: Images) -> tuple[Arm, ...]:
    """The control, then every arm in the study's order.

    Raises:
        FieldsError: everything that is wrong with the control, the arms, the factors and the design.
    """
    errors = _contradictions(study)
    arms: list[Arm] = []
    try:
        control = control_of(study, images)
    except FieldsError as error:
        errors += error.errors
        errors += [] if study.own_training else _fields_alone(study, images)
    else:
        try:
            arms = _MAKERS[study.design_kind](study, control, images)
        except FieldsError as error:
            errors += error.errors
        if not arms or arms[0].name != CONTROL:
            arms.insert(0, new_arm(CONTROL, control))
    if errors:
        raise FieldsError(errors)
    return tuple(arms)


def _contradictions(study: Study) -> list[FieldError]:
    design, kind = study.design, study.design_kind
    written = {
        "arms": bool(study.arms),
        "factors": bool(study.factors),
        "design.to": bool(design.to),
        "design.order": bool(design.order),
        "design.runs": design.runs is not None,
        "search": study.search != Search(),
    }
    if study.arms and study.factors:
        message = "and [arms] exclude each other: an arm is written out, or made by crossing factors"
        return [FieldError("factors", message)]
    errors = [
        FieldError(key, f"is not read by a study of design {kind!r}")
        for key, there in written.items()
        if there and key not in _READS[kind]
    ]
    if study.searched:
        errors += [
            FieldError(key, f"is not read by a study of design {kind!r}")
            for key, there in (
                ("match", study.match != "none"),
                ("tuning", study.tuning != Tuning()),
                ("stability", bool(study.stability)),
            )
            if there
        ]
    elif len(study.levels) < len(study.factors):
        ranges = [name for name in study.factors if name not in study.levels]
        message = f"must be a list of levels in a study of design {kind!r}; a range is of design 'search'"
        errors += [FieldError(f"factors.{name}", message) for name in ranges]
    if kind == "one_change" and not study.arms:
        message = "must hold at least one arm: write [arms.NAME] with what it changes, or [factors]"
        errors.append(FieldError("arms", message))
    if kind in ("factorial", "fractional", "search") and not study.factors:
        errors.append(FieldError("factors", f"must hold at least one factor in a study of design {kind!r}"))
    return errors


def _fields_alone(study: Study, images: Images) -> list[FieldError]:
    """What is wrong with the arms whatever the control is, for a control that could not be made."""
    own = is_path(study.control.get("net"))  # whose keywords are not known
    stand_in = mobilenet_v2(in_channels=images.channels, num_classes=images.num_classes)
    errors = []
    for name, changes in study.arms.items():
        key = f"arms.{name}"
        fields = {field: value for field, value in changes.items() if field != "net" and not outside(field)[0]}
        errors += [] if own or is_path(changes.get("net")) else bad_fields(stand_in, fields, key)
        errors += moved_outside(study.recipe, study.data, changes, key)[2]
    return errors
