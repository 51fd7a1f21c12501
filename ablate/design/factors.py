"""Crossed factors: every combination of their levels, or a balanced part of them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ablate.design.arms import (
    CONTROL,
    MAX_ARMS,
    Arm,
    Images,
    Setup,
    bad_fields,
    changed,
    moved_outside,
    new_arm,
    no_net,
    not_a_field,
    outside,
    told_changes,
)
from ablate.design.fractional import MAX_FACTORS, MIN_FACTORS, FractionalDesign, construct, sizes
from ablate.design.identity import digest
from ablate.design.imported import Imported
from ablate.design.own_training import OwnTraining
from ablate.design.study import MAX_NAME, Level, Study
from ablate.design.validation import FieldError, FieldsError
from ablate.model.spec import BLOCK_FIELDS, CHANGEABLE

Cell = dict[str, Level]  # a level of each factor


def factorial(study: Study, control: Setup, images: Images) -> list[Arm]:
    """An arm for every combination of levels; the one of the control's own levels is the control, and first.

    Raises:
        FieldsError: a factor that no arm can change, repeats a level or lacks the control's; too many combinations.
    """
    own = control_levels(study, control)
    size = math.prod(len(choices) for choices in study.levels.values())
    if size > MAX_ARMS:
        halves = all(len(choices) == 2 for choices in study.levels.values())
        fewer = "; design.kind = 'fractional' needs fewer" if halves else ""
        raise FieldsError([FieldError("factors", f"must make at most {MAX_ARMS} arms, got {size}{fewer}")])
    ordered = [(own[name], *_others(own[name], choices)) for name, choices in study.levels.items()]
    cells = (dict(zip(study.levels, cell, strict=True)) for cell in itertools.product(*ordered))
    return _arms(study, control, own, cells, images)


def fractional(study: Study, control: Setup, images: Images) -> list[Arm]:
    """An arm for each run of a minimum-aberration fraction of two-level factors, the control among them.

    Raises:
        FieldsError: as ``factorial``; besides a factor of other than two levels, or no such fraction.
    """
    own = control_levels(study, control)
    errors = [
        FieldError(f"factors.{name}", f"must have two levels in a fractional study, got {len(choices)}")
        for name, choices in study.levels.items()
        if len(choices) != 2
    ]
    count, runs = len(study.levels), study.design.runs
    if not MIN_FACTORS <= count <= MAX_FACTORS:
        errors.append(
            FieldError("factors", f"must be {MIN_FACTORS} to {MAX_FACTORS} in a fractional study, got {count}")
        )
    elif runs is not None and runs not in sizes(count):
        allowed = ", ".join(map(str, sizes(count)))
        errors.append(FieldError("design.runs", f"must be one of {allowed} for {count} factors, got {runs}"))
    if errors:
        raise FieldsError(errors)
    pairs = {name: (own[name], *_others(own[name], choices)) for name, choices in study.levels.items()}
    design = construct(tuple(study.levels), runs)
    cells = ({name: pairs[name][at] for name, at in zip(pairs, run, strict=True)} for run in design.runs)
    return _arms(study, control, own, cells, images)


def fraction_of(study: Study) -> FractionalDesign | None:
    """The fraction that a study runs, with its resolution and aliases; None where it is not fractional."""
    return construct(tuple(study.levels), study.design.runs) if study.design_kind == "fractional" else None


def _others(own: Level, choices: Iterable[Level]) -> list[Level]:
    return [level for level in choices if level != own]


def control_levels(study: Study, control: Setup) -> Cell:
    """The level that the control has of each factor.

    Raises:
        FieldsError: a factor that no arm can change, repeats a level, or lacks the control's own.
    """
    levels: Cell = {}
    errors = []
    for name, choices in study.levels.items():
        key = f"factors.{name}"
        bad = bad_levels(control, name, choices, key)
        errors += bad
        if bad:
            continue
        held = held_levels(study, control, name)
        if not held:
            errors.append(FieldError(key, f"needs the control's own level: set control.{name} to one of them"))
            continue
        levels[name] = held[0]
        if len(held) > 1:
            errors.append(FieldError(key, differs_among_stages(name, held)))
        elif held[0] not in choices:
            errors.append(FieldError(key, f"must hold the control's own level {held[0]!r}, got {list(choices)!r}"))
    if errors:
        raise FieldsError(errors)
    return levels


def differs_among_stages(name: str, held: Iterable[Level]) -> str:
    """The message for a factor of which the control has several levels."""
    return f"differs among the control's stages ({', '.join(map(str, held))}): set control.{name} to one of them"


def held_levels(study: Study, control: Setup, name: str) -> list[Level]:
    """The levels that the control has of a factor: one, but where its stages differ."""
    if isinstance(control.spec, OwnTraining):
        return [value for keyword, value in control.spec.keywords if keyword == name]
    table, of_table = outside(name)
    if table:
        return [getattr(control.recipe if table == "recipe" else control.data, of_table)]
    if name == "net":
        return [study.control["net"]]
    if isinstance(control.spec, Imported):
        return [value for keyword, value in control.spec.keywords if keyword == name]
    if name in BLOCK_FIELDS:
        return sorted({getattr(stage.block, name) for stage in control.spec.stages}, key=str)
    return [getattr(control.spec, name)]


def bad_levels(control: Setup, name: str, choices: tuple[Level, ...], key: str) -> list[FieldError]:
    """What is wrong with the levels of a factor, each by itself."""
    outer = bool(outside(name)[0]) and not isinstance(control.spec, OwnTraining)
    if not outer and name not in ("net", *CHANGEABLE) and not isinstance(control.spec, Imported):
        return [FieldError(key, not_a_field(name))]
    if len(choices) < 2 or len(set(choices)) != len(choices):
        return [FieldError(key, f"must list two or more different levels, got {list(choices)!r}")]
    if name == "net" and not isinstance(control.spec, OwnTraining):
        return [FieldError(key, error) for choice in choices if (error := no_net(choice))]
    errors = []
    for change in ({name: choice} for choice in choices):
        if outer:
            errors += moved_outside(control.recipe, control.data, change, "factors", read=False)[2]
        else:
            errors += bad_fields(control.spec, change, "factors")
    return errors


def _arms(study: Study, control: Setup, own: Cell, cells: Iterable[Cell], images: Images) -> list[Arm]:
    """An arm for each cell.

    Raises:
        FieldsError: a level that a cell's recipe does not read, so that two cells would train the same.
    """
    arms = []
    errors: dict[FieldError, None] = {}
    for cell in cells:
        changes = {name: level for name, level in cell.items() if level != own[name]}
        try:
            setup = changed(study, changes, images, "factors")
        except FieldsError as error:
            errors |= dict.fromkeys(error.errors)
            continue
        told = told_changes(study, changes, control, setup)
        arms.append(replace(new_arm(cell_name(study, changes), setup, told), factors=cell))
    if errors:
        raise FieldsError(errors)
    return arms


def cell_name(study: Study, changes: Mapping[str, Level]) -> str:
    """``classic+relu_bottleneck``: the levels that differ from the control's, with the factor where it needs saying."""
    parts = []
    for factor, level in changes.items():
        field = factor.split(".")[-1]
        shared = sum(level in levels for levels in study.levels.values()) > 1
        if isinstance(level, str):
            level = re.sub(r"[^A-Za-z0-9_.+-]", ".", level)  # an import path, say, becomes part of a file's name
            parts.append(f"{level}_{field}" if shared else level)
        else:
            parts.append(f"{field}-{str(level).lower()}")
    name = "+".join(parts) or CONTROL
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}-{digest(name)[:8]}"
