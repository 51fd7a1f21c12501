"""Fields that a file holds: one that an older version lacks has its default, an unknown or mistyped one is refused."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from ablate.errors import AblateError

T = TypeVar("T")
Test = Callable[[Any], bool]
SURROGATE = re.compile(r"\\ud[89a-f]|[\ud800-\udfff]", re.IGNORECASE)
LARGEST = 2**63  # a longer whole number overflows where numpy or sqlite takes it


def check_format(what: str, found: object, known: int) -> None:
    """Whether this version reads files of this format.

    Raises:
        AblateError: it is higher than ``known``, or no format at all; names both numbers.
    """
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise AblateError(f"not a {what}: its format must be a whole number from 1 to {known}, got {found!r}")
    if found > known:
        raise AblateError(
            f"the {what} has format {found}, but this version of ablate reads formats up to {known}: "
            "a newer version wrote it"
        )


def parse(text: str | bytes) -> Any:
    """JSON that anybody may have written; halves of surrogate pairs, which no text has, are replaced.

    Raises:
        ValueError: it is no JSON, no UTF-8, or nested too deeply.
    """
    try:
        found = json.loads(text)
        written = text if isinstance(text, str) else text.decode()
        plain = written.isascii() and "\\ud" not in written.lower()  # told sooner than by a search for halves
        return found if plain or not SURROGATE.search(written) else _mended(found)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _mended(found: Any) -> Any:
    if isinstance(found, str):
        return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(found, dict):
        return {_mended(name): _mended(value) for name, value in found.items()}
    return [_mended(value) for value in found] if isinstance(found, list) else found


def build(kind: type[T], plain: Mapping[str, Any], what: str) -> T:
    """A dataclass from the fields that a file holds.

    Args:
        kind: the dataclass; fields that are missing in ``plain`` have their defaults.
        plain: field names to values.
        what: of which file, for an error, with its format: "record of format 1".

    Raises:
        AblateError: an unknown field, or a value of another type than the field's.
    """
    tests = _tests(kind)  # type: ignore[arg-type]
    refuse_unknown(plain.keys() - tests.keys(), kind.__name__, what)
    for name, value in plain.items():
        expected, test = tests[name]
        if not test(value):
            raise AblateError(f"the {what} is damaged: {name} in {kind.__name__} must be {expected}, got {value!r:.60}")
    lists = {name: tuple(plain[name]) for name in _tuples(kind) if name in plain}  # type: ignore[arg-type]
    return kind(**{**plain, **lists})


def refuse_unknown(names: Iterable[str], place: str, what: str) -> None:
    """Raises an AblateError if there are any ``names``: fields of ``place`` that only a newer version knows."""
    if unknown := sorted(names):
        told = f"{'fields' if unknown[1:] else 'field'} {', '.join(map(repr, unknown))}"
        raise AblateError(
            f"the {what} has the {told} in {place}, unknown to this version of ablate: a newer version wrote it"
        )


@functools.cache
def _tests(kind: Any) -> dict[str, tuple[str, Test]]:
    """For each field of a dataclass its type as written, and whether a value is of it."""
    names = vars(sys.modules[kind.__module__])
    return {field.name: (str(field.type), _test(_evaluated(field.type, names))) for field in dataclasses.fields(kind)}


@functools.cache
def _tuples(kind: Any) -> list[str]:
    """The fields that are tuples, for which JSON has lists."""
    return [name for name, (written, _) in _tests(kind).items() if written.startswith("tuple[")]


def _evaluated(written: Any, names: dict[str, Any]) -> Any:
    try:
        return eval(written, names) if isinstance(written, str) else written  # noqa: S307 - our own source
    except NameError:  # imported for the type checker alone: a part that our code built before, not text of a file
        return Any


def _test(kind: Any) -> Test:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        tests = [_test(one) for one in inner]
        return lambda value: any(test(value) for test in tests)
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in inner
    if origin is tuple:
        item = _test(inner[0])
        return lambda value: isinstance(value, tuple | list) and all(map(item, value))  # JSON has lists
    if isinstance(origin, type) and issubclass(origin, Mapping):
        name, content = map(_test, inner)
        return lambda value: isinstance(value, origin) and all(map(name, value)) and all(map(content, value.values()))
    return _SIMPLE.get(kind, lambda value: kind is Any or not isinstance(kind, type) or isinstance(value, kind))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST


_SIMPLE: dict[Any, Test] = {
    int: _is_whole,
    float: lambda value: isinstance(value, float) or _is_whole(value),
    NoneType: lambda value: value is None,
}
