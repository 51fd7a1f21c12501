"""docs/paper.md shows what the commands compute."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "paper.md"

spec = importlib.util.spec_from_file_location("paper", ROOT / "benchmarks" / "paper.py")
assert spec is not None
assert spec.loader is not None
paper = importlib.util.module_from_spec(spec)
spec.loader.exec_module(paper)


def test_the_tables_of_the_page_are_those_that_are_computed() -> None:
    assert paper.filled(PAGE.read_text(), paper.tables()) == PAGE.read_text()


def test_the_figures_of_the_page_are_there_and_small() -> None:
    named = set(re.findall(r"\]\((paper/[^)]*)\)", PAGE.read_text()))
    assert named == {f"paper/{path.name}" for path in (ROOT / "docs" / "paper").iterdir()}
    assert all((ROOT / "docs" / name).stat().st_size < 200_000 for name in named)


def test_every_study_that_the_page_names_is_shipped() -> None:
    named = set(re.findall(r"ablate\.study (\w+)`", PAGE.read_text()))
    assert named
    assert named <= {path.stem for path in (ROOT / "studies").glob("*.toml")}
