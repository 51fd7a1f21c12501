"""A small version of benchmarks/verdict_simulations.py: the promises hold within three standard errors."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

COMMAND = Path(__file__).resolve().parents[2] / "benchmarks" / "verdict_simulations.py"


@pytest.fixture(scope="module")
def command() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verdict_simulations", COMMAND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["verdict_simulations"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "rows",
    ["coverage_rows", "images_rows", "null_rows", "margin_rows", "power_rows", "settled_power_rows", "factorial_rows"],
)
def test_what_the_verdicts_promise_holds_in_simulation(command: ModuleType, rows: str) -> None:
    for row in getattr(command, rows)(60):
        assert row.kept(3.5), row


def test_the_table_in_the_documentation_is_of_this_command(command: ModuleType) -> None:
    table = command.TABLE.read_text()
    assert "python benchmarks/verdict_simulations.py" in table
    for promise in ("coverage", "wrongly called different", "wrongly called equivalent", "promised 80 %", "settled"):
        assert promise in table
