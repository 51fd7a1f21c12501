"""The way from one setup to another in named steps, one change after another or each alone.

A step is a block toggle, ``layout`` (the table of stages: channels, repeats, strides), a field of the net, or one of
recipe and data (``recipe.optimizer``). Where the tables have different numbers of stages, a toggle that varies along
one net is read at the same relative depth of the other: the first stage from the first, the last from the last.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from typing import Any

from ablate.design.arms import (
    CONTROL,
    Arm,
    Images,
    Setup,
    bad_fields,
    changes_outside,
    lacking_errors,
    moved_outside,
    named_net,
    new_arm,
    outside,
)
from ablate.design.imported import Imported, Model, changes_between
from ablate.design.own_block import residual_of, unread_by_block, with_source
from ablate.design.study import Study
from ablate.design.unread import unread
from ablate.design.validation import FieldError, FieldsError
from ablate.errors import SpecError, one_of
from ablate.model.spec import BLOCK_FIELDS, BlockSpec, Change, NetSpec, StageSpec

LAYOUT = "layout"
_NET_FIELDS = tuple(f.name for f in fields(NetSpec) if f.name not in {"stages", *BLOCK_FIELDS})


def between(start: Model, end: Model, taken: Collection[str]) -> Model:
    """``start`` with the steps ``taken`` towards ``end``; all of them make ``end``."""
    if isinstance(start, Imported) or isinstance(end, Imported):
        return _between_imported(start, end, taken)
    rows = (end if LAYOUT in taken else start).stages
    blocks: dict[tuple[BlockSpec, BlockSpec], BlockSpec] = {}  # most rows have the same one
    stages = []
    for i, row in enumerate(rows):
        pair = left, right = _at(start.stages, i, len(rows)).block, _at(end.stages, i, len(rows)).block
        if pair not in blocks:
            toggles = {name: getattr(right if name in taken else left, name) for name in BLOCK_FIELDS}
            blocks[pair] = BlockSpec(**toggles)
        stages.append(replace(row, block=blocks[pair]))
    moved: dict[str, Any] = {name: getattr(end, name) for name in _NET_FIELDS if name in taken}
    activation = (end if "activation" in taken else start).activation
    return with_source(replace(start, **moved, stages=tuple(stages), activation=activation))


def _between_imported(start: Model, end: Model, taken: Collection[str]) -> Model:
    """The same for two calls of one function, whose steps are its keywords; of any other two, one or the other."""
    if not (isinstance(start, Imported) and isinstance(end, Imported) and start.path == end.path):
        return end if "net" in taken else start
    moved = {name: value for name, value in start.keywords if name not in taken}
    moved |= {name: value for name, value in end.keywords if name in taken}
    return replace(start, keywords=tuple(sorted(moved.items())))


def _at(stages: Sequence[StageSpec], i: int, count: int) -> StageSpec:
    if len(stages) == count:
        return stages[i]
    return stages[round(i * (len(stages) - 1) / max(1, count - 1))]


def net_steps(start: Model, end: Model) -> tuple[str, ...]:
    """The steps in which two nets differ: toggles first, then the layout, then the net's fields.

    Of one imported function called twice its keywords; of an imported net and another one, ``net``.
    """
    if isinstance(start, Imported) or isinstance(end, Imported):
        changes = [change.field for change in changes_between(start, end)]
        return ("net",) if "net" in changes else tuple(changes)
    names = (*BLOCK_FIELDS, LAYOUT, *_NET_FIELDS)
    return tuple(name for name in names if _moves(start, end, name) or _moves(end, start, name))


def _moves(start: Model, end: Model, name: str) -> bool:
    """Whether a step alone makes another net; one that needs a further step with it does."""
    try:
        return between(start, end, {name}) != start
    except SpecError:
        return True


def steps(start: Setup, end: Setup) -> tuple[str, ...]:
    """The steps in which two setups differ: those of their nets, then the fields of recipe and data."""
    return (*net_steps(start.spec, end.spec), *(change.field for change in changes_outside(start, end)))


def add_one_in(study: Study, control: Setup, images: Images) -> list[Arm]:
    """``1-layout``, ``2-shortcut``, ...: each arm makes a step more than the one before; the last is ``design.to``."""
    end, order = _way(study, control, images)
    arms = [new_arm(CONTROL, control)]
    for number, step in enumerate(order, 1):
        setup = _walked(control, end, order[:number])
        changes = (_change(taken, control, end) for taken in order[:number])
        arms.append(replace(new_arm(f"{number}-{step}", setup, changes), parent=arms[-1].name))
    _must_move(arms, [control, *(arm.setup for arm in arms[1:-1])], order)
    return arms


def leave_one_out(study: Study, control: Setup, images: Images) -> list[Arm]:
    """``without-shortcut``, ...: each arm is the control with one of its choices taken back to ``design.to``'s."""
    end, order = _way(study, control, images)
    arms = [new_arm(CONTROL, control)]
    arms += [
        new_arm(f"without-{step}", _walked(control, end, (step,)), [_change(step, control, end)]) for step in order
    ]
    _must_move(arms, [control] * len(order), order)
    return arms


