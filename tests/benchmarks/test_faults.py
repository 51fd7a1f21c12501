"""The table of faults calls nothing a success that was not provoked, or that broke a promise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("toll", "cells", "sound"),
    [
        ({}, ["5", "9", "0", "0", "0", "0", ""], True),
        ({"remark": "a remark"}, ["5", "9", "0", "0", "0", "0", "a remark"], True),
        ({"lost": 1}, ["5", "9", "**1**", "0", "0", "0", ""], False),
        ({"unseen": 1}, ["5", "9", "0", "**1**", "0", "0", ""], False),
        ({"twice": 1}, ["5", "9", "0", "0", "**1**", "0", ""], False),
        ({"differ": 1}, ["5", "9", "0", "0", "0", "**1**", ""], False),
        ({"tries": 0}, ["0", "9", "0", "0", "0", "0", "**provoked less often than the 5 times asked**"], False),
        ({"broken": "2 trials were run twice"}, ["5", "9", "0", "0", "0", "0", "**2 trials were run twice**"], False),
    ],
)
def test_a_fault_is_survived_if_it_was_provoked_as_often_as_asked_and_every_promise_was_kept(
    monkeypatch: pytest.MonkeyPatch, toll: dict[str, object], cells: list[str], sound: bool
) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    from fault_drivers import Toll
    from faults import judged

    assert judged(Toll(**{"tries": 5, "planned": 9} | toll), 5) == (cells, sound)  # type: ignore[arg-type]
