"""Which arms a study has: its design applied to its tables, and what in them contradicts it."""

from __future__ import annotations

from collections.abc import Callable

from ablate.design.arms import CONTROL, ArmsError, Draft, Fault, Images, bad_fields, named_net, one_change
from ablate.design.factors import factorial, fractional
from ablate.design.steps import add_one_in, leave_one_out
from ablate.design.study import DesignKind, Study
from ablate.model.spec import NetSpec
from ablate.model.zoo import mobilenet_v2

_MAKERS: dict[DesignKind, Callable[[Study, NetSpec, Images], list[Draft]]] = {
    "one_change": one_change,
    "factorial": factorial,
    "fractional": fractional,
    "add_one_in": add_one_in,
    "leave_one_out": leave_one_out,
}
# What each design reads; anything else that is written would be ignored, so it is refused.
_READS: dict[DesignKind, tuple[str, ...]] = {
    "one_change": ("arms",),
    "factorial": ("factors",),
    "fractional": ("factors", "design.runs"),
    "add_one_in": ("design.to", "design.order"),
    "leave_one_out": ("design.to", "design.order"),
}


def draft_arms(study: Study, images: Images) -> tuple[Draft, ...]:
    """The control, then every arm in the study's order.

    Raises:
        ArmsError: everything that is wrong with the control, the arms, the factors and the design.
    """
    faults = _contradictions(study)
    drafts: list[Draft] = []
    try:
        control = named_net(study.control, images, "control")
    except ArmsError as error:
        faults += error.faults
        faults += _fields_alone(study, images)
    else:
        try:
            drafts = _MAKERS[study.design_kind](study, control, images)
        except ArmsError as error:
            faults += error.faults
        if not drafts or drafts[0].name != CONTROL:
            drafts.insert(0, Draft(name=CONTROL, spec=control))
    if faults:
        raise ArmsError(faults)
    return tuple(drafts)


def _contradictions(study: Study) -> list[Fault]:
    design, kind = study.design, study.design_kind
    written = {
        "arms": bool(study.arms),
        "factors": bool(study.factors),
        "design.to": bool(design.to),
        "design.order": bool(design.order),
        "design.runs": design.runs is not None,
    }
    if study.arms and study.factors:
        return [Fault("factors", "and [arms] exclude each other: an arm is written out, or made by crossing factors")]
    faults = [
        Fault(key, f"is not read by a study of design {kind!r}")
        for key, there in written.items()
        if there and key not in _READS[kind]
    ]
    if kind == "one_change" and not study.arms:
        faults.append(Fault("arms", "must hold at least one arm: write [arms.NAME] with what it changes, or [factors]"))
    if kind in ("factorial", "fractional") and not study.factors:
        faults.append(Fault("factors", f"must hold at least one factor in a study of design {kind!r}"))
    return faults


def _fields_alone(study: Study, images: Images) -> list[Fault]:
    """What is wrong with the arms whatever the control is, for a control that could not be made."""
    stand_in = mobilenet_v2(in_channels=images.channels, num_classes=images.num_classes)
    faults = []
    for name, changes in study.arms.items():
        others = {field: value for field, value in changes.items() if field != "net"}
        faults += bad_fields(stand_in, others, f"arms.{name}")
    return faults
