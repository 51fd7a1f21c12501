"""From a Study to its nets: the control and what every arm makes of it, before any width is matched."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ablate.design.study import Level, Study, digest
from ablate.errors import SpecError, nearest, one_of
from ablate.model.spec import BLOCK_FIELDS, CHANGEABLE, NetSpec
from ablate.model.zoo import NETS

CONTROL = "control"
NOISE_FLOOR = "noise_floor"
RESERVED = (CONTROL, NOISE_FLOOR)
MAX_ARMS = 256
MAX_NAME = 64


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An arm before its width is matched; ``parent`` is the arm that it is one step away from."""

    name: str
    spec: NetSpec
    factors: dict[str, Level] = field(default_factory=dict, hash=False)
    parent: str = CONTROL


@dataclass(frozen=True)
class Fault:
    """What is wrong with one key of a study; the reader adds the file."""

    key: str
    message: str


class ArmsError(Exception):
    """Every fault of a study's arms together."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.key} {fault.message}" for fault in self.faults))


@dataclass(frozen=True)
class Images:
    """What the data decide of a net."""

    channels: int
    num_classes: int


def named_net(fields: Mapping[str, Level], images: Images, key: str) -> NetSpec:
    """The zoo's net ``fields["net"]`` with the other fields of it moved.

    Raises:
        ArmsError: every field that is unknown or holds a value that is not allowed, under ``key``.
    """
    name = fields.get("net")
    if name is None:
        raise ArmsError([Fault(f"{key}.net", f"is missing: name a net, one of {', '.join(NETS)}")])
    if name not in NETS:
        raise ArmsError([Fault(f"{key}.net", one_of(name, NETS))])
    spec = NETS[str(name)](in_channels=images.channels, num_classes=images.num_classes)
    return moved(spec, {name: value for name, value in fields.items() if name != "net"}, key)


def moved(spec: NetSpec, changes: Mapping[str, Level], key: str) -> NetSpec:
    """``spec`` with these fields moved; ArmsError names every one that cannot be."""
    faults = []
    for name, value in changes.items():
        try:
            spec.with_changes({name: value})
        except SpecError as error:
            known = name in CHANGEABLE
            faults.append(Fault(f"{key}.{name}", error.message if known else not_a_field(name)))
    if faults:
        raise ArmsError(faults)
    return spec.with_changes(dict(changes))


def not_a_field(name: str) -> str:
    """The message for an unknown field of a net."""
    allowed = ("net", *CHANGEABLE)
    return f"is not a field of a net{nearest(name, allowed)} (allowed: {', '.join(allowed)})"


def changed(study: Study, changes: Mapping[str, Level], images: Images, key: str) -> NetSpec:
    """The control with ``changes``; where they name another net, the control's other fields still hold for it."""
    return (
        named_net({**study.control, **changes}, images, key)
        if "net" in changes
        else moved(named_net(study.control, images, "control"), changes, key)
    )


def one_change(study: Study, control: NetSpec, images: Images) -> list[Draft]:
    """An arm for each entry of ``[arms]``."""
    drafts, faults = [], []
    for name, changes in study.arms.items():
        key = f"arms.{name}"
        if name in RESERVED:
            faults.append(Fault(key, f"may not be called {name!r}: the harness gives that name itself"))
        try:
            spec = changed(study, changes, images, key)
        except ArmsError as error:
            faults += error.faults
            continue
        if spec == control:
            faults.append(Fault(key, f"changes nothing: {_written(changes)} is what the control has"))
        else:
            drafts.append(Draft(name=name, spec=spec))
    faults += _twins(drafts)
    if faults:
        raise ArmsError(faults)
    return drafts


def _written(changes: Mapping[str, Level]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in changes.items()) or "an empty table"


def _twins(drafts: Iterable[Draft]) -> list[Fault]:
    first: dict[NetSpec, str] = {}
    faults = []
    for draft in drafts:
        twin = first.setdefault(draft.spec, draft.name)
        if twin != draft.name:
            faults.append(Fault(f"arms.{draft.name}", f"is the same net as arms.{twin}"))
    return faults


