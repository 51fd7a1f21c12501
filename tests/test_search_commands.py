"""docs/search.md as a user follows it, on synthetic data; and what --json prints of it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import jsonschema
import pytest

from ablate import study as study_command
from ablate.reporting.json_reference import json_schema

PAGE = (Path(__file__).parents[1] / "docs" / "search.md").read_text()
COMMANDS = re.findall(r"^    python -m (ablate\..*)$", PAGE, re.MULTILINE)


Run = Callable[[str, Path], CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(command: Callable[..., CompletedProcess[str]]) -> Run:
    """A command of the page, in this process."""

    def typed(line: str, folder: Path) -> CompletedProcess[str]:
        module, *arguments = shlex.split(line)
        return command(module.removeprefix("ablate."), *arguments, cwd=folder)

    return typed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run: Run, new_runs: Callable[[Path], Path]) -> Path:
    """A folder with the page's study, after its command for synthetic data."""
    made = tmp_path_factory.mktemp("looking")
    (made / "studies").mkdir()
    new_runs(made / "runs")
    (made / "studies/looking.toml").write_text(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0])
    (small,) = [one for one in COMMANDS if "synthetic" in one]
    done = run(small, made)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\[ *\d+/8\]", done.stdout, re.MULTILINE)) == 8  # 4 candidates, 2 arms x 2 seeds
    assert "the search is over; to be confirmed: candidate" in done.stdout
    assert "best_1" in done.stdout
    return made


def document(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> dict[str, Any]:
    """What a command prints with --json, checked against the schema; nothing else is on standard output."""
    monkeypatch.chdir(folder)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        study_command.main([*arguments, "--json"])
    found: dict[str, Any] = json.loads(out.getvalue())
    jsonschema.validate(found, json_schema())
    return found


SMALL = shlex.split(next(one for one in COMMANDS if "synthetic" in one))[1:]


def test_the_page_names_the_commands_that_are_tested() -> None:
    assert [shlex.split(one)[0] for one in COMMANDS] == ["ablate.study"] * 4 + [
        "ablate.report",
        "ablate.study",
    ]


@pytest.mark.slow
def test_the_pages_search_of_training_of_ones_own_finds_and_confirms(tmp_path: Path, run: Run) -> None:
    for name, text in re.findall(r"```(?:python|toml)\n# (my_\S+)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(text)
    done = run(COMMANDS[-1], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "best_1 is better than the control" in done.stdout
    page = (tmp_path / "runs/reports/my_search/latest/report.html").read_text()
    assert 'id="search"' in page
    assert not re.search(
        r"accuracy|MACs|images|nan\b", re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    )


def test_a_second_call_trains_nothing_and_the_report_is_made_again(folder: Path, run: Run) -> None:
    again = run(f"ablate.study {shlex.join(SMALL)} --no-report", folder)
    assert again.returncode == 0, again.stderr
    assert "to train" not in again.stdout
    report = run(next(one for one in COMMANDS if "report" in one), folder)
    assert report.returncode == 0, report.stderr
    assert 'id="search"' in (folder / "runs/reports/looking/latest/report.html").read_text()


def test_the_plan_before_the_search_names_the_arms_to_be_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = document(monkeypatch, folder, "looking", "--plan")
    arms = plan["arms"]
    assert [(arm["arm"], arm["found"]) for arm in arms] == [("control", True), ("best_1", False), ("best_2", False)]
    assert (plan["exploring"], plan["trials"], plan["done"]) == (24, 24 + 3 * 8, 0)
    assert plan["next"] == ["python -m ablate.study looking"]


def test_the_plan_after_the_search_shows_what_was_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = document(monkeypatch, folder, *SMALL, "--plan")
    arms = plan["arms"]
    assert arms[1]["found"]
    assert arms[1]["changes"]
    assert (plan["to_train"], plan["done"], plan["minutes"]) == (0, 8, 0)
    assert plan["next"] == ["python -m ablate.report looking"]
    assert plan["warnings"]  # two seeds decide nothing


def test_check_says_what_is_wrong_and_what_to_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = document(monkeypatch, folder, *SMALL, "--check")
    assert (sound["sound"], sound["records"], sound["next"]) == (True, 8, [])
    never = document(monkeypatch, folder, "looking", "--check")
    assert (never["sound"], never["never_run"], never["next"]) == (False, True, ["python -m ablate.study looking"])


def test_list_has_every_study_and_budget_with_unrounded_minutes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = document(monkeypatch, folder, "--list")["studies"]
    own = next(one for one in found if one["study"] == "looking")
    assert (own["arms"], own["trials"]) == (3, 48)
    assert own["minutes"] != round(own["minutes"], 2)
    assert own["next"] == ["python -m ablate.study looking --plan", "python -m ablate.study looking"]
    assert {one["budget"] for one in found if one["study"] == "search_blocks"} == {"quick", "laptop", "full"}


def test_list_of_a_folder_has_its_studies_alone_by_their_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = document(monkeypatch, folder, "--list", "studies")["studies"]
    (own,) = listed
    assert own["next"] == [f"python -m ablate.study studies/looking.toml{flag}" for flag in (" --plan", "")]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        assert study_command.main(["--list", "looking"]) == 2
    assert "--list takes a folder of study files; 'looking' is none" in errors.getvalue()


def test_the_judgement_holds_costs_and_says_what_luck_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = document(monkeypatch, folder, *SMALL, "--no-report")
    assert judged["costs"]["best_1"]["macs"] > 0
    assert judged["next"] == []
    assert "The best of many scores is partly luck" in " ".join(map(str, judged["warnings"]))


def test_wrong_input_prints_no_document_and_exits_with_2(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = study_command.main(["looking", "--plan", "--json", "--set", "search.confirm=30"])
    assert (code, out.getvalue()) == (2, "")
    assert "search.confirm must be below trials = 24" in errors.getvalue()
