"""Validation errors of a study in plain language: key, what is allowed, what was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ablate.design.search_fields import Span
from ablate.design.study import LEVELS, NAME_RULE, RANGE, Study
from ablate.errors import nearest, one_of
from ablate.model.spec import CHANGEABLE


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one key of a study; whoever knows the file adds it."""

    key: str  # dotted: "arms.relu.bottleneck"
    message: str  # "must be one of linear, relu; got 'rel'"


class FieldsError(Exception):
    """Every FieldError that one check found."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{error.key} {error.message}" for error in self.errors))


_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "tuple_type": "a list",
}
_BOUNDS = {"greater_than_equal": "ge", "greater_than": "gt", "less_than_equal": "le", "less_than": "lt"}
_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_LEVEL_KINDS = ("str", "int", "float", "bool")


def field_errors(error: ValidationError, above: tuple[str, ...] = ()) -> list[FieldError]:
    """One FieldError a key.

    Args:
        error: pydantic's, of a Study or a part of it.
        above: where in a study that part belongs: ``("recipe",)``.
    """
    errors: dict[str, FieldError] = {}
    for detail in error.errors(include_url=False):
        parts = [*above, *_place(detail["loc"])]
        message = _message(detail, parts)
        if "[key]" in parts:
            parts = parts[: parts.index("[key]")]
        elif _is_level(detail, parts):
            parts = parts[:-1]
        elif detail["type"] == "value_error":  # our own, which starts with the field's name
            field, _, message = message.partition(" ")
            parts = [*parts, field]
        key = ".".join(parts)
        errors.setdefault(key, FieldError(key, message))
    return list(errors.values())


def _place(loc: tuple[int | str, ...]) -> list[str]:
    """Where an error is, without the tag that says which way a factor was written."""
    parts = [str(part) for part in loc]
    return [part for i, part in enumerate(parts) if not (i == 2 and parts[0] == "factors" and part in (LEVELS, RANGE))]


def _is_level(detail: ErrorDetails, parts: list[str]) -> bool:
    """Whether pydantic tried each member of the Level union in turn and named it last."""
    return (
        len(parts) > 1
        and parts[-1] in _LEVEL_KINDS
        and detail["type"].endswith(("_type", "_from_float", "finite_number"))
    )


def _message(detail: ErrorDetails, parts: list[str]) -> str:
    kind, found, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(parts)
    if "[key]" in parts:
        return NAME_RULE
    if _is_level(detail, parts) and parts[0] in ("control", "arms", "factors", "design", "stability"):
        return f"must be text, a number, true or false, got {shown(found)}"
    if kind == "literal_error":
        return one_of(short(found), _choices(parts))
    if kind == "dict_type" and parts[0] == "arms" and len(parts) == 2:
        example = f"{parts[1]} = {shown(found)}" if parts[1] in CHANGEABLE else 'bottleneck = "relu"'
        return f"must be a table, got {shown(found)}: write [arms.NAME], with {example} below it"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, got {shown(found)}"
    if kind in _BOUNDS:
        return _limits(parts, context, kind, found)
    return _text(detail, context, found)


def _text(detail: ErrorDetails, context: Mapping[str, Any], found: object) -> str:
    kind = detail["type"]
    if kind == "finite_number":
        return f"must be a finite number, got {shown(found)}"
    if kind == "missing":
        return "is missing"
    if kind == "string_too_long":
        return f"must be at most {context['max_length']} characters, got {len(str(found))}"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "string_pattern_mismatch":
        return f"must be one line without control characters, got {shown(found)}"
    if kind == "value_error":
        return str(context["error"])
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, got {shown(found)}"


def _limits(parts: list[str], context: Mapping[str, Any], kind: str, found: object) -> str:
    """Both ends of the range, since whoever wrote below one may next write above the other."""
    bound = _BOUNDS[kind]
    limits = {bound: context[bound]}
    field = _field(parts)
    for constraint in getattr(field, "metadata", ()):
        for name in _WORDS:
            if hasattr(constraint, name):
                limits[name] = getattr(constraint, name)
    words = " and ".join(
        f"{_WORDS[name]} {limits[name]:g}" for name in _WORDS if name in limits and limits[name] is not None
    )
    return f"must be {words}, got {shown(found)}"


def _unknown(parts: list[str]) -> str:
    allowed = sorted(_names_at(parts[:-1]))
    here = parts[-1]
    everywhere = list(_all_keys(Study))
    homes = [key for key in everywhere if key.split(".")[-1] == here]
    called = nearest(here, [*allowed, *everywhere], cutoff=1)
    meant = f"; did you mean {homes[0]!r}?" if homes else called or nearest(here, allowed)
    return f"is not a key of a study{meant} (allowed here: {', '.join(allowed)})"


def _names_at(parts: list[str]) -> set[str]:
    model: Any = Study
    for part in parts:
        model = _below(model, part)
    return set(model.model_fields) - ({"name", "budget"} if model is Study else set())


def _below(kind: Any, part: str) -> Any:
    """What stands under a key of a model, or of a table of models."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_fields[part].annotation
    inner = get_args(kind)[1]
    return Span if kind == Study.model_fields["factors"].annotation else inner


def _all_keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _all_keys(field.annotation, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _field(parts: list[str]) -> Any:
    model: Any = Study
    field = None
    for part in parts:
        if isinstance(model, type) and issubclass(model, BaseModel):
            if part not in model.model_fields:
                break
            field = model.model_fields[part]
        elif get_origin(model) is not dict:
            break
        model = _below(model, part)
    return field


def _choices(parts: list[str]) -> list[str]:
    """The texts that the Literal at this key allows, however it is wrapped."""
    waiting, found = [_field(parts).annotation], []
    while waiting:
        for part in get_args(waiting.pop()):
            found.append(part) if isinstance(part, str) else waiting.append(part)
    return found


def short(value: object) -> str:
    """A value as text, cut to what fits a line."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def shown(value: object) -> str:
    """A value as it would be written in a file, cut to what fits a line."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(short(value)) if isinstance(value, str) else short(value)
