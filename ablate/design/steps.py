"""The way from one net to another in named steps, one change after another or each alone.

A step is a block toggle, ``layout`` (the table of stages: channels, repeats, strides) or a field of the net. Where the
tables have different numbers of stages, a toggle that varies along one net is read at the same relative depth of the
other: the first stage from the first, the last from the last.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from typing import Any

from ablate.design.arms import CONTROL, ArmsError, Draft, Fault, Images, named_net
from ablate.design.study import Study
from ablate.errors import one_of
from ablate.model.spec import BLOCK_FIELDS, BlockSpec, Change, NetSpec, StageSpec

LAYOUT = "layout"
_NET_FIELDS = tuple(f.name for f in fields(NetSpec) if f.name not in {"stages", *BLOCK_FIELDS})


def between(start: NetSpec, end: NetSpec, taken: Collection[str]) -> NetSpec:
    """``start`` with the steps ``taken`` towards ``end``; all of them make ``end``."""
    rows = (end if LAYOUT in taken else start).stages
    stages = []
    for i, row in enumerate(rows):
        toggles: dict[str, Any] = {
            name: getattr(_at((end if name in taken else start).stages, i, len(rows)).block, name)
            for name in BLOCK_FIELDS
        }
        stages.append(replace(row, block=BlockSpec(**toggles)))
    moved: dict[str, Any] = {name: getattr(end, name) for name in _NET_FIELDS if name in taken}
    activation = (end if "activation" in taken else start).activation
    return replace(start, **moved, stages=tuple(stages), activation=activation)


def _at(stages: Sequence[StageSpec], i: int, count: int) -> StageSpec:
    if len(stages) == count:
        return stages[i]
    return stages[round(i * (len(stages) - 1) / max(1, count - 1))]


def steps(start: NetSpec, end: NetSpec) -> tuple[str, ...]:
    """The steps in which the two nets differ: toggles first, then the layout, then the net's fields."""
    names = (*BLOCK_FIELDS, LAYOUT, *_NET_FIELDS)
    return tuple(name for name in names if between(start, end, {name}) != start or between(end, start, {name}) != end)


def add_one_in(study: Study, control: NetSpec, images: Images) -> list[Draft]:
    """``1-layout``, ``2-shortcut``, ...: each arm makes a step more than the one before; the last is ``design.to``."""
    end, order = _way(study, control, images)
    drafts = [Draft(name=CONTROL, spec=control)]
    for number, step in enumerate(order, 1):
        spec = between(control, end, order[:number])
        changes = tuple(_change(taken, control, end) for taken in order[:number])
        drafts.append(Draft(name=f"{number}-{step}", spec=spec, changes=changes, parent=drafts[-1].name))
    _must_move(drafts, [control, *(draft.spec for draft in drafts[1:-1])], order)
    return drafts


def leave_one_out(study: Study, control: NetSpec, images: Images) -> list[Draft]:
    """``without-shortcut``, ...: each arm is the control with one of its choices taken back to ``design.to``'s."""
    end, order = _way(study, control, images)
    drafts = [Draft(name=CONTROL, spec=control)]
    for step in order:
        spec = between(control, end, {step})
        drafts.append(Draft(name=f"without-{step}", spec=spec, changes=(_change(step, control, end),)))
    _must_move(drafts, [control] * len(order), order)
    return drafts


def _change(step: str, start: NetSpec, end: NetSpec) -> Change:
    return Change(step, _summary(step, start), _summary(step, end))


def _summary(step: str, spec: NetSpec) -> Any:
    """What a net has at this step: one value, or one a stage."""
    if step == LAYOUT:
        rows = ((stage.channels, stage.repeats, stage.stride) for stage in spec.stages)
        return " ".join(f"{channels}x{repeats}/{stride}" for channels, repeats, stride in rows)
    if step not in BLOCK_FIELDS:
        return getattr(spec, step)
    levels = [getattr(stage.block, step) for stage in spec.stages]
    return levels[0] if len(set(levels)) == 1 else " ".join(map(str, levels))


def _must_move(drafts: list[Draft], before: list[NetSpec], order: tuple[str, ...]) -> None:
    faults = [
        Fault("design.order", f"{step} changes nothing at its place; it does after {LAYOUT}")
        for draft, old, step in zip(drafts[1:], before, order, strict=True)
        if draft.spec == old
    ]
    if faults:
        raise ArmsError(faults)


def _way(study: Study, control: NetSpec, images: Images) -> tuple[NetSpec, tuple[str, ...]]:
    """The other net, and the steps towards it in the order asked for."""
    if not study.design.to:
        raise ArmsError([Fault("design.to", f"is missing: {study.design.kind} goes from the control to another net")])
    end = named_net(study.design.to, images, "design.to")
    there = steps(control, end)
    if not there:
        raise ArmsError([Fault("design.to", "is the same net as the control")])
    order = study.design.order or there
    faults = [Fault("design.order", one_of(name, there)) for name in order if name not in there]
    faults += [Fault("design.order", f"must hold every step once, got {list(order)!r}")] * (
        len(set(order)) != len(order)
    )
    missing = [name for name in there if name not in order]
    if missing:
        faults.append(Fault("design.order", f"must also hold {', '.join(missing)}"))
    if faults:
        raise ArmsError(faults)
    return end, order
