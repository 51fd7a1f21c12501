"""The studies there are, each in its budgets, with what it takes: for the table and for programs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import StudyError

if TYPE_CHECKING:
    from ablate.design.forecast import Forecast
    from ablate.design.study import Study

QUICK = "quick"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A study in one of its budgets.

    Attributes:
        study: as read.
        path: of its file.
        expected: what it takes; None where its data are not known here.
        done: how many of its trials have a record.
        named: whether its name reaches it.
    """

    study: Study
    path: Path
    expected: Forecast | None
    done: int
    named: bool = True

    @property
    def command(self) -> str:
        """The command that runs it."""
        budget = "" if self.study.budget == QUICK else f" --budget {self.study.budget}"
        return f"python -m ablate.study {self.study.name if self.named else shlex.quote(str(self.path))}{budget}"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All studies that a name reaches, or those of a folder; ``problems`` of those that cannot be read.

    ``jobs``: trials at a time.
    ``asked`` is a sentence on what all campaigns of the runs folder asked and found; empty where there is none.
    """

    jobs: int
    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    asked: str = ""


def listing(
    jobs: int,
    budget: str,
    overrides: Mapping[str, object],
    done: Callable[[Study], int],
    asked: str = "",
    folder: Path | None = None,
) -> Listing:
    """Every study that a name reaches, or of a folder, a row a budget.

    Args:
        jobs: trials at a time, for the estimate of time.
        budget: which budget; ``quick`` lists all of them.
        overrides: fields that are changed, by dotted key.
        done: how many trials of a study have a record already.
        asked: what all campaigns of the runs folder asked and found.
        folder: whose study files are listed.
    """
    from ablate.design.forecast import rough_forecast
    from ablate.design.read import list_studies, load_budgets, load_study

    rows: list[Row] = []
    problems: list[str] = []
    for path in list_studies(folder):
        try:
            one = {} if budget == QUICK else {budget: load_study(path, budget=budget, overrides=overrides)}
            for study in (one or load_budgets(path, overrides=overrides)).values():
                expected = rough_forecast(study, jobs=jobs)
                rows.append(Row(study=study, path=path, expected=expected, done=done(study), named=folder is None))
        except StudyError as error:
            problems.append(str(error))
    return Listing(jobs=jobs, rows=tuple(rows), problems=tuple(problems), asked=asked)
