"""A study's tables, laid over each other (file, budget, command line), validated once; each error has its layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ablate.design.arms import Images
from ablate.design.consistency import data_errors, expect_errors, study_errors
from ablate.design.imported import PATTERN
from ablate.design.levels import stability_errors
from ablate.design.study import Study
from ablate.design.unmatched import unmatched_arms
from ablate.design.validation import FieldError, FieldsError, field_errors
from ablate.errors import Problem

MAX_DEPTH = 8
# Stand-ins while the data are not known yet: which nets are the same, and what they allow, does not depend on them.
_ANY_IMAGES = Images(channels=3, num_classes=10)
Table = dict[str, Any]


@dataclass(frozen=True)
class Layer:
    """Tables that were written in one place.

    Attributes:
        where: the file, or the command line option.
        tables: as read.
        above: the key that they stand under: ``budget.full.`` for a budget of the file.
    """

    where: str
    tables: Table
    above: str = ""

    def touches(self, key: str) -> bool:
        """Whether ``key``, something above it or something below it is written here."""
        written = (".".join(leaf) for leaf, _ in leaves(self.tables))
        return any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in written)

    def problem(self, error: FieldError) -> Problem:
        """An error of a key that is written here."""
        return Problem(self.where, f"{self.above}{printable(error.key)}", error.message)


_SEEN: dict[tuple[str, str, str], tuple[Study | None, list[FieldError]]] = {}


def validated(name: str, budget: str, layers: Sequence[Layer]) -> tuple[Study | None, list[Problem]]:
    """The study that the layers make, or None; and what is wrong with it, each under the layer that wrote it.

    Args:
        name: the study's.
        budget: its name.
        layers: the file first; a later one is laid over those before it.
    """
    tables: Table = {}
    for layer in layers:
        tables = merge(tables, layer.tables)
    written = name, budget, repr(tables)
    own = "command" in tables or any(_names_code(value) for _, value in leaves(tables))  # it may have changed since
    # a list of studies reads each file once a budget, and each reading checks all budgets
    if own or written not in _SEEN:
        _SEEN[written] = _checked(name, budget, tables)
    study, errors = _SEEN[written]
    return study, [_layer_of(error.key, layers).problem(error) for error in errors]


def _names_code(value: object) -> bool:
    texts = value if isinstance(value, list | tuple) else (value,)
    return any(isinstance(text, str) and re.fullmatch(PATTERN, text) for text in texts)


def _layer_of(key: str, layers: Sequence[Layer]) -> Layer:
    """The last layer that wrote this key or, of a key that nobody wrote, the nearest table around it."""
    while key:
        for layer in reversed(layers):
            if layer.touches(key):
                return layer
        key = key.rpartition(".")[0]
    return layers[0]


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """``above`` laid over ``below``: tables are merged, anything else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = merge(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return merged


def leaves(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key with its value; of a table deeper than ``MAX_DEPTH`` only the first key that is too deep."""
    for name, value in table.items():
        key = (*above, name)
        if isinstance(value, Mapping) and value and len(key) <= MAX_DEPTH:
            yield from leaves(value, key)
        else:
            yield key, value


def nested(key: str, value: object) -> Table | None:
    """``{"recipe": {"lr": value}}`` of ``recipe.lr``; None where that is no key."""
    parts = key.split(".")
    if not all(parts) or len(parts) > MAX_DEPTH:
        return None
    table: Any = value
    for part in reversed(parts):
        table = {part: table}
    return dict(table)


def printable(key: str) -> str:
    """A key on one line, whatever the file calls it."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in key) or '""'


def _checked(name: str, budget: str, tables: Table) -> tuple[Study | None, list[FieldError]]:
    """The study that the tables make, or None; and every error of them."""
    errors = [
        FieldError(key, "is not written in the file: its name is the study's, and --budget chooses the budget")
        for key in ("name", "budget")
        if key in tables
    ]
    written = known = {**tables, "name": name, "budget": budget}
    study = None
    # A table that is wrong is taken out, so that what stands beside it is checked in the same answer.
    while study is None:
        try:
            study = Study.model_validate(known)
        except ValidationError as error:
            errors += field_errors(error)
            known = _without(known, error)
    # Where something was taken out, what is left may seem to lack it: only what a leaf says of itself counts.
    errors += [error for error in _contradictions(study) if known is written or _stands_alone(error, known, written)]
    return (study if known is written else None), errors


def _contradictions(study: Study) -> list[FieldError]:
    errors = data_errors(study)
    try:
        arms = unmatched_arms(study, _ANY_IMAGES)
    except FieldsError as error:
        return [*errors, *error.errors, *study_errors(study)]
    return [
        *errors,
        *study_errors(study, arms),
        *expect_errors(study, arms),
        *stability_errors(study, arms, _ANY_IMAGES),
    ]


def _stands_alone(error: FieldError, known: Table, written: Table) -> bool:
    table, dot, _ = error.key.partition(".")
    if table == "search" and known.get("search") != written.get("search"):
        return False  # one of its other keys is wrong
    if table == "tuning" and known.get("recipe") != written.get("recipe"):
        return False  # its ranges are compared with the recipe
    return bool(dot) and table != "expect"


def _without(tables: Table, error: ValidationError) -> Table:
    """The tables without what is wrong: an arm, a factor or an expectation alone, else the whole table."""
    left = dict(tables)
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        top, *below = map(str, detail["loc"])
        if top in ("arms", "factors", "expect") and below and below[0] in _named(left.get(top)):
            left[top] = {name: value for name, value in left[top].items() if name != below[0]}
        else:
            left.pop(top, None)
    return left


def _named(table: Any) -> Mapping[str, Any]:
    """A table by the names under which it is checked; a dotted one that is written as a table is not among them."""
    return table if isinstance(table, dict) else {}


def too_deep(table: Mapping[str, Any]) -> Iterable[str]:
    """The names of the top tables that are more than ``MAX_DEPTH`` deep."""
    return (key[0] for key, value in leaves(table) if len(key) > MAX_DEPTH or (isinstance(value, Mapping) and value))
