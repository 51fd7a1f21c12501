"""A block of the user's own, named by its import path as a level of ``residual``: found and read, not imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeGuard

from ablate.design.imported import Imported, Model, imported, is_path, parameters
from ablate.errors import SpecError
from ablate.model.spec import BLOCK_FIELDS, BlockSpec, NetSpec

BLOCK_ARGUMENTS = ("in_channels", "out_channels", "stride")  # that the class of a block must take
OFFERED = tuple(name for name in BLOCK_FIELDS if name != "residual")  # that it gets where its signature names them
_READ_BY_THE_NET = ("residual", "activation")  # activation is that of stem and head too


def is_ours(model: Model) -> TypeGuard[NetSpec]:
    """Whether a net is of our factory alone; one with code of the user's own cannot be counted without importing it."""
    return isinstance(model, NetSpec) and not model.has_own_block


def moved(model: Model, changes: Mapping[str, Any]) -> Model:
    """The net with ``changes``, and with the digest of the source of its own blocks.

    Raises:
        SpecError: an unknown name, a value that is not allowed, or an import path that leads nowhere.
    """
    return with_source(model.with_changes(dict(changes)))


def with_source(model: Model) -> Model:
    """The net with the digest of its own blocks' source, read from disk.

    Raises:
        SpecError: of the field ``residual``, where an import path leads nowhere or its class takes other arguments.
    """
    if not isinstance(model, NetSpec) or not any(
        stage.block.is_own or stage.block.source or stage.block.place for stage in model.stages
    ):
        return model
    made = {block: _block_with_source(block) for block in {stage.block for stage in model.stages}}
    return replace(model, stages=tuple(replace(stage, block=made[stage.block]) for stage in model.stages))


def _block_with_source(block: BlockSpec) -> BlockSpec:
    if not block.is_own:
        return replace(block, source="", place="")
    found = own_block(block.residual)
    return replace(block, source=found.digest, place=found.place)


def own_block(path: str) -> Imported:
    """The class at the import path of a block, found and read.

    Raises:
        SpecError: of the field ``residual``, where the path leads nowhere, or to a class that takes other arguments.
    """
    try:
        found = imported(path)
    except SpecError as error:
        raise SpecError("residual", error.message.replace("leads to no function", "leads to no class")) from error
    taken = parameters(found)
    if taken is None:
        return found
    lacking = [name for name in BLOCK_ARGUMENTS if name not in taken.names and not taken.any_name]
    if lacking:
        raise SpecError("residual", f"= {path!r} must take {', '.join(lacking)} (it takes: {', '.join(taken.names)})")
    if unknown := [name for name in taken.required if name not in (*BLOCK_ARGUMENTS, *OFFERED)]:
        given = ", ".join((*BLOCK_ARGUMENTS, *OFFERED))
        raise SpecError("residual", f"= {path!r} needs {', '.join(unknown)}, but a block can only get {given}")
    return found


def unread_by_block(residual: object, field: str) -> str:
    """Why a block of the user's own does not read a field of blocks; empty where it does, or where nobody can tell."""
    if not is_path(residual) or field not in OFFERED or field in _READ_BY_THE_NET:
        return ""
    taken = parameters(Imported(path=str(residual)))
    if taken is None or taken.any_name or field in taken.names:
        return ""
    return f"does nothing with residual = {residual!r}: that block takes {', '.join(taken.names)}"


def residual_of(model: Model) -> str:
    """The import path of a net's own block; empty where it has none."""
    stages = model.stages if isinstance(model, NetSpec) else ()
    return next((stage.block.residual for stage in stages if stage.block.is_own), "")