def control_levels(study: Study, control: NetSpec) -> dict[str, Level]:
    """The level that the control has of each factor.

    Raises:
        ArmsError: a factor that is no field, has one level, or lacks the control's own.
    """
    levels: dict[str, Level] = {}
    faults = []
    for name, choices in study.factors.items():
        key = f"factors.{name}"
        faults += _bad_levels(control, name, choices, key)
        if name == "net":
            levels[name] = study.control.get("net", "")
        elif name in CHANGEABLE:
            held = (
                sorted({getattr(stage.block, name) for stage in control.stages}, key=str)
                if (name in BLOCK_FIELDS)
                else [getattr(control, name)]
            )
            if len(held) > 1:
                mixed = ", ".join(map(str, held))
                faults.append(Fault(key, f"differs among the control's stages ({mixed}): set control.{name} to one"))
            levels[name] = held[0]
        if name in levels and levels[name] not in choices:
            faults.append(Fault(key, f"must hold the control's own level {levels[name]!r}, got {list(choices)!r}"))
    if faults:
        raise ArmsError(faults)
    return levels


def _bad_levels(control: NetSpec, name: str, choices: tuple[Level, ...], key: str) -> list[Fault]:
    if name != "net" and name not in CHANGEABLE:
        return [Fault(key, not_a_field(name))]
    faults = []
    if len(set(choices)) < 2 or len(set(choices)) != len(choices):
        faults.append(Fault(key, f"must list two or more different levels, got {list(choices)!r}"))
    for choice in choices:
        if name == "net" and choice not in NETS:
            faults.append(Fault(key, one_of(choice, NETS)))
        elif name != "net":
            try:
                moved(control, {name: choice}, "factors")
            except ArmsError as error:
                faults += [Fault(fault.key, fault.message) for fault in error.faults]
    return faults


def crossing(study: Study, control: NetSpec) -> list[dict[str, Level]]:
    """Every combination of the factors' levels, the control's first."""
    own = control_levels(study, control)
    size = 1
    for choices in study.factors.values():
        size *= len(choices)
    if size > MAX_ARMS:
        message = f"must make at most {MAX_ARMS} arms, got {size}; design.kind = 'fractional' needs fewer"
        raise ArmsError([Fault("factors", message)])
    ordered = [
        (own[name], *(level for level in choices if level != own[name])) for name, choices in study.factors.items()
    ]
    return [dict(zip(study.factors, cell, strict=True)) for cell in itertools.product(*ordered)]


def factorial(study: Study, control: NetSpec, images: Images, cells: Iterable[dict[str, Level]]) -> list[Draft]:
    """An arm for each combination in ``cells``; the one of the control's own levels is the control."""
    own = control_levels(study, control)
    drafts = []
    for cell in cells:
        changes = {name: level for name, level in cell.items() if level != own[name]}
        name = cell_name(study, changes)
        drafts.append(Draft(name=name, spec=changed(study, changes, images, "factors"), factors=cell))
    return drafts


def cell_name(study: Study, changes: Mapping[str, Level]) -> str:
    """``classic+relu_bottleneck``: the levels that differ from the control's, with the factor where it needs saying."""
    parts = []
    for factor, level in changes.items():
        shared = sum(level in levels for levels in study.factors.values()) > 1
        if isinstance(level, str):
            parts.append(f"{level}_{factor}" if shared else level)
        else:
            parts.append(f"{factor}-{str(level).lower()}")
    name = "+".join(parts) or CONTROL
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}-{digest(name)[:8]}"


def draft_arms(study: Study, images: Images) -> tuple[Draft, ...]:
    """The control, then every arm in the study's order.

    Raises:
        ArmsError: everything that is wrong with the control, the arms, the factors and the expectations.
    """
    faults: list[Fault] = []
    drafts: list[Draft] = []
    try:
        control = named_net(study.control, images, "control")
        drafts = _by_kind(study, control, images)
    except ArmsError as error:
        faults += error.faults
    if faults:
        raise ArmsError(faults)
    if drafts[0].name != CONTROL:
        drafts.insert(0, Draft(name=CONTROL, spec=control))
    return tuple(drafts)


def _by_kind(study: Study, control: NetSpec, images: Images) -> list[Draft]:
    if study.design_kind == "factorial":
        return factorial(study, control, images, crossing(study, control))
    return one_change(study, control, images)
