"""From a study file to a Study, with every problem of the file in one answer."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from ablate.design.arms import ArmsError, Fault, Images
from ablate.design.datasets import KNOWN
from ablate.design.drafts import draft_arms
from ablate.design.faults import plain_faults
from ablate.design.study import NAME_PATTERN, Matched, Study
from ablate.design.tuning import tuning_faults
from ablate.errors import Problem, StudyError, nearest, one_of

QUICK = "quick"
OVERRIDE = "--set"
MAX_BYTES = 64 * 1024
MAX_LINE = 2000
MAX_DEPTH = 8
_REPOSITORY = Path(__file__).resolve().parents[2]
# Stand-ins while the data are not known yet: which nets are the same, and what they allow, does not depend on them.
_ANY_IMAGES = Images(channels=3, num_classes=10)
_Table = dict[str, Any]


def study_folders() -> tuple[Path, ...]:
    """Where studies are looked for, in this order: here, in the installed package, beside a package in its checkout."""
    checkout = (_REPOSITORY / "studies",) if (_REPOSITORY / "pyproject.toml").is_file() else ()
    return (Path("studies"), _REPOSITORY / "ablate" / "studies", *checkout)


def list_studies() -> list[Path]:
    """The study files that a name reaches, by name; one in ./studies hides a shipped one of the same name."""
    found: dict[str, Path] = {}
    for folder in study_folders():
        if folder.is_dir():
            for path in folder.glob("*.toml"):
                if re.fullmatch(NAME_PATTERN, path.stem):
                    found.setdefault(path.stem, path)
    return [found[name] for name in sorted(found)]


def find_study(name_or_path: str) -> Path:
    """The file of a study: by name from the study folders, else a path (one that ends in .toml or has a slash).

    Raises:
        StudyError: there is none; names the nearest, or those that there are.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path or "\\" in name_or_path:
        return Path(name_or_path)
    found = {path.stem: path for path in list_studies()}
    if name_or_path in found:
        return found[name_or_path]
    names = ", ".join(found) or "none"
    message = (
        f"there is no such study{nearest(name_or_path, found)} (there are: {names}; or give the path of a .toml file)"
    )
    raise StudyError([Problem(f"study {name_or_path!r}", "", message)])


def load_study(
    name_or_path: str | Path,
    *,
    budget: str = QUICK,
    overrides: Mapping[str, object] | None = None,
) -> Study:
    """Reads and checks a study file.

    Args:
        name_or_path: "linear_bottleneck", or the path of a .toml file.
        budget: "quick" is the file as it stands; another is its [budget.NAME] table laid over it.
        overrides: dotted keys laid over both, such as {"recipe.lr": 0.01}.

    Raises:
        StudyError: every problem of the file, of its budgets and of the overrides.
    """
    path = find_study(name_or_path) if isinstance(name_or_path, str) else name_or_path
    where = str(path)
    tables = read_toml(path)
    if not re.fullmatch(NAME_PATTERN, path.stem):
        message = (
            "must have a name of letters, digits, '_', '.', '+' and '-' (at most 64) before .toml: it names the study"
        )
        raise StudyError([Problem(where, "", message)])
    budgets, problems = _split_budgets(tables, where)
    if budget != QUICK and budget not in budgets:
        there = ", ".join(dict.fromkeys([QUICK, *budgets]))
        message = f"has no budget {budget!r}{nearest(budget, [QUICK, *budgets])} (there are: {there})"
        raise StudyError([*problems, Problem(where, "", message)])
    study, faults = _study(path, tables, budgets.get(budget, {}), budget, overrides or {})
    problems += faults
    for other in (name for name in (QUICK, *budgets) if name != budget):
        problems += _study(path, tables, budgets.get(other, {}), other, {})[1]
    if study is None or problems:
        raise StudyError(dict.fromkeys(problems))
    return study


def budget_names(path: Path) -> tuple[str, ...]:
    """The budgets of a study file, ``quick`` first.

    Raises:
        StudyError: not a readable TOML file, or a budget that is not allowed.
    """
    budgets, problems = _split_budgets(read_toml(path), str(path))
    if problems:
        raise StudyError(problems)
    return tuple(dict.fromkeys([QUICK, *budgets]))


