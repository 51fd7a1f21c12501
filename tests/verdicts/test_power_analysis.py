"""What a study says that it can find, before it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ablate.verdicts.power import PRIOR_SD, detectable_effect
from ablate.verdicts.power_analysis import foresee

Make = Callable[..., Any]


def test_the_detectable_difference_is_stated_with_its_prior(campaign: Make) -> None:
    found = foresee(campaign({"control": [0.9] * 10, "a": [], "b": [], "c": [], "d": []}).plan)
    effect = detectable_effect(10, num_contrasts=4)
    assert effect is not None
    assert found.detectable == pytest.approx(effect * PRIOR_SD)
    assert "10 seeds and 4 contrasts find a difference of 0.65 points" in found.sentences[0]
    assert "measured on mnist5k" in found.sentences[0]


def test_noise_that_was_seen_counts_instead_of_the_prior_and_the_largest_of_it(campaign: Make) -> None:
    plan = campaign({"control": [0.9] * 10, "a": []}).plan
    assert foresee(plan, [0.001, 0.002]).detectable == pytest.approx(foresee(plan).detectable * 0.4)


def test_too_few_seeds_are_said_before_anything_trains(campaign: Make) -> None:
    found = foresee(campaign({"control": [0.9] * 5, "a": []}, noise_floor=True).plan)
    assert (found.detectable, found.num_contrasts, found.seeds_to_reach) == (None, 1, 6)
    assert "cannot reach its level with fewer than 6" in found.sentences[0]


def test_a_study_until_settled_says_when_it_looks(campaign: Make) -> None:
    plan = {"seeds": 10, "until": "settled", "max_seeds": 18}
    found = foresee(campaign({"control": [0.9] * 10, "a": []}, plan=plan).plan)
    assert found.looks == (10, 14, 18)
    assert "looks after 10, 14, 18 seeds" in found.sentences[-1]
