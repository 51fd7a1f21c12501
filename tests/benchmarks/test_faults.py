"""The table of faults calls nothing a success that was not provoked, or that broke a promise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("toll", "told", "sound"),
    [
        ((5, 0, 9), "nothing of 9 records", True),
        ((6, 0, 9, "a remark"), "nothing of 9 records; a remark", True),
        ((5, 1, 9), "**1** of 9 records", False),
        ((0, 0, 9), "nothing of 9 records; **provoked less often than the 5 times asked**", False),
        ((5, 0, 9, "", "2 trials were run twice"), "nothing of 9 records; **2 trials were run twice**", False),
    ],
)
def test_a_fault_is_survived_if_it_was_provoked_as_often_as_asked_and_every_promise_was_kept(
    monkeypatch: pytest.MonkeyPatch, toll: tuple[object, ...], told: str, sound: bool
) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    from fault_drivers import Toll
    from faults import judged

    assert judged(Toll(*toll), 5) == (told, sound)  # type: ignore[arg-type]
