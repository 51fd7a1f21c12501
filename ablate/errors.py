"""The errors a user can cause. The commands print them without a traceback and exit with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class AblateError(Exception):
    """Something the user can mend; the message says what and how.

    ``resumable``: the same command goes on from where this stopped it.
    """

    resumable = False


@dataclass(frozen=True)
class Problem:
    """One fault in something a user wrote: where it stands, what was found, what is allowed."""

    where: str  # a file, or the command line option
    key: str  # dotted, as written: "plan.seeds"
    message: str  # "must be at least 1, got 0"

    def __str__(self) -> str:
        return f"{self.where}: {self.key} {self.message}" if self.key else f"{self.where}: {self.message}"


class StudyError(AblateError):
    """Every problem of a study file in one answer."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SpecError(AblateError, ValueError):
    """A field of an architecture spec holds a value that is not allowed."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field} {message}")


class DataError(AblateError):
    """A data set is missing, damaged or of the wrong shape; the message says how to get it."""


def nearest(wrong: str, allowed: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the allowed name nearest to ``wrong``, or nothing."""
    found = difflib.get_close_matches(wrong, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def one_of(wrong: object, allowed: Iterable[str]) -> str:
    """``"must be one of a, b; got 'c'; did you mean 'b'?"``."""
    names = list(allowed)
    return f"must be one of {', '.join(names)}; got {wrong!r}{nearest(str(wrong), names)}"
