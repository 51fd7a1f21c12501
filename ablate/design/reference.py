"""What docs/studies.md says in numbers, made from the code: every key of a study file, and what the forecast assumes.

``python -m ablate.design.reference docs/studies.md`` writes it into the page, between markers; a test holds the two
alike.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ablate.design.forecast import ELEMENT_S, EVALUATED, MAC_S, START_S
from ablate.design.search_fields import Span
from ablate.design.study import Study

_NAMES = {int: "whole number", float: "number", str: "text", bool: "true, false"}
_WORDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_NOT_WRITTEN = ("name", "budget")  # the file's name and --budget say these


def rows(model: type[BaseModel] = Study, above: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Key, what is allowed, default and meaning of every field, in the model's order."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if not above and name in _NOT_WRITTEN:
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from rows(kind, f"{above}{name}.")
        elif (inner := _table_of(kind)) is not None:
            yield from rows(inner, f"{above}{name}.FIELD.")
        else:
            yield f"{above}{name}", _allowed(field), _default(field), field.description or ""
        if name == "factors":
            yield from rows(Span, "factors.FIELD.")


def _table_of(kind: Any) -> type[BaseModel] | None:
    """The model that a table holds under names of the writer's choice."""
    inner = get_args(kind)[1] if get_origin(kind) is dict else None
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def table() -> str:
    """The table as markdown."""
    lines = ["| key | allowed | default | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{key}` | {allowed} | {default} | {meaning} |" for key, allowed, default, meaning in rows()]
    return "\n".join(lines) + "\n"


def assumptions() -> str:
    """What the estimate of a campaign's time assumes, in a sentence."""
    work = f"{1e12 * MAC_S:.0f} ps for each multiply-add and {1e9 * ELEMENT_S:.2f} ns for each number read or written"
    return (
        f"On one core, a training image costs {work}.\n"
        f"A validation or test image costs {EVALUATED:.0%} of that. Every trial takes {START_S:g} s more.\n"
    )


def updated(page: str) -> str:
    """A page with what stands between its markers made anew.

    Raises:
        ValueError: the page lacks a marker.
    """
    for name, text in {"keys": table(), "forecast": assumptions()}.items():
        begin, end = f"<!-- {name}: python -m ablate.design.reference docs/studies.md -->", f"<!-- end of {name} -->"
        before, marker, rest = page.partition(begin)
        _, other_marker, after = rest.partition(end)
        if not marker or not other_marker:
            raise ValueError(f"the page must hold {begin} and, after it, {end}")
        page = f"{before}{begin}\n{text}{end}{after}"
    return page


def _allowed(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(constraint, name):,}"
        for name, sign in _WORDS.items()
        for constraint in field.metadata
        if getattr(constraint, name, None) is not None
    ]
    return " ".join([_kind(field.annotation), ", ".join(limits)]).strip()


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in _NAMES:
        return _NAMES[annotation]
    if origin is Literal:
        return ", ".join(inner)
    if origin is Annotated:
        return _kind(inner[0])
    if origin is tuple:
        return f"list of: {_kind(inner[0])}"
    if origin is dict:
        return "table"
    if origin in (types.UnionType, Union) and type(None) in inner:
        return _kind(next(kind for kind in inner if kind is not type(None)))
    if origin in (types.UnionType, Union):
        return " or ".join(map(_kind, inner))
    return "text, number, true, false"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), {}, ""):
        return "–"
    if value is PydanticUndefined:
        return "must be written"
    if isinstance(value, dict):
        return "`{ " + ", ".join(f"{key} = {json.dumps(one)}" for key, one in value.items()) + " }`"
    return f"`{value if isinstance(value, float) else json.dumps(value)}`"


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(updated(path.read_text()))
