"""Every example in a docstring runs, and every public function has one.

The examples of campaigns use the records of ``linear_bottleneck`` that docs/results/ keeps, so that they train next to
nothing.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import zipfile
from pathlib import Path

import pytest

import ablate

ROOT = Path(ablate.__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "ablate").rglob("*.py"))
    if ">>> " in path.read_text()
]
PUBLIC = [name for name in ablate.__all__ if name != "zoo"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    with zipfile.ZipFile(ROOT / "docs" / "results" / "linear_bottleneck.zip") as kept:
        kept.extractall(folder)
    return folder


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    ran = doctest.testmod(importlib.import_module(name), verbose=False)
    assert ran.attempted > 0
    assert ran.failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_has_arguments_errors_and_an_example_that_runs(name: str) -> None:
    text = inspect.getdoc(getattr(ablate, name)) or ""
    assert ">>> " in text
    assert "Args:" in text or "Attributes:" in text
    assert "# doctest: +SKIP" not in text
