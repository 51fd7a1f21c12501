"""`ablate judge` as a user types it: what is printed, what is refused, and what a script can branch on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

import ablate
from ablate.judge import main

ROOT = Path(__file__).parents[1]
HEADER = "arm,seed,val_loss,acc\n"
BASE = [2.314, 2.327, 2.301, 2.335, 2.319, 2.308, 2.322, 2.330]


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A better arm, one that is the same, and the control again under other seeds."""
    rows = [f"base,{seed},{value},0.9{seed}\n" for seed, value in enumerate(BASE)]
    rows += [f"better,{seed},{value - 0.03 - 0.001 * seed},0.9{seed}\n" for seed, value in enumerate(BASE)]
    rows += [f"same,{seed},{value + 0.001 * (-1) ** seed},0.9{seed}\n" for seed, value in enumerate(BASE)]
    rows += [f"again,{seed + 50},{value},0.9{seed}\n" for seed, value in enumerate(BASE)]
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + "".join(rows))
    return str(path)


LOSS = ("--control", "base", "--metric", "val_loss", "--lower-is-better", "--noise-floor", "again")


def test_the_verdicts_are_printed_with_what_cannot_be_known(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([table, *LOSS, "--margin", "0.02"]) == 0
    printed = capsys.readouterr()
    assert "better is better than base: −0.0335 over 8 paired seeds" in printed.out
    assert "same is equivalent to base, within the margin of 0.02" in " ".join(printed.out.split())
    assert "trained elsewhere" in printed.out
    assert "The noise floor passed" in printed.out
    assert printed.err == ""


def test_json_stands_alone_on_standard_output(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([table, *LOSS, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(one["arm"], one["outcome"]) for one in document["verdicts"]] == [
        ("better", "better"),
        ("same", "undecided"),
    ]
    assert document["control"] == "base"
    assert document["noise_floor"]["arm"] == "again"


def test_no_worse_is_asked_and_expected(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--margin", "0.02", "--ask", "no_worse", "--expect", "same=no worse")
    assert main([table, *LOSS, *asked]) == 0
    assert "same is no worse than base, within the margin of 0.02" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("expected", "code"),
    [("better=better", 0), ("better=different", 0), ("better=worse", 1), ("same=better", 1), ("same=equivalent", 0)],
)
def test_the_exit_code_says_whether_what_was_expected_held(
    table: str, expected: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([table, *LOSS, "--margin", "0.02", "--expect", expected]) == code
    assert f"Expected: {expected.split('=')[1]}" in " ".join(capsys.readouterr().out.split())


WRONG = {
    "no direction": (["--control", "base", "--metric", "val_loss"], "say --lower-is-better or --higher-is-better"),
    "no control": (
        ["--control", "bse", "--metric", "acc"],
        "--control must be one of base, better, same, again; got 'bse'",
    ),
    "no metric": (
        ["--control", "base", "--metric", "accuracy"],
        "has no column 'accuracy' (--metric); did you mean 'acc'?",
    ),
    "margin": (
        ["--control", "base", "--metric", "acc", "--margin", "-1"],
        "must be a number above 0 and below 1e+100, got -1",
    ),
    "margin nan": (
        ["--control", "base", "--metric", "acc", "--margin", "nan"],
        "--margin must be a number above 0 and below 1e+100, got nan",
    ),
    "alpha": (
        ["--control", "base", "--metric", "acc", "--alpha", "1"],
        "--alpha must be at least 1e-06 and below 0.5, got 1",
    ),
    "tiny alpha": (
        ["--control", "base", "--metric", "acc", "--alpha", "5e-324"],
        "at least 1e-06 and below 0.5, got 4.94066e-324",
    ),
    "where": (["--control", "base", "--metric", "acc", "--where", "x"], "--where takes COLUMN=VALUE"),
    "expect": (["--control", "base", "--metric", "acc", "--expect", "better"], "--expect takes ARM=OUTCOME"),
    "outcome": (["--control", "base", "--metric", "acc", "--expect", "same=beter"], "did you mean 'better'?"),
    "ask without margin": (
        ["--control", "base", "--metric", "acc", "--ask", "no_worse"],
        "--ask no_worse needs --margin",
    ),
    "expect without margin": (
        ["--control", "base", "--metric", "acc", "--expect", "same=equivalent"],
        "--expect same=equivalent needs --margin",
    ),
    "unknown arm": (["--control", "base", "--metric", "acc", "--expect", "sane=better"], "--expect must be one of"),
    "floor": (["--control", "base", "--metric", "acc", "--noise-floor", "base"], "must be another arm than --control"),
    "floor and sets": (["--control", "base", "--metric", "acc", "--noise-floor", "again", "--by", "seed"], "--by"),
    "two sources": (["--control", "base", "--metric", "acc", "--mlflow", "x"], "name one source of runs"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_is_refused_with_what_is_allowed(
    table: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options, message = WRONG[name]
    assert main([table, *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ablate judge: ")
    assert message in printed.err


def test_only_control_and_noise_floor_leave_nothing_to_judge(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = [
        line for line in Path(table).read_text().splitlines(keepends=True) if line.startswith(("arm", "base", "again"))
    ]
    Path(table).write_text("".join(text))
    assert main([table, *LOSS]) == 2
    assert "has no arm but the control and the noise floor" in capsys.readouterr().err


def test_the_runs_of_an_mlflow_experiment_get_the_same_verdicts(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path}/store.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("sweep", artifact_location="unused")
    for line in Path(table).read_text().splitlines()[1:]:
        arm, seed, loss, _ = line.split(",")
        run = client.create_run(experiment, tags={"arm": arm, "seed": seed}).info.run_id
        client.log_metric(run, "val_loss", float(loss))
        client.set_terminated(run)
    client.set_terminated(client.create_run(experiment).info.run_id)
    assert main([table, *LOSS, "--json"]) == 0
    theirs = json.loads(capsys.readouterr().out)
    assert main(["--mlflow", "sweep", "--tracking-uri", uri, "--arm-tag", "arm", *LOSS, "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)
    assert sorted(ours["verdicts"], key=lambda one: one["arm"]) == theirs["verdicts"]
    assert ours["warnings"] == [
        *theirs["warnings"],
        "1 run of the experiment without the arm's tag are not among these runs.",
    ]


def test_the_command_needs_neither_torch_nor_a_terminal(table: str) -> None:
    script = f"import sys; from ablate.judge import main; main({[table, *LOSS]!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "False"
    called = subprocess.run(
        [sys.executable, "-m", "ablate", "judge", table, *LOSS], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert called.stdout.splitlines()[0] == done.stdout.splitlines()[0]


def test_no_function_of_the_package_has_the_name_of_a_command_that_would_hide_it() -> None:
    commands = {path.stem for path in (ROOT / "ablate").glob("*.py")}
    assert not commands & set(ablate.__all__)


def test_the_page_shows_what_its_commands_print() -> None:
    """``python benchmarks/page_outputs.py docs/judge.md`` renews it."""
    command = [sys.executable, "benchmarks/page_outputs.py", "docs/judge.md", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=240)
    assert done.returncode == 0, done.stderr or "docs/judge.md is out of date"
