"""docs/own_nets.md and README's first example, as a reader would follow them: files are written, commands are run."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.design.plan import make_plan
from ablate.design.read import load_study
from ablate.study import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "own_nets.md").read_text()
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+\.(?:py|toml))\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STUDIES = ("zero_init", "downsample", "timm_models", "own_block")


def run(command: str, folder: Path) -> str:
    """What a command of the page prints."""
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    there = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=there, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's files, and the data that its first command makes."""
    for name, content in BLOCK.findall(PAGE):
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    run("python make_photos.py", tmp_path)
    return tmp_path


def test_the_page_gives_every_file_that_its_commands_name() -> None:
    files = [name for name, _ in BLOCK.findall(PAGE)]
    named = re.findall(r"^    python (?:-m ablate.study \./)?(\S+\.(?:py|toml))", PAGE, re.MULTILINE)
    assert set(named) | {"my_nets.py", "my_blocks.py", "my_data.py"} == set(files)
    assert {f"{name}.toml" for name in STUDIES} <= set(files)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_of_the_page_is_planned_without_its_code_being_run(folder: Path, name: str) -> None:
    if name == "timm_models" and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed: pip install timm")
    plan = make_plan(load_study(f"./{name}.toml"))
    assert len(plan.arms) >= 2
    assert plan.data.height == 32
    assert not {"my_nets", "my_blocks"} & set(sys.modules)


def test_readmes_first_example_has_ten_lines_and_is_planned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, content = BLOCK.search(README).groups()  # type: ignore[union-attr]
    assert README.index(content) < 2000  # the first screen
    assert len([line for line in content.splitlines() if line.strip()]) <= 10
    (folder / name).write_text(content)
    assert main([f"./{name}", "--data", "photos.npz", "--plan"]) == 0
    shown = capsys.readouterr().out
    assert "zero_init_residual: default → true" in shown.replace("\N{NO-BREAK SPACE}", " ")
    assert "those of an imported net are counted when the study is run" in " ".join(shown.split())


def test_the_check_of_the_pages_block_passes_as_it_is_written(folder: Path) -> None:
    command = next(re.finditer(r"^    (python -m ablate.check_block .+)$", PAGE, re.MULTILINE))[1]
    out = run(command, folder)
    assert f"16 -> 24 channels, stride 2: {24 * 16 * 9 + 2 * 24:,} parameters" in out  # convolution and batch norm


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STUDIES, "half_size"])
def test_every_study_of_the_page_is_run_as_it_stands(folder: Path, name: str) -> None:
    if name == "timm_models" and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed: pip install timm")
    out = run(f"python -m ablate.study ./{name}.toml", folder)
    assert ("starts, under one seed, with the same numbers" in out) is (name != "own_block")
    assert re.search(r"not judged|undecided", out)
    if name == "downsample":
        assert re.search(r"subsample starts, under one seed, with the same numbers in (\d+) of the \1 tensors", out)
    page = next(folder.glob("runs/reports/*/*/report.html"))
    assert "MACs" in page.read_text()
