"""Crossed factors: every combination of their levels, or a balanced part of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping

from ablate.design.arms import CONTROL, MAX_ARMS, ArmsError, Draft, Fault, Images, bad_fields, changed, not_a_field
from ablate.design.fractional import MAX_FACTORS, MIN_FACTORS, FractionalDesign, construct, sizes
from ablate.design.identity import digest
from ablate.design.study import Level, Study
from ablate.errors import one_of
from ablate.model.spec import BLOCK_FIELDS, CHANGEABLE, NetSpec
from ablate.model.zoo import NETS

MAX_NAME = 64
Cell = dict[str, Level]  # a level of each factor


def factorial(study: Study, control: NetSpec, images: Images) -> list[Draft]:
    """An arm for every combination of levels; the one of the control's own levels is the control, and first.

    Raises:
        ArmsError: a factor that is no field of a net, repeats a level or lacks the control's; too many combinations.
    """
    own = control_levels(study, control)
    size = math.prod(len(choices) for choices in study.factors.values())
    if size > MAX_ARMS:
        halves = all(len(choices) == 2 for choices in study.factors.values())
        fewer = "; design.kind = 'fractional' needs fewer" if halves else ""
        raise ArmsError([Fault("factors", f"must make at most {MAX_ARMS} arms, got {size}{fewer}")])
    ordered = [(own[name], *_others(own[name], choices)) for name, choices in study.factors.items()]
    cells = (dict(zip(study.factors, cell, strict=True)) for cell in itertools.product(*ordered))
    return _drafts(study, own, cells, images)


def fractional(study: Study, control: NetSpec, images: Images) -> list[Draft]:
    """An arm for each run of a minimum-aberration fraction of two-level factors, the control among them.

    Raises:
        ArmsError: as ``factorial``; besides a factor of other than two levels, or no such fraction.
    """
    own = control_levels(study, control)
    faults = [
        Fault(f"factors.{name}", f"must have two levels in a fractional study, got {len(choices)}")
        for name, choices in study.factors.items()
        if len(choices) != 2
    ]
    count, runs = len(study.factors), study.design.runs
    if not MIN_FACTORS <= count <= MAX_FACTORS:
        faults.append(Fault("factors", f"must be {MIN_FACTORS} to {MAX_FACTORS} in a fractional study, got {count}"))
    elif runs is not None and runs not in sizes(count):
        allowed = ", ".join(map(str, sizes(count)))
        faults.append(Fault("design.runs", f"must be one of {allowed} for {count} factors, got {runs}"))
    if faults:
        raise ArmsError(faults)
    pairs = {name: (own[name], *_others(own[name], choices)) for name, choices in study.factors.items()}
    design = construct(tuple(study.factors), runs)
    cells = ({name: pairs[name][at] for name, at in zip(pairs, run, strict=True)} for run in design.runs)
    return _drafts(study, own, cells, images)


def fraction_of(study: Study) -> FractionalDesign | None:
    """The fraction that a study runs, with its resolution and aliases; None where it is not fractional."""
    return construct(tuple(study.factors), study.design.runs) if study.design_kind == "fractional" else None


def _others(own: Level, choices: Iterable[Level]) -> list[Level]:
    return [level for level in choices if level != own]


def control_levels(study: Study, control: NetSpec) -> Cell:
    """The level that the control has of each factor.

    Raises:
        ArmsError: a factor that is no field of a net, repeats a level, or lacks the control's own.
    """
    levels: Cell = {}
    faults = []
    for name, choices in study.factors.items():
        key = f"factors.{name}"
        bad = _bad_levels(control, name, choices, key)
        faults += bad
        if bad:
            continue
        held = _held(study, control, name)
        levels[name] = held[0]
        if len(held) > 1:
            mixed = ", ".join(map(str, held))
            faults.append(
                Fault(key, f"differs among the control's stages ({mixed}): set control.{name} to one of them")
            )
        elif held[0] not in choices:
            faults.append(Fault(key, f"must hold the control's own level {held[0]!r}, got {list(choices)!r}"))
    if faults:
        raise ArmsError(faults)
    return levels


def _held(study: Study, control: NetSpec, name: str) -> list[Level]:
    if name == "net":
        return [study.control["net"]]
    if name in BLOCK_FIELDS:
        return sorted({getattr(stage.block, name) for stage in control.stages}, key=str)
    return [getattr(control, name)]


def _bad_levels(control: NetSpec, name: str, choices: tuple[Level, ...], key: str) -> list[Fault]:
    if name != "net" and name not in CHANGEABLE:
        return [Fault(key, not_a_field(name))]
    if len(choices) < 2 or len(set(choices)) != len(choices):
        return [Fault(key, f"must list two or more different levels, got {list(choices)!r}")]
    if name == "net":
        return [Fault(key, one_of(choice, NETS)) for choice in choices if choice not in NETS]
    return [fault for choice in choices for fault in bad_fields(control, {name: choice}, "factors")]


def _drafts(study: Study, own: Cell, cells: Iterable[Cell], images: Images) -> list[Draft]:
    drafts = []
    for cell in cells:
        changes = {name: level for name, level in cell.items() if level != own[name]}
        spec = changed(study, changes, images, "factors")
        drafts.append(Draft(name=cell_name(study, changes), spec=spec, factors=cell))
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
