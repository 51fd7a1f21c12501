"""The pages about training of one's own, followed by a new user: every file as it is shown, every command as typed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/own_training.md").read_text()
FILES = {
    found[2]: found[0]
    for found in re.finditer(r"```(?:python|toml)\n# (\S+)\n.*?```", PAGE, re.DOTALL)
    for found in [(found[0].partition("\n")[2].removesuffix("```"), found[0], found[1])]
}
EXAMPLES = ("char_lm", "tabular", "script", "transfer")


def commands(page: str) -> list[str]:
    return re.findall(r"^    (python -m ablate\.study .+)$", page, re.MULTILINE)


def run(command: str, folder: Path, *more: str) -> str:
    words = [sys.executable, *shlex.split(command)[1:], *more]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new user's folder: the files that the page shows, and the examples."""
    found = tmp_path_factory.mktemp("user")
    for name, text in FILES.items():
        (found / name).write_text(text)
    shutil.copytree(ROOT / "examples", found / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return found


def test_predictions_of_a_trainer_are_refused_with_the_reason(folder: Path) -> None:
    words = [sys.executable, "-m", "ablate.predict", "faster.toml"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2
    assert "study 'faster': trainer is code of your own" in done.stderr


def test_the_page_shows_whole_files_and_a_command_for_each_study() -> None:
    assert set(FILES) == {"my_train.py", "faster.toml", "momentum.toml", "fit.py"}
    assert {name for name in FILES if name.endswith(".toml")} <= {line.split()[3] for line in commands(PAGE)}


@pytest.mark.parametrize("command", commands(PAGE))
def test_every_command_of_the_page_does_what_it_says(folder: Path, command: str) -> None:
    said = run(command, folder)
    if "--plan" in command:
        assert "my_train:train" in said
        return
    told = {"faster": "larger_step is better than the control", "momentum": "slower is worse than the control"}
    assert told[command.split()[3].removesuffix(".toml")] in said
    assert "accuracy" not in said
    page = next((folder / "runs/reports").glob(f"{command.split()[3].removesuffix('.toml')}/latest/report.html"))
    text = re.sub(r"<style.*?</style>|<[^>]+>", " ", page.read_text(), flags=re.DOTALL)
    assert not re.search(r"accuracy|MACs|images|mnist|\(nats\)|nan\b|None", text)


@pytest.mark.parametrize("example", ["char_lm", "tabular"])
def test_every_command_of_an_examples_page_runs(folder: Path, example: str) -> None:
    planned, whole, small = commands((ROOT / f"docs/{example}.md").read_text())
    assert f"{example}:train" in run(planned, folder)
    assert small.startswith(whole)
    said = run(small, folder)
    assert "Report:" in said
    assert ("bits per character" in said) is (example == "char_lm")


@pytest.mark.slow
def test_the_script_example_runs_and_says_what_it_expected(folder: Path) -> None:
    assert "momentum is better than the control" in run("python -m ablate.study examples/script/script.toml", folder)


@pytest.mark.slow
def test_the_transfer_example_trains_a_net_and_starts_from_its_weights(folder: Path) -> None:
    page = (ROOT / "docs/transfer.md").read_text()
    assert "digits 0 to 4" in run(re.search(r"^    (python examples/.+)$", page, re.MULTILINE)[1], folder)
    small = commands(page)[-1]
    assert "fine_tuned starts from digits.pt: 188 tensors loaded" in run(small, folder)
    assert "fine_tuned" in run(small.partition(" --seeds")[0] + " --plan", folder)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_examples_module_has_under_80_lines(example: str) -> None:
    assert len((ROOT / f"examples/{example}/{example}.py").read_text().splitlines()) < 80
