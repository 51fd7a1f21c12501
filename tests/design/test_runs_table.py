"""Tables of runs from elsewhere: what is read, and what is refused with its place, value and what is allowed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.design.runs_table import Columns, Runs, RunsError, check_arms, read_table, runs_of, select

FRAME = pd.DataFrame({"arm": ["base", "base", "new"], "seed": [0, 1, 0], "acc": [0.9, 0.91, 0.95]})
RUNS: Runs = {"": {"base": {0: 0.9, 1: 0.91}, "new": {0: 0.95}}}
ACC = Columns(metric="acc")
ANY_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, columns: Columns = ACC) -> Runs:
    runs = runs_of(read_table(path), columns)
    check_arms(runs, str(path), "base")
    return runs


def written(folder: Path, content: str | bytes, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_json_lines_and_parquet_of_one_table_are_read_alike(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "runs.csv", index=False)
    FRAME.to_json(tmp_path / "runs.jsonl", orient="records", lines=True)
    FRAME.to_parquet(tmp_path / "runs.parquet")
    assert [read(tmp_path / f"runs{kind}") for kind in (".csv", ".jsonl", ".parquet")] == [RUNS] * 3


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffarm,seed,acc\r\nbase,0,0.9\r\nbase,1,0.91\r\nnew,0,0.95\r\n",  # as Excel saves it
        ' arm , seed, acc\nbase , 0, 0.9\n\n"base",1, 0.91 \nnew,0.0,9.5e-1\n',
        'note,acc,seed,arm\n,0.9,0,base\n"two\nlines",0.91,+1,base\nx,0.95,00,new\n',
    ],
)
def test_csv_as_programs_write_it_is_read(tmp_path: Path, text: str) -> None:
    assert read(written(tmp_path, text)) == RUNS


def test_seeds_that_a_gap_turned_into_floats_and_an_index_of_pandas_are_read(tmp_path: Path) -> None:
    FRAME.astype({"seed": float}).set_index(["arm", "seed"]).to_parquet(tmp_path / "runs.parquet")
    assert read(tmp_path / "runs.parquet") == RUNS


def test_rows_are_selected_and_divided_by_data_set(tmp_path: Path) -> None:
    text = "arm,seed,acc,data,net\nbase,0,1,a,x\nnew,0,2,a,x\nbase,0,3,b,x\nnew,0,4,b,x\nbase,0,5,a,y\nnew,0,6,a,y\n"
    table = read_table(written(tmp_path, text))
    runs = runs_of(select(table, {"net": "x"}), Columns(metric="acc", data_set="data"))
    assert runs == {"a": {"base": {0: 1}, "new": {0: 2}}, "b": {"base": {0: 3}, "new": {0: 4}}}
    with pytest.raises(RunsError, match=r"arm 'base' has seed 0 twice, first in line 2"):
        runs_of(table, ACC)


# What is wrong with the file, and what the message must name.
BAD_CSV = {
    "empty": ("", "is empty"),
    "blank": (" \n\n", "is empty"),
    "header_alone": ("arm,seed,acc\n", "holds no runs"),
    "no_metric": ("arm,seed,accuracy\nbase,0,1\n", r"has no column 'acc' \(--metric\); did you mean 'accuracy'"),
    "no_seed": ("arm,run,acc\nbase,0,1\n", r"has no column 'seed' \(--seed-column\)"),
    "no_arm": ("name,seed,acc\nbase,0,1\n", r"has no column 'arm' \(--arm-column\)"),
    "semicolons": ("arm;seed;acc\nbase;0;1\n", "there: arm;seed;acc"),
    "doubled_column": ("arm,seed,acc,acc\nbase,0,1,2\n", "line 1: the column 'acc' appears twice"),
    "doubled_run": (
        "arm,seed,acc\nbase,0,1\nnew,0,1\nbase,0,2\n",
        "line 4: arm 'base' has seed 0 twice, first in line 2",
    ),
    "text": ("arm,seed,acc\nbase,0,1\nnew,0,high\n", "line 3, column 'acc': must be a number, got 'high'"),
    "percent": ("arm,seed,acc\nbase,0,93%\n", "line 2, column 'acc': must be a number, got '93%'"),
    "decimal_comma": ('arm,seed,acc\nbase,0,"0,93"\n', "line 2, column 'acc': must be a number, got '0,93'"),
    "underscore": ("arm,seed,acc\nbase,0,1_000\n", "must be a number, got '1_000'"),
    "nan": ("arm,seed,acc\nbase,0,nan\n", "line 2, column 'acc': must be a finite number, got 'nan'"),
    "infinite": ("arm,seed,acc\nbase,0,-inf\n", "must be a finite number, got '-inf'"),
    "too_large": ("arm,seed,acc\nbase,0,1e999\n", "must be a finite number, got '1e999'"),
    "overflows": ("arm,seed,acc\nbase,0,1e308\n", r"must be a number between -1e\+100 and 1e\+100, got '1e308'"),
    "no_value": ("arm,seed,acc\nbase,0,\n", "line 2, column 'acc': must be a number, got an empty cell"),
    "no_name": ("arm,seed,acc\n,0,1\n", "line 2, column 'arm': must be a name"),
    "control_character": ("arm,seed,acc\nba\x1bse,0,1\n", r"column 'arm': must be a name .* got 'ba\\x1bse'"),
    "long_name": (f"arm,seed,acc\n{'x' * 300},0,1\n", "must be a name of 1 to 200 printable characters"),
    "seed_text": ("arm,seed,acc\nbase,first,1\n", "column 'seed': must be a whole number, got 'first'"),
    "seed_fraction": ("arm,seed,acc\nbase,0.5,1\n", "column 'seed': must be a whole number, got '0.5'"),
    "seed_huge": (f"arm,seed,acc\nbase,{'9' * 40},1\n", "column 'seed': must be a whole number"),
    "short_row": ("arm,seed,acc\nbase,0\n", "line 2: must have 3 cells, as the header has, got 2"),
    "long_row": ("arm,seed,acc\nbase,0,1,2\n", "line 2: must have 3 cells, as the header has, got 4"),
    "open_quote": ('arm,seed,acc\n"base,0,1\n', "is no CSV"),
    "long_cell": (f"arm,seed,acc\nbase,0,{'1' * 200_000}\n", "line 2: is no CSV: field larger"),
    "latin": (b"arm,seed,acc\nb\xe9se,0,1\n", "line 2: must be UTF-8 text, got the byte 0xe9"),
    "one_arm": ("arm,seed,acc\nbase,0,1\nbase,1,1\n", "has one arm alone, 'base'"),
    "no_control": (
        "arm,seed,acc\nbaes,0,1\nnew,0,1\n",
        r"--control must be one of baes, new; got 'base'; did you mean",
    ),
}


@pytest.mark.parametrize("name", BAD_CSV)
def test_a_bad_csv_is_refused_with_place_value_and_what_is_allowed(tmp_path: Path, name: str) -> None:
    content, message = BAD_CSV[name]
    path = written(tmp_path, content)
    with pytest.raises(RunsError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


BAD_LINES = {
    "no_json": ("{'arm': 1}\n", "line 1: is no JSON object"),
    "truncated": ('{"arm": "base", "seed": 0, "acc": 1}\n{"arm": "ne', "line 2: is no JSON object"),
    "a_list": ("[1, 2]\n", r"line 1: must be a JSON object, got \[1, 2\]"),
    "deep": ("[" * 100_000 + "\n", "line 1: is no JSON object"),
    "doubled_key": ('{"arm": "base", "seed": 0, "acc": 1, "acc": 2}\n', "the key 'acc' appears twice"),
    "absent": ('{"arm": "base", "seed": 0, "acc": 1}\n{"arm": "new", "seed": 0}\n', "line 2: has no 'acc'"),
    "null": ('{"arm": "base", "seed": 0, "acc": null}\n', "line 1, column 'acc': must be a number, got None"),
    "true": ('{"arm": "base", "seed": 0, "acc": true}\n', "column 'acc': must be a number, got True"),
    "nan": ('{"arm": "base", "seed": 0, "acc": NaN}\n', "must be a finite number, got nan"),
    "huge": (f'{{"arm": "base", "seed": 0, "acc": 1{"0" * 400}}}\n', "column 'acc': must be a number"),
    "nested": ('{"arm": {"a": 1}, "seed": [0], "acc": 1}\n', r"column 'seed': must be a whole number, got \[0\]"),
    "surrogate": ('{"arm": "\\ud800", "seed": 0, "acc": 1}\n', "column 'arm': must be a name"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_json_lines_are_refused_with_their_line(tmp_path: Path, name: str) -> None:
    content, message = BAD_LINES[name]
    with pytest.raises(RunsError, match=message):
        read(written(tmp_path, content, "runs.jsonl"))


def test_parquet_that_is_damaged_or_holds_gaps_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.parquet"
    FRAME.to_parquet(path)
    whole = path.read_bytes()
    for content in (whole[:-20], whole[:40] + bytes(40) + whole[80:], b"PAR1", FRAME.to_csv().encode()):
        with pytest.raises(RunsError, match="is damaged, or no Parquet file"):
            read(written(tmp_path, content, "runs.parquet"))
    FRAME.assign(acc=[0.9, None, 0.8]).to_parquet(path)
    with pytest.raises(RunsError, match="row 2, column 'acc': must be a finite number, got nan"):
        read(path)
    FRAME.assign(acc=["0.9", "high", "0.8"]).to_parquet(path)
    with pytest.raises(RunsError, match="row 2, column 'acc': must be a number, got 'high'"):
        read(path)


def test_a_place_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunsError, match="there is no such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(RunsError, match="is not a file"):
        read_table(tmp_path / "folder.csv")
    with pytest.raises(RunsError, match=r"must be one of .csv, .jsonl, .parquet; got '.xlsx'"):
        read_table(written(tmp_path, "x", "runs.xlsx"))
    with pytest.raises(RunsError, match="cannot be read"):
        read_table(Path(f"{tmp_path}/a\0.csv"))


def test_a_condition_that_nothing_meets_is_refused_with_what_there_is(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "arm,seed,acc,data\nbase,0,1,cifar10\nnew,0,2,cifar10\n"))
    with pytest.raises(RunsError, match=r"no row has data = 'cifar'; did you mean 'cifar10'\? \(there: cifar10\)"):
        select(table, {"data": "cifar"})
    with pytest.raises(RunsError, match=r"has no column 'dta' \(--where\); did you mean 'data'"):
        select(table, {"dta": "cifar10"})
    with pytest.raises(RunsError, match="cannot be arm, seed, metric and data set at once"):
        runs_of(table, Columns(metric="seed"))
    with pytest.raises(RunsError, match="the data set 'other' has no run of the control 'base'"):
        check_arms({"a": {"base": {0: 1.0}, "new": {0: 1.0}}, "other": {"new": {0: 1.0}}}, "x", "base")


CELLS = st.one_of(
    st.text(max_size=8),
    st.integers(-9, 9).map(str),
    st.floats().map(str),
    st.sampled_from(["base", "new", "0", "", '"']),
)


@given(st.lists(st.lists(CELLS, max_size=4), max_size=6), st.sampled_from(["arm,seed,acc\n", ""]))
@ANY_FILE
def test_any_csv_is_read_or_refused_in_a_sentence(tmp_path: Path, rows: list[list[str]], header: str) -> None:
    text = header + "\n".join(",".join(row) for row in rows)
    _read_or_refused(written(tmp_path, text.encode("utf-8", "surrogatepass")))


@given(st.binary(max_size=200), st.sampled_from([".csv", ".jsonl", ".parquet"]))
@ANY_FILE
def test_any_bytes_are_read_or_refused_in_a_sentence(tmp_path: Path, content: bytes, kind: str) -> None:
    _read_or_refused(written(tmp_path, content, f"runs{kind}"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(("arm", "seed", "acc", "x"), JSON)), max_size=5))
@ANY_FILE
def test_any_json_objects_are_read_or_refused_in_a_sentence(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    _read_or_refused(written(tmp_path, "\n".join(json.dumps(row) for row in rows), "runs.jsonl"))


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parquet_with_any_bytes_changed_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "runs.parquet"
    FRAME.to_parquet(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _read_or_refused(written(tmp_path, bytes(content), "runs.parquet"))


@given(
    st.dictionaries(
        st.tuples(st.text("abcé -_.", min_size=1, max_size=6).filter(lambda t: t == t.strip()), st.integers(-99, 99)),
        st.floats(-1e100, 1e100, exclude_min=True, exclude_max=True),
        min_size=1,
        max_size=8,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_come_back_to_the_last_bit(tmp_path: Path, values: dict[tuple[str, int], float]) -> None:
    frame = pd.DataFrame([{"arm": arm, "seed": seed, "acc": value} for (arm, seed), value in values.items()])
    frame.to_csv(tmp_path / "runs.csv", index=False)
    frame.to_parquet(tmp_path / "runs.parquet")
    for kind in ("csv", "parquet"):
        found = runs_of(read_table(tmp_path / f"runs.{kind}"), ACC)[""]
        assert {(arm, seed): value for arm, runs in found.items() for seed, value in runs.items()} == values


def _read_or_refused(path: Path) -> None:
    try:
        runs = read(path)
    except RunsError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert refused.startswith(str(path))
        assert "\n" not in refused
        return
    assert all(math.isfinite(value) for by_seed in runs[""].values() for value in by_seed.values())
    assert all(isinstance(seed, int) and not isinstance(seed, np.integer) for by in runs[""].values() for seed in by)
