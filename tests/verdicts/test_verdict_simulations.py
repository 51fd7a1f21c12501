"""A small version of benchmarks/verdict_simulations.py: the promises hold within four standard errors."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

COMMAND = Path(__file__).resolve().parents[2] / "benchmarks" / "verdict_simulations.py"


@pytest.fixture(scope="module")
def command() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(COMMAND.parent))
        yield importlib.import_module("verdict_simulations")


@pytest.mark.parametrize(
    "rows",
    ["coverage_rows", "images_rows", "null_rows", "margin_rows", "power_rows", "settled_power_rows", "factorial_rows",
     "joint_rows", "noise_rows", "slope_rows", "collapse_rows", "peeking_rows", "block_rows", "stability_rows",
     "repeat_rows"],
)  # fmt: skip
def test_what_the_verdicts_promise_holds_in_simulation(command: ModuleType, rows: str) -> None:
    for row in getattr(command, rows)(30):
        assert row.kept(4.0), row


def test_what_is_not_promised_is_shown_because_it_does_not_hold(command: ModuleType) -> None:
    tuned, *_ = command.tuning_rows(200)
    (peeking, settled) = command.peeking_rows(300)
    assert tuned.low is None
    assert tuned.found > 0.08
    assert peeking.low is None
    assert peeking.found > 0.07 > settled.found


def test_the_table_in_the_documentation_is_of_this_command(command: ModuleType) -> None:
    table = command.TABLE.read_text()
    assert "python benchmarks/verdict_simulations.py" in table
    for promise in (
        "coverage",
        "wrongly called different",
        "wrongly called equivalent",
        "promised 80 %",
        "settled",
        "joint coverage",
        "trainings that others published",
        "collapses",
        "tuned twice",
        "not promised",
        "tuned twice for every seed",
        "a repeat lies in the interval",
        "wrongly said to hold at every level",
    ):
        assert promise in table
