"""Files of other versions: a field that an older one lacks has its default, an unknown one is refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from ablate.errors import AblateError

T = TypeVar("T")


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


def build(kind: type[T], plain: Mapping[str, Any], what: str) -> T:
    """A dataclass from the fields that a file holds.

    Args:
        kind: the dataclass; fields that are missing in ``plain`` have their defaults.
        plain: field names to values.
        what: of which file, for an error, with its format: "record of format 1".

    Raises:
        AblateError: an unknown field.
    """
    refuse_unknown(set(plain) - {field.name for field in dataclasses.fields(kind)}, kind.__name__, what)  # type: ignore[arg-type]
    return kind(**plain)


def refuse_unknown(names: Iterable[str], place: str, what: str) -> None:
    """Raises an AblateError if there are any ``names``: fields of ``place`` that only a newer version knows."""
    if unknown := sorted(names):
        told = f"{'fields' if unknown[1:] else 'field'} {', '.join(map(repr, unknown))}"
        raise AblateError(
            f"the {what} has the {told} in {place}, unknown to this version of ablate: a newer version wrote it"
        )
