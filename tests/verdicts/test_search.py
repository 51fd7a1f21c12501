from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.verdicts.search import WORST, best, best_of, floored

SCORES = st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.6, 0.97]) | st.floats(-5, 5), min_size=1, max_size=4)


@settings(derandomize=True)
@given(SCORES)
def test_the_band_is_that_of_every_draw_of_so_many_settings(scores: list[float]) -> None:
    for point in best_of(scores):
        bests = [max(draw) for draw in itertools.product(scores, repeat=point.budget)]
        mean, sd = statistics.fmean(bests), statistics.pstdev(bests)
        assert point.mean == pytest.approx(mean, abs=1e-12)
        assert point.sd == pytest.approx(sd, abs=1e-9)
        assert point.low == pytest.approx(max(min(scores), mean - sd), abs=1e-9)
        assert point.high == pytest.approx(min(max(scores), mean + sd), abs=1e-9)


@settings(derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_the_band_holds_its_mean_stays_within_what_was_seen_and_never_falls(scores: list[float]) -> None:
    found = best_of(scores)
    assert [point.budget for point in found] == list(range(1, len(scores) + 1))
    for point in found:
        assert min(scores) <= point.low <= point.mean + 1e-12
        assert point.mean - 1e-12 <= point.high <= max(scores)
    assert all(b.mean >= a.mean - 1e-12 for a, b in itertools.pairwise(found))


def test_one_setting_and_equal_scores_have_a_band_without_width() -> None:
    assert [(p.mean, p.sd) for p in best_of([0.5])] == [(0.5, 0.0)]
    assert all(math.isclose(p.low, p.high) for p in best_of([0.25, 0.25, 0.25]))


def test_the_best_is_the_highest_and_the_first_of_equals() -> None:
    assert best([0.1, 0.9, 0.3, 0.9]) == 1
    assert best([WORST, -3.0]) == 1
    assert best([WORST, WORST]) == 0


def test_the_worst_has_a_number_where_it_is_drawn() -> None:
    assert floored([WORST, 0.5], "test_accuracy", [WORST, 0.5]) == [0.0, 0.5]
    assert floored([WORST, -0.5], "val_loss", [WORST, -0.5, -2.0]) == [-2.0, -0.5]
    assert floored([WORST], "val_loss", [WORST]) == [0.0]
