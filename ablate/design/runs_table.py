"""Reads a table of runs that were trained elsewhere, one row per run, and states exactly what is wrong with a bad one.

CSV, JSON lines and Parquet. Every value that is used is checked, with its row and column; other columns are not looked
at.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.design.record import LARGEST
from ablate.errors import AblateError, nearest, one_of

FORMATS = (".csv", ".jsonl", ".parquet")
MAX_NAME = 200  # characters of an arm's or a data set's name
_SEED = re.compile(r"[+-]?[0-9]{1,18}")
Row = Mapping[str, object]
# data set ("" where there is one alone) -> arm -> seed -> metric
Runs = dict[str, dict[str, dict[int, float]]]


class RunsError(AblateError):
    """A table of runs that cannot be judged; the message names file, row, column, value and what is allowed."""


@dataclass(frozen=True)
class Table:
    """Rows as they were read, nothing checked yet.

    Attributes:
        where: the file, or whatever else a message should name.
        columns: every column there is.
        rows: each with its place ("line 7", "row 3") and its cells by column.
    """

    where: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, Row], ...]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column is what. ``data_set`` is "" where all runs are on one data set."""

    metric: str
    arm: str = "arm"
    seed: str = "seed"
    data_set: str = ""


def read_table(path: Path) -> Table:
    """The rows of a CSV (.csv), JSON lines (.jsonl) or Parquet (.parquet) file.

    Raises:
        RunsError: the file is missing, of another kind, damaged or empty.
    """
    readers: dict[str, Callable[[Path, bytes], Table]] = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
    kind = path.suffix.lower()
    if kind not in readers:
        raise RunsError(f"{path}: the file's ending {one_of(kind, FORMATS)}")
    table = readers[kind](path, _bytes(path))
    if not table.rows:
        raise RunsError(f"{path}: holds no runs; a row a run is needed, with the columns arm, seed and a metric")
    return table


def select(table: Table, conditions: Mapping[str, str]) -> Table:
    """The rows whose columns hold these values, as text.

    Raises:
        RunsError: there is no such column, or no such row.
    """
    for column, value in conditions.items():
        _check_column(table, column, "--where")
        kept = tuple((place, row) for place, row in table.rows if _text(row.get(column)) == value)
        if not kept:
            there = sorted({_text(row.get(column)) for _, row in table.rows})
            raise RunsError(
                f"{table.where}: no row has {column} = {value!r}{nearest(value, there)} (there: {_some(there)})"
            )
        table = Table(table.where, table.columns, kept)
    return table


def runs_of(table: Table, columns: Columns) -> Runs:
    """The metric of every run, by data set, arm and seed.

    Raises:
        RunsError: a column is missing, a cell is empty, not a finite number or not a seed, or a run appears twice.
    """
    for option, column in (
        ("--arm-column", columns.arm),
        ("--seed-column", columns.seed),
        ("--metric", columns.metric),
        *([("--by", columns.data_set)] if columns.data_set else []),
    ):
        _check_column(table, column, option)
    _check_distinct(table, columns)
    runs: Runs = {}
    places: dict[tuple[str, str, int], str] = {}
    for place, row in table.rows:
        here = f"{table.where}, {place}"
        data_set = _name(row, columns.data_set, here) if columns.data_set else ""
        arm, seed = _name(row, columns.arm, here), _seed(row, columns.seed, here)
        value = _number(row, columns.metric, here)
        first = places.setdefault((data_set, arm, seed), place)
        if first != place:
            on = f" on {columns.data_set} {data_set}" if columns.data_set else ""
            raise RunsError(
                f"{here}: arm {arm!r} has seed {seed} twice{on}, first in {first}; a run with the same seed is a "
                "repeat and no independent run. Keep one row a seed, or select the rows that belong together with "
                "--where or --by"
            )
        runs.setdefault(data_set, {}).setdefault(arm, {})[seed] = value
    return runs


def check_arms(runs: Runs, where: str, control: str, also: Sequence[tuple[str, str]] = ()) -> None:
    """Whether there is something to compare.

    Args:
        runs: as read.
        where: for messages.
        control: the control's name.
        also: further arms that an option names: (option, arm).

    Raises:
        RunsError: no control, no second arm, or no control on one of the data sets.
    """
    arms = list(dict.fromkeys(arm for by_arm in runs.values() for arm in by_arm))
    for option, name in (("--control", control), *also):
        if name not in arms:
            raise RunsError(f"{where}: {option} {one_of(name, arms)}")
    if len(arms) < 2:
        raise RunsError(f"{where}: has one arm alone, {arms[0]!r}; a control and at least one other arm are needed")
    for data_set, by_arm in runs.items():
        if control not in by_arm:
            raise RunsError(f"{where}: the data set {data_set!r} has no run of the control {control!r}")


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise RunsError(f"{path}: is not a file")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise RunsError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise RunsError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not content.strip():
        raise RunsError(f"{path}: is empty; a row a run is needed, with the columns arm, seed and a metric")
    return content


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RunsError(
            f"{path}, line {line}: must be UTF-8 text, got the byte 0x{content[error.start]:02x}"
        ) from error


