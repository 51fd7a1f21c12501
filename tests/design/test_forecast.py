"""Estimated minutes: proportional to the work, and measured speeds replace the estimate."""

from __future__ import annotations

import pytest

from ablate.design.forecast import START_S, forecast, rough_forecast
from ablate.design.plan import make_plan
from ablate.design.study import Study

STUDY = Study(name="x", arms={"relu": {"bottleneck": "relu"}}, plan={"seeds": 4})


def test_a_measured_speed_gives_the_minutes_by_hand() -> None:
    plan = make_plan(STUDY)
    found = forecast(plan, jobs=2, images_per_s={"control": 1000, "relu": 500})
    images = 4 * (3600 + 400 / 3) + 1000 / 3  # training and validation images of 4 epochs, the test part once
    seconds = 4 * (images / 1000 + START_S) + 4 * (images / 500 + START_S)
    assert found.minutes == pytest.approx(seconds / 2 / 60)
    assert (found.arms, found.trials, found.measured) == (2, 8, 2)


def test_twice_the_seeds_take_twice_as_long_and_two_jobs_half() -> None:
    plan = make_plan(STUDY)
    twice = make_plan(STUDY.model_copy(update={"plan": STUDY.plan.model_copy(update={"seeds": 8})}))
    assert forecast(twice).minutes == pytest.approx(2 * forecast(plan).minutes)
    assert forecast(plan, jobs=2).minutes == pytest.approx(forecast(plan).minutes / 2)


def test_a_speed_of_zero_is_no_measurement() -> None:
    plan = make_plan(STUDY)
    assert forecast(plan, images_per_s={"control": 0.0}) == forecast(plan)


@pytest.mark.parametrize("noise_floor", [False, True])
def test_the_rough_forecast_is_the_exact_one_where_nothing_is_matched(noise_floor: bool) -> None:
    study = STUDY.model_copy(update={"noise_floor": noise_floor})
    rough, exact = rough_forecast(study), forecast(make_plan(study))
    assert rough is not None
    assert (rough.arms, rough.trials) == (exact.arms, exact.trials)
    assert rough.minutes == pytest.approx(exact.minutes)


@pytest.mark.parametrize("unmatched", [False, True])
def test_the_rough_forecast_counts_matched_arms(unmatched: bool) -> None:
    study = Study(
        name="x",
        match="macs",
        unmatched=unmatched,
        control={"net": "mobilenet_v2_mnist", "divisor": 1},
        factors={"residual": ("inverted", "classic"), "activation": ("relu6", "relu")},
    )
    rough, exact = rough_forecast(study), forecast(make_plan(study))
    assert rough is not None
    assert (rough.arms, rough.trials) == (exact.arms, exact.trials)
    assert rough.minutes == pytest.approx(exact.minutes, rel=0.5)


def test_what_cannot_be_known_without_reading_data_is_none() -> None:
    own = STUDY.model_copy(update={"data": STUDY.data.model_copy(update={"name": "own.npz"})})
    assert rough_forecast(own) is None
    assert rough_forecast(STUDY.model_copy(update={"arms": {}})) is None