def _walked(start: Setup, end: Setup, taken: Sequence[str]) -> Setup:
    """``start`` with the steps ``taken`` towards ``end``.

    Raises:
        FieldsError: fields of net or recipe that exclude each other as long as a later step is not taken.
    """
    moved = {name: _summary(name, end) for name in taken if outside(name)[0]}
    key = "design.order"
    recipe, data, errors = moved_outside(start.recipe, start.data, moved, key, read=False)
    if errors:
        told = (f"{taken[-1]} comes too early: {one.key.removeprefix(f'{key}.')} {one.message}" for one in errors)
        raise FieldsError(FieldError(key, message) for message in told)
    try:
        spec = between(start.spec, end.spec, taken)
    except SpecError as error:
        raise FieldsError([FieldError(key, f"{taken[-1]} is not possible at its place: {error}")]) from error
    return Setup(spec=spec, recipe=recipe, data=data)


def _change(step: str, start: Setup, end: Setup) -> Change:
    return Change(step, _summary(step, start), _summary(step, end))


def _summary(step: str, setup: Setup) -> Any:
    """What a setup has at this step: one value, or one a stage."""
    table, of_table = outside(step)
    if table:
        return getattr(setup.recipe if table == "recipe" else setup.data, of_table)
    spec = setup.spec
    if isinstance(spec, Imported) or step == "net":
        return _summary_imported(step, spec)
    if step == LAYOUT:
        rows = ((stage.channels, stage.repeats, stage.stride) for stage in spec.stages)
        return " ".join(f"{channels}x{repeats}/{stride}" for channels, repeats, stride in rows)
    if step not in BLOCK_FIELDS:
        return getattr(spec, step)
    levels = [getattr(stage.block, step) for stage in spec.stages]
    return levels[0] if len(set(levels)) == 1 else " ".join(map(str, levels))


def _summary_imported(step: str, spec: Model) -> Any:
    if step == "net":
        return spec.path if isinstance(spec, Imported) else "a net of ablate"
    return dict(spec.keywords).get(step, "") if isinstance(spec, Imported) else ""


def _must_move(arms: list[Arm], before: list[Setup], order: tuple[str, ...]) -> None:
    errors = []
    for arm, old, step in zip(arms[1:], before, order, strict=True):
        table, of_table = outside(step)
        message = unread(arm.recipe, of_table) if table == "recipe" else unread_by_block(residual_of(arm.spec), step)
        if message:
            errors.append(FieldError("design.order", f"{step} {message}"))
        elif arm.setup == old:
            errors.append(FieldError("design.order", f"{step} changes nothing at its place; it does after {LAYOUT}"))
    if errors:
        raise FieldsError(errors)


def _way(study: Study, control: Setup, images: Images) -> tuple[Setup, tuple[str, ...]]:
    """The other setup, and the steps towards it in the order asked for."""
    if not study.design.to:
        message = f"is missing: {study.design.kind} goes from the control to another net or recipe"
        raise FieldsError([FieldError("design.to", message)])
    end = _end(study, control, images)
    there = steps(control, end)
    if not there:
        raise FieldsError([FieldError("design.to", "is the same as the control")])
    order = study.design.order or there
    errors = [FieldError("design.order", one_of(name, there)) for name in order if name not in there]
    errors += [FieldError("design.order", f"must hold every step once, got {list(order)!r}")] * (
        len(set(order)) != len(order)
    )
    missing = [name for name in there if name not in order]
    if missing:
        errors.append(FieldError("design.order", f"must also hold {', '.join(missing)}"))
    if errors:
        raise FieldsError(errors)
    return end, order


def _end(study: Study, control: Setup, images: Images) -> Setup:
    """``design.to``; where it says nothing of the net, the net is the control's."""
    to = study.design.to
    if study.own_training:
        if errors := bad_fields(control.spec, to, "design.to"):
            raise FieldsError(errors)
        return replace(control, spec=control.spec.with_changes(to))
    fields_of_net = {name: value for name, value in to.items() if not outside(name)[0]}
    recipe, data, errors = moved_outside(study.recipe, study.data, to, "design.to")
    spec = control.spec
    try:
        spec = named_net(fields_of_net, images, "design.to") if fields_of_net else spec
        errors += lacking_errors(spec, "design.to")
    except FieldsError as error:
        errors += error.errors
    if errors:
        raise FieldsError(errors)
    return Setup(spec=spec, recipe=recipe, data=data)