def _csv(path: Path, content: bytes) -> Table:
    reader = csv.reader(io.StringIO(_decoded(path, content), newline=""), strict=True)
    rows: list[tuple[str, Row]] = []
    columns: tuple[str, ...] = ()
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            place = f"line {reader.line_num}"
            if not columns:
                columns = _header(path, tuple(cell.strip() for cell in cells))
                continue
            if len(cells) != len(columns):
                raise RunsError(f"{path}, {place}: must have {len(columns)} cells, as the header has, got {len(cells)}")
            rows.append((place, dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        raise RunsError(f"{path}, line {reader.line_num}: is no CSV: {error}") from error
    return Table(str(path), columns, tuple(rows))


def _header(path: Path, columns: tuple[str, ...]) -> tuple[str, ...]:
    doubled = next((name for name in columns if name and columns.count(name) > 1), None)
    if doubled:
        raise RunsError(f"{path}, line 1: the column {doubled!r} appears twice; each column needs its own name")
    return columns


def _json_lines(path: Path, content: bytes) -> Table:
    rows: list[tuple[str, Row]] = []
    columns: dict[str, None] = {}
    for number, line in enumerate(_decoded(path, content).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise RunsError(f"{path}, line {number}: is no JSON object: {error}") from error
        if not isinstance(row, dict):
            raise RunsError(f"{path}, line {number}: must be a JSON object, got {_shown(row)}")
        columns |= dict.fromkeys(row)
        rows.append((f"line {number}", row))
    return Table(str(path), tuple(columns), tuple(rows))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} appears twice")
    return found


def _parquet(path: Path, content: bytes) -> Table:
    import pandas as pd

    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except ImportError as error:
        raise RunsError(f"{path}: reading Parquet needs the package pyarrow: python -m pip install pyarrow") from error
    except Exception as error:  # pyarrow raises almost anything, given the wrong bytes
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise RunsError(f"{path}: is damaged, or no Parquet file: {reason}") from error
    if list(frame.index.names) != [None]:  # columns that pandas set aside as the index
        frame = frame.reset_index()
    columns = _header(path, tuple(str(name) for name in frame.columns))
    records = (dict(zip(columns, cells, strict=True)) for cells in frame.itertuples(index=False, name=None))
    return Table(str(path), columns, tuple((f"row {number}", row) for number, row in enumerate(records, start=1)))


def _check_column(table: Table, column: str, option: str) -> None:
    if column not in table.columns:
        there = [name for name in table.columns if name]
        raise RunsError(
            f"{table.where}: has no column {column!r} ({option}){nearest(column, there)} (there: {_some(there)})"
        )


def _check_distinct(table: Table, columns: Columns) -> None:
    used = [name for name in (columns.arm, columns.seed, columns.metric, columns.data_set) if name]
    doubled = next((name for name in used if used.count(name) > 1), None)
    if doubled:
        raise RunsError(f"{table.where}: the column {doubled!r} cannot be arm, seed, metric and data set at once")


def _name(row: Row, column: str, here: str) -> str:
    text = _text(row.get(column)).strip()
    if not text or len(text) > MAX_NAME or not text.isprintable():
        raise _wrong(here, column, f"a name of 1 to {MAX_NAME} printable characters", row)
    return text


def _seed(row: Row, column: str, here: str) -> int:
    value = _plain(row.get(column))
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:  # a column with a gap becomes float
        return int(value)
    text = _text(value).strip().removesuffix(".0")
    if isinstance(value, bool) or not _SEED.fullmatch(text):
        raise _wrong(here, column, "a whole number", row)
    return int(text)


def _number(row: Row, column: str, here: str) -> float:
    value = _plain(row.get(column))
    try:
        if isinstance(value, bool) or (isinstance(value, str) and ("_" in value or not value.isascii())):
            raise ValueError
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise _wrong(here, column, "a number", row) from None
    if not math.isfinite(number):
        raise RunsError(
            f"{here}, column {column!r}: must be a finite number, got {_shown(row.get(column))}; a run that diverged "
            "or failed cannot be judged, and is not left out quietly: judge a metric that it has, or run it again"
        )
    if abs(number) >= LARGEST:
        raise _wrong(here, column, f"a number between -{LARGEST:g} and {LARGEST:g}", row)
    return number


def _wrong(here: str, column: str, allowed: str, row: Row) -> RunsError:
    if column not in row:
        return RunsError(f"{here}: has no {column!r}; must be {allowed}")
    return RunsError(f"{here}, column {column!r}: must be {allowed}, got {_shown(row[column])}")


def _plain(value: object) -> object:
    """The Python value of a numpy scalar."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else value


def _text(value: object) -> str:
    """A cell as text; nothing for an absent one."""
    plain = _plain(value)
    if (
        plain is None
        or (isinstance(plain, float) and math.isnan(plain))
        or type(plain).__name__ in ("NAType", "NaTType")
    ):
        return ""
    if isinstance(plain, float) and plain.is_integer() and abs(plain) < 2**53:
        return str(int(plain))
    return str(plain)


def _shown(value: object) -> str:
    plain = _plain(value)
    if isinstance(plain, str) and not plain.strip():
        return "an empty cell"
    try:
        text = ascii(plain)
    except ValueError:  # a whole number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _some(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def arms_of(runs: Runs) -> Iterator[str]:
    """Every arm once, in the order of the rows."""
    yield from dict.fromkeys(arm for by_arm in runs.values() for arm in by_arm)
