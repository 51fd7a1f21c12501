"""Labels that do not lie on one another, and numbers as they are printed."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.reporting.labels import apart, folded
from ablate.reporting.style import colours, number, p_text, unit


@given(st.lists(st.floats(0, 100), max_size=12))
def test_labels_end_up_a_gap_apart_in_the_same_order_and_within_the_limits(wanted: list[float]) -> None:
    placed = apart(wanted, 5, 0, 100)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    inside = [placed[i] for i in order]
    assert all(b - a >= 5 - 1e-6 for a, b in itertools.pairwise(inside))
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in placed)


def test_labels_with_room_stay_where_they_are_and_two_of_one_height_part_evenly() -> None:
    assert apart([10, 50, 90], 5, 0, 100) == [10, 50, 90]
    assert apart([50, 50], 4, 0, 100) == [48, 52]
    assert apart([1, 1, 1], 50, 0, 10) == [0, 5, 10]  # the gap shrinks to what fits


def test_long_names_break_after_a_plus() -> None:
    assert folded("classic+relu_bottleneck+full", 20) == "classic+\nrelu_bottleneck+full"
    assert folded("control", 20) == "control"
    assert max(map(len, folded("x" * 64, 20).split("\n"))) == 20


@pytest.mark.parametrize(
    ("value", "signed", "printed"),
    [(0.9731, False, "97.31"), (-0.0184, True, "−1.84"), (0.003, True, "+0.30"), (-0.00001, True, "0.00"),
     (None, True, "–"), (math.nan, False, "–")],
)  # fmt: skip
def test_an_accuracy_is_printed_in_percent_with_a_true_minus(value: float | None, signed: bool, printed: str) -> None:
    assert (unit("test_accuracy").signed if signed else unit("test_accuracy").value)(value) == printed


def test_a_loss_is_printed_as_it_is() -> None:
    assert unit("test_loss").value(0.12345) == "0.1235"
    assert unit("test_loss").interval(None, 1.0) == "–"
    assert number(float("inf"), 2) == "inf"


@pytest.mark.parametrize(
    ("p", "printed"), [(0.0078125, ".008"), (1.0, "1"), (0.0001, "<.001"), (None, "–"), (0.05, ".050")]
)
def test_a_p_value_is_printed_as_papers_do(p: float | None, printed: str) -> None:
    assert p_text(p) == printed


def test_up_to_seven_arms_have_colours_of_their_own_and_the_control_is_grey() -> None:
    few = colours(["control", *"abcdefg", "noise_floor"], "control", "noise_floor")
    assert len(set(few.values())) == 9
    many = colours(["control", *"abcdefgh"], "control", "noise_floor")
    assert len({many[arm] for arm in "abcdefgh"}) == 1
