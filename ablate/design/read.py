"""From a study file to a Study, with every problem of the file in one answer."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from ablate.design.layered import MAX_DEPTH, Layer, Table, merge, nested, printable, too_deep, validated
from ablate.design.source import look_in
from ablate.design.study import NAME_PATTERN, NAME_RULE, QUICK, Study
from ablate.errors import Problem, StudyError, nearest

OVERRIDE = "--set"
MAX_BYTES = 64 * 1024
MAX_LINE = 2000
_REPOSITORY = Path(__file__).resolve().parents[2]


def study_folders() -> tuple[Path, ...]:
    """Where studies are looked for, in this order: here, in the installed package, beside a package in its checkout."""
    checkout = (_REPOSITORY / "studies",) if (_REPOSITORY / "pyproject.toml").is_file() else ()
    return (Path("studies"), _REPOSITORY / "ablate" / "studies", *checkout)


def list_studies(folder: Path | None = None) -> list[Path]:
    """The study files of a folder, by name; of none those that a name reaches.

    One in ./studies hides a shipped one of the same name.
    """
    found: dict[str, Path] = {}
    for place in [folder] if folder else study_folders():
        if place.is_dir():
            for path in place.glob("*.toml"):
                if re.fullmatch(NAME_PATTERN, path.stem) and path.name != "pyproject.toml":
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
    if re.fullmatch(NAME_PATTERN, name_or_path) and (here := Path(f"{name_or_path}.toml")).is_file():
        message = (
            f"there is no study of this name in ./studies or among the shipped ones; for the file here, give {here}"
        )
        raise StudyError([Problem(f"study {name_or_path!r}", "", message)])
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
        budget: "quick" is the file itself; another name applies its [budget.NAME] table to it.
        overrides: dotted keys that are applied last, such as {"recipe.lr": 0.01}.

    Raises:
        StudyError: the file, a budget or an override has problems; the message lists all of them.

    Example:
        >>> import ablate
        >>> study = ablate.load_study("linear_bottleneck", overrides={"recipe.lr": 0.01})
        >>> study.recipe.lr, list(study.arms)
        (0.01, ['relu_bottleneck'])
    """
    path = find_study(name_or_path) if isinstance(name_or_path, str) else name_or_path
    return _loaded(path, budget, overrides or {})[budget]


def load_budgets(path: Path, *, overrides: Mapping[str, object] | None = None) -> dict[str, Study]:
    """The study in each of its budgets, ``quick`` first; the overrides are applied to all of them.

    Raises:
        StudyError: the file, a budget or an override has problems; the message lists all of them.
    """
    return _loaded(path, None, overrides or {})


def _loaded(path: Path, budget: str | None, overrides: Mapping[str, object]) -> dict[str, Study]:
    """Every budget, each of them checked; with the overrides in ``budget``, or in all where that is None."""
    where = str(path)
    tables = read_toml(path)
    look_in(path.parent)
    if not re.fullmatch(NAME_PATTERN, path.stem):
        raise StudyError([Problem(where, "", f"{NAME_RULE}, before .toml: that is the study's name")])
    budgets, problems = _split_budgets(tables, where)
    names = dict.fromkeys([QUICK, *budgets])
    if budget is not None and budget not in names:
        message = f"has no budget {budget!r}{nearest(budget, list(names))} (there are: {', '.join(names)})"
        raise StudyError([*problems, Problem(where, "", message)])
    set_here, bad_keys = _overrides(overrides)
    problems += bad_keys
    studies: dict[str, Study] = {}
    for name in dict.fromkeys([budget or QUICK, *names]):
        layers = [Layer(where, tables), Layer(where, budgets.get(name, {}), f"budget.{name}.")]
        study, found = validated(path.stem, name, [*layers, set_here] if budget in (None, name) else layers)
        problems += found
        if study is not None:
            studies[name] = study
    if problems:
        raise StudyError(dict.fromkeys(problems))
    return studies


def _overrides(written: Mapping[str, object]) -> tuple[Layer, list[Problem]]:
    tables: Table = {}
    problems = []
    for key, value in written.items():
        table = nested(key, value)
        if table is None:
            problems.append(Problem(OVERRIDE, printable(key), "must be a dotted key such as recipe.lr"))
        else:
            tables = merge(tables, table)
    return Layer(OVERRIDE, tables), problems


def read_toml(path: Path) -> Table:
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
    for name in too_deep(tables):
        raise _broken(path, f"must be at most {MAX_DEPTH} tables deep, {name} is deeper")
    return tables


def _broken(path: Path, message: str) -> StudyError:
    return StudyError([Problem(str(path), "", message)])


def _split_budgets(tables: Table, where: str) -> tuple[dict[str, Table], list[Problem]]:
    """Takes [budget] out of the tables; a budget that is no table is a problem."""
    written = tables.pop("budget", {})
    if not isinstance(written, dict):
        return {}, [Problem(where, "budget", f"must be tables [budget.NAME], got {written!r}")]
    budgets, problems = {}, []
    for name, table in written.items():
        if not isinstance(table, dict):
            problems.append(Problem(where, f"budget.{name}", f"must be a table, got {table!r}"))
        elif not re.fullmatch(NAME_PATTERN, name):
            problems.append(Problem(where, f"budget.{name}", NAME_RULE))
        else:
            budgets[name] = table
    return budgets, problems
