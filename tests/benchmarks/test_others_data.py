"""What the verdicts promise holds on the trainings of others; the whole table is made again in the slow session."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("others_data")


def test_what_is_known_of_the_2000_trainings_is_what_was_published(command: ModuleType) -> None:
    """A mean of 94.008 % with SD 0.132 points, and a paired effect of +0.840 points with correlation .44."""
    runs = command.accuracies()
    assert runs.shape == (2000, 2)
    assert runs[:, 1].mean() == pytest.approx(94.008, abs=5e-4)
    assert runs[:, 1].std(ddof=1) == pytest.approx(0.132, abs=5e-4)
    assert (runs[:, 1] - runs[:, 0]).mean() == pytest.approx(0.840, abs=5e-4)


def test_the_known_effect_is_found_as_often_as_promised_in_a_few_studies(command: ModuleType) -> None:
    for row in command.power_rows(30):
        assert row.kept(3.5), row


def test_the_page_is_of_this_command_and_within_its_bounds(command: ModuleType) -> None:
    page = command.PAGE.read_text()
    assert "python benchmarks/others_data.py" in page
    assert command.household_table() in page
    for words in ("wrongly called different", "promised 80 %", "two samples", "15 contrasts, 12 seeds", "| 1000 |"):
        assert words in page


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["alike_rows", "unpaired_rows", "power_rows"])
def test_400_studies_keep_every_promise(command: ModuleType, rows: str) -> None:
    for row in getattr(command, rows)(400):
        assert row.kept(2.0), row
