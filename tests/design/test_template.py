"""`ablate study --new NAME`: what it writes is a study, and every choice that it shows is one too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ablate import study as command
from ablate.design.read import load_budgets, load_study
from ablate.design.study import NAME_PATTERN
from ablate.design.template import TEMPLATE, write_template
from ablate.errors import StudyError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("folder", "call"), [("studies", "mine"), ("", "mine.toml")])
def test_what_it_writes_can_be_planned_by_the_command_that_it_prints(
    here: Path, folder: str, call: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / folder).mkdir(exist_ok=True)
    assert command.main(["--new", "mine"]) == 0
    assert capsys.readouterr().out.endswith(f"Next: python -m ablate.study {call} --plan\n")
    assert (here / folder / "mine.toml").is_file()
    assert command.main([call, "--plan", "--runs", str(here / "runs")]) == 0
    assert "relu_bottleneck" in capsys.readouterr().out


def test_a_name_may_end_with_toml(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "studies").mkdir()
    assert command.main(["--new", "mine.toml"]) == 0
    assert capsys.readouterr().out.endswith("Next: python -m ablate.study mine --plan\n")
    assert [path.name for path in (here / "studies").iterdir()] == ["mine.toml"]


def test_every_commented_choice_is_allowed(here: Path) -> None:
    text = TEMPLATE.format(call="all", title="All")
    chosen = re.sub(r"^# (?=\[|[\w.]+ +=)", "", text, flags=re.MULTILINE)
    (here / "all.toml").write_text(chosen)
    study = load_study("all.toml")
    assert set(study.arms) == {"relu_bottleneck", "no_shortcut", "label_smoothing"}
    assert (study.recipe.flip, study.recipe.weight_decay) == (True, 5e-4)
    assert list(load_budgets(here / "all.toml")) == ["quick", "large"]
    assert load_study("all.toml", budget="large").recipe.epochs == 30


@pytest.mark.parametrize("taken", ["mine", "toggles"])
def test_it_neither_overwrites_a_study_nor_hides_a_shipped_one(here: Path, taken: str) -> None:
    (here / "mine.toml").write_text("my work")
    with pytest.raises(StudyError, match=f"--new {taken}: there is such a study already"):
        write_template(taken)
    assert (here / "mine.toml").read_text() == "my work"
    assert [path.name for path in here.iterdir()] == ["mine.toml"]


@given(st.text(min_size=1, max_size=20))
@example("../up")
@example("nul\0")
@example("")
def test_a_name_that_is_none_is_refused_and_nothing_is_written(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    if re.fullmatch(NAME_PATTERN, name):
        return
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        with pytest.raises(StudyError, match="--new"):
            write_template(name)
    assert list(folder.iterdir()) == []
