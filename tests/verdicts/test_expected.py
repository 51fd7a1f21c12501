"""What was expected, and whether it came true: every combination that a table can show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ablate.verdicts.expected import could_fail, held
from ablate.verdicts.judge import judge

Make = Callable[..., Any]
RNG = np.random.default_rng(3)
CONTROL = 0.95 + RNG.normal(0, 0.004, 10)
SLIGHTLY_WORSE = CONTROL - 0.002 + RNG.normal(0, 0.0005, 10)


@pytest.mark.parametrize(
    ("expected", "outcome", "found", "answer"),
    [
        ("worse", "equivalent", "worse", True),
        ("worse", "equivalent", "better", False),
        ("worse", "equivalent", None, False),
        ("different", "equivalent", "better", True),
        ("different", "equivalent", None, False),
        ("equivalent", "equivalent", "worse", True),
        ("worse", "undecided", None, None),
        ("undecided", "undecided", None, True),
        ("undecided", "worse", None, False),
        ("worse", "not judged", None, None),
        (None, "worse", None, None),
    ],
)
def test_whether_an_expectation_came_true(expected: Any, outcome: Any, found: Any, answer: bool | None) -> None:
    assert held(expected, outcome, found) is answer


def test_worse_that_is_found_within_the_margin_has_held(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": SLIGHTLY_WORSE}, expect={"a": "worse"})
    verdict = judge(made.plan, made.records).verdict("a")
    assert (verdict.outcome, verdict.held) == ("equivalent", True)


@pytest.mark.parametrize(
    ("expected", "least"), [("worse", 5), ("equivalent", 6), ("undecided", 5), ("different", 5), (None, 0)]
)
def test_an_expectation_can_fail_from_so_many_seeds_on(expected: str | None, least: int) -> None:
    assert [n for n in range(10) if could_fail(expected, n, 0.05)] == list(range(least, 10))


def test_undecided_that_nothing_else_could_come_out_of_is_not_tested(campaign: Make) -> None:
    made = campaign({"control": CONTROL[:4], "a": SLIGHTLY_WORSE[:4]}, expect={"a": "undecided"})
    verdict = judge(made.plan, made.records).verdict("a")
    assert (verdict.outcome, verdict.held, verdict.tested) == ("undecided", None, False)
