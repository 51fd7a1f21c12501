"""The pages about training of one's own, followed by a new user: every file as it is shown, every command as typed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/own_training.md").read_text()
FILES = {
    found[1]: found[0].partition("\n")[2].removesuffix("```")
    for found in re.finditer(r"```(?:python|toml)\n# (\S+)\n.*?```", PAGE, re.DOTALL)
}
Run = Callable[[str], str]
EXAMPLES = ("char_lm", "tabular", "script", "transfer")


def commands(page: str) -> list[str]:
    return re.findall(r"^    (python -m ablate\.study .+)$", page, re.MULTILINE)


@pytest.fixture(scope="module")
def run(command: Callable[..., subprocess.CompletedProcess[str]], folder: Path) -> Run:
    """What a command of a page prints, called in this process."""

    def typed(line: str) -> str:
        _, _, module, *arguments = shlex.split(line)
        done = command(module.removeprefix("ablate."), *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return typed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, new_runs: Callable[[Path], Path]) -> Path:
    """A new user's folder: the files that the page shows, and the examples."""
    found = tmp_path_factory.mktemp("user")
    new_runs(found / "runs")
    for name, text in FILES.items():
        (found / name).write_text(text)
    shutil.copytree(ROOT / "examples", found / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return found


def test_predictions_of_a_trainer_are_refused_with_the_reason(
    folder: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = command("predict", "faster.toml", cwd=folder)
    assert done.returncode == 2
    assert "study 'faster': trainer is code of your own" in done.stderr


def test_the_page_shows_whole_files_and_a_command_for_each_study() -> None:
    assert set(FILES) == {"my_train.py", "faster.toml", "momentum.toml", "fit.py"}
    assert {name for name in FILES if name.endswith(".toml")} <= {line.split()[3] for line in commands(PAGE)}


@pytest.mark.parametrize("line", commands(PAGE))
def test_every_command_of_the_page_does_what_it_says(folder: Path, run: Run, line: str) -> None:
    said = run(line)
    if "--plan" in line:
        assert "my_train:train" in said
        return
    told = {"faster": "larger_step is better than the control", "momentum": "slower is worse than the control"}
    assert told[line.split()[3].removesuffix(".toml")] in said
    assert "accuracy" not in said
    page = next((folder / "runs/reports").glob(f"{line.split()[3].removesuffix('.toml')}/latest/report.html"))
    text = re.sub(r"<style.*?</style>|<[^>]+>", " ", page.read_text(), flags=re.DOTALL)
    assert not re.search(r"accuracy|MACs|images|mnist|\(nats\)|nan\b|None", text)


@pytest.mark.parametrize("example", ["char_lm", "tabular"])
def test_every_command_of_an_examples_page_runs(run: Run, example: str) -> None:
    planned, whole, small = commands((ROOT / f"docs/{example}.md").read_text())
    assert f"{example}:train" in run(planned)
    assert small.startswith(whole)
    said = run(small)
    assert "Report:" in said
    assert ("bits per character" in said) is (example == "char_lm")


@pytest.mark.slow
def test_the_script_example_runs_and_says_what_it_expected(run: Run) -> None:
    assert "momentum is better than the control" in run("python -m ablate.study examples/script/script.toml")


@pytest.mark.slow
def test_the_transfer_example_trains_a_net_and_starts_from_its_weights(folder: Path, run: Run) -> None:
    page = (ROOT / "docs/transfer.md").read_text()
    script = re.findall(r"^    python (examples/.+)$", page, re.MULTILINE)[0]
    made = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, check=True)
    assert "digits 0 to 4" in made.stdout
    small = commands(page)[-1]
    assert "fine_tuned starts from digits.pt: 188 tensors loaded" in run(small)
    assert "fine_tuned" in run(small.partition(" --seeds")[0] + " --plan")


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_examples_module_has_under_80_lines(example: str) -> None:
    assert len((ROOT / f"examples/{example}/{example}.py").read_text().splitlines()) < 80
