"""The control of a study and the arms that ``[arms]`` makes of it, before any width is matched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ablate.design.study import Level, Study
from ablate.errors import SpecError, nearest, one_of
from ablate.model.spec import BLOCK_FIELDS, CHANGEABLE, Change, NetSpec
from ablate.model.zoo import NETS

CONTROL = "control"
NOISE_FLOOR = "noise_floor"
MAX_ARMS = 256


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An arm before its width is matched.

    Attributes:
        parent: the arm that it is one step away from.
        changes: what changed against the control, where the fields in which the two nets differ would not say it.
    """

    name: str
    spec: NetSpec
    changes: tuple[Change, ...] = ()
    factors: dict[str, Level] = field(default_factory=dict, hash=False)
    parent: str = CONTROL


@dataclass(frozen=True)
class Fault:
    """What is wrong with one key of a study; the reader adds the file."""

    key: str
    message: str


class ArmsError(Exception):
    """Every fault of a study's control and arms together."""

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
    faults = []
    if name is None:
        faults.append(Fault(f"{key}.net", f"is missing: name a net, one of {', '.join(NETS)}"))
    elif name not in NETS:
        faults.append(Fault(f"{key}.net", one_of(name, NETS)))
    net = NETS[str(name)] if name in NETS else next(iter(NETS.values()))
    spec = net(in_channels=images.channels, num_classes=images.num_classes)
    others = {name: value for name, value in fields.items() if name != "net"}
    faults += bad_fields(spec, others, key)
    if faults:
        raise ArmsError(faults)
    return spec.with_changes(others)


def bad_fields(spec: NetSpec, changes: Mapping[str, Level], key: str) -> list[Fault]:
    """A Fault for each field that cannot be moved so."""
    faults = []
    for name, value in changes.items():
        try:
            spec.with_changes({name: value})
        except SpecError as error:
            message = error.message if name in CHANGEABLE else not_a_field(name)
            faults.append(Fault(f"{key}.{name}", message))
    return faults


def not_a_field(name: str) -> str:
    """The message for an unknown field of a net."""
    allowed = ("net", *CHANGEABLE)
    return f"is not a field of a net{nearest(name, allowed)} (allowed: {', '.join(allowed)})"


def changed(study: Study, changes: Mapping[str, Level], images: Images, key: str) -> NetSpec:
    """The control with ``changes``; where they name another net, the control's other fields hold for that one too.

    Raises:
        ArmsError: every change that is unknown or not allowed, under ``key``.
    """
    if "net" in changes and changes["net"] in NETS:
        start = named_net({**study.control, "net": changes["net"]}, images, "control")
    else:
        start = named_net(study.control, images, "control")
    faults = bad_fields(start, {name: value for name, value in changes.items() if name != "net"}, key)
    if "net" in changes and changes["net"] not in NETS:
        faults.append(Fault(f"{key}.net", one_of(changes["net"], NETS)))
    if faults:
        raise ArmsError(faults)
    return start.with_changes({name: value for name, value in changes.items() if name != "net"})


def one_change(study: Study, control: NetSpec, images: Images) -> list[Draft]:
    """An arm for each entry of ``[arms]``.

    Raises:
        ArmsError: a change that is not allowed, an arm that changes nothing, two that are the same, a reserved name.
    """
    drafts, faults = [], []
    for name, changes in study.arms.items():
        key = f"arms.{name}"
        if name in (CONTROL, NOISE_FLOOR):
            faults.append(Fault(key, f"may not be called {name!r}: the harness gives that name itself"))
        try:
            spec = changed(study, changes, images, key)
        except ArmsError as error:
            faults += error.faults
            continue
        if spec == control:
            faults.append(Fault(key, f"changes nothing: {_written(changes)} is what the control has"))
        else:
            drafts.append(Draft(name=name, spec=spec, changes=other_net(study, changes, control)))
    faults += _twins(drafts)
    if len(study.arms) > MAX_ARMS:
        faults.append(Fault("arms", f"must be at most {MAX_ARMS}, got {len(study.arms)}"))
    if faults:
        raise ArmsError(faults)
    return drafts


def other_net(study: Study, changes: Mapping[str, Level], control: NetSpec) -> tuple[Change, ...]:
    """The changes as written, of an arm that names another net; empty where the nets' fields tell."""
    if changes.get("net", study.control["net"]) == study.control["net"]:
        return ()
    return tuple(
        Change(name, study.control.get(name, "" if name in BLOCK_FIELDS else getattr(control, name, "")), value)
        for name, value in changes.items()
    )


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