def read_toml(path: Path) -> _Table:
    """The tables of a TOML file.

    Raises:
        StudyError: not a readable file, not UTF-8, not TOML (with line and column), too large or too deep.
    """
    try:
        if not path.is_file():
            raise _broken(path, "is not a file" if path.exists() else "there is no such file")
        if path.stat().st_size > MAX_BYTES:
            raise _broken(path, f"must be at most {MAX_BYTES} bytes, got {path.stat().st_size}")
        text = path.read_bytes().decode()
        # A dotted key lies on one line, and takes tomllib the square of its length: 30 s for one of 64 KiB.
        if max(map(len, text.splitlines()), default=0) > MAX_LINE:
            raise _broken(path, f"must have lines of at most {MAX_LINE} characters")
        tables = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise _broken(path, f"must be UTF-8 text; byte {error.start} is not") from error
    except RecursionError as error:
        raise _broken(path, f"must be at most {MAX_DEPTH} tables deep") from error
    except OSError as error:
        raise _broken(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # TOMLDecodeError, a number of thousands of digits, a NUL in the path
        raise _broken(path, f"is not valid TOML: {error}") from error
    for key, value in _leaves(tables):
        if len(key) > MAX_DEPTH or value is _TOO_DEEP:
            raise _broken(path, f"must be at most {MAX_DEPTH} tables deep, {key[0]} is deeper")
    return tables


def _broken(path: Path, message: str) -> StudyError:
    return StudyError([Problem(str(path), "", message)])


_TOO_DEEP = object()


def _leaves(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        key = (*above, name)
        if isinstance(value, Mapping) and value:
            if len(key) > MAX_DEPTH:
                yield key, _TOO_DEEP
            else:
                yield from _leaves(value, key)
        else:
            yield key, value


def _split_budgets(tables: _Table, where: str) -> tuple[dict[str, _Table], list[Problem]]:
    """Takes [budget] out of the tables; a budget that is no table is a problem."""
    written = tables.pop("budget", {})
    if not isinstance(written, dict):
        return {}, [Problem(where, "budget", f"must be tables [budget.NAME], got {written!r}")]
    budgets, problems = {}, []
    for name, table in written.items():
        if not isinstance(table, dict):
            problems.append(Problem(where, f"budget.{name}", f"must be a table, got {table!r}"))
        elif not re.fullmatch(NAME_PATTERN, name):
            problems.append(
                Problem(where, f"budget.{name}", "must be named with letters, digits, '_', '.', '+' and '-'")
            )
        else:
            budgets[name] = table
    return budgets, problems


def _study(
    path: Path, tables: _Table, budget: _Table, budget_name: str, overrides: Mapping[str, object]
) -> tuple[Study | None, list[Problem]]:
    """The study of one budget, or None; and what is wrong with it, each under the place where it was written."""
    problems = []
    set_here: _Table = {}
    for key, value in overrides.items():
        parts = key.split(".")
        if all(parts) and len(parts) <= MAX_DEPTH:
            set_here = merge(set_here, _nested(parts, value))
        else:
            problems.append(Problem(OVERRIDE, _printable(key), "must be a dotted key such as recipe.lr"))
    layers = [tables, merge(tables, budget)]
    layers.append(merge(layers[-1], set_here))
    in_file, in_budget = (set(_checked(path.stem, budget_name, layer)[1]) for layer in layers[:2])
    study, faults = _checked(path.stem, budget_name, layers[-1])
    for fault in faults:
        key = _printable(fault.key)
        if fault not in in_file | in_budget and _touches(overrides, fault.key):
            problems.append(Problem(OVERRIDE, key, fault.message))
        elif fault not in in_file and _touches({".".join(leaf) for leaf, _ in _leaves(budget)}, fault.key):
            problems.append(Problem(str(path), f"budget.{budget_name}.{key}", fault.message))
        else:
            problems.append(Problem(str(path), key, fault.message))
    return study, problems


def _touches(written: Iterable[str], key: str) -> bool:
    """Whether ``key``, something above it or something below it was written here."""
    return any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in written)


def _printable(key: str) -> str:
    """A key on one line, whatever the file calls it."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in key) or '""'


def _nested(parts: list[str], value: object) -> _Table:
    for part in reversed(parts):
        value = {part: value}
    return value  # type: ignore[return-value]  # there is at least one part


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> _Table:
    """``above`` laid over ``below``: tables are merged, anything else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = merge(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return merged


def _checked(name: str, budget_name: str, tables: _Table) -> tuple[Study | None, list[Fault]]:
    """The study that the tables make, or None; and every fault of them."""
    faults = [
        Fault(key, "is not written in the file: its name is the study's, and --budget chooses the budget")
        for key in ("name", "budget")
        if key in tables
    ]
    known = {**tables, "name": name, "budget": budget_name}
    study = None
    # A table that is wrong is taken out, so that what stands beside it is checked in the same answer.
    while study is None:
        try:
            study = Study.model_validate(known)
        except ValidationError as error:
            faults += plain_faults(error)
            known = _without(known, error)
    whole = known == {**tables, "name": name, "budget": budget_name}
    faults += _data_faults(study)
    if known.get("recipe") == tables.get("recipe"):
        faults += tuning_faults(study)
    try:
        arms = [draft.name for draft in draft_arms(study, _ANY_IMAGES)]
    except ArmsError as error:
        # Where something was taken out, what is left may seem to lack it: only what a leaf says of itself counts.
        faults += [fault for fault in error.faults if whole or "." in fault.key]
    else:
        faults += _expect_faults(study, arms) if whole else []
    return (study if whole else None), faults


def _without(tables: _Table, error: ValidationError) -> _Table:
    """The tables without what is wrong: an arm, a factor or an expectation alone, else the whole table."""
    left = dict(tables)
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        top, *below = map(str, detail["loc"])
        if top in ("arms", "factors", "expect") and below and isinstance(left.get(top), dict):
            left[top] = {name: value for name, value in left[top].items() if name != below[0]}
        else:
            left.pop(top, None)
    return left


def _data_faults(study: Study) -> list[Fault]:
    if study.data.name in KNOWN or study.data.name.endswith(".npz"):
        return []
    return [Fault("data.name", f"{one_of(study.data.name, KNOWN)} (or the path of an .npz file of your own)")]


def _expect_faults(study: Study, arms: list[str]) -> list[Fault]:
    """An expectation must be of an arm, of an arm at equal cost (``NAME@macs``), or of a factor or two (``a:b``).

    Whether this budget matches, and what, may differ from the one that the expectation was written for.
    """
    names = arms[1:]
    costs = get_args(Matched) if "@" in "".join(study.expect) else ()
    names += [f"{name}@{cost}" for cost in costs if cost != "none" for name in arms[1:]]
    names += [*study.factors, *(f"{one}:{two}" for one, two in itertools.combinations(study.factors, 2))]
    return [
        Fault(
            f"expect.{name}", f"is not an arm of this study{nearest(name, names)} (arms: {', '.join(names) or 'none'})"
        )
        for name in study.expect
        if name not in names
    ]
