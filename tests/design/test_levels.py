"""[stability]: the arms again at other levels of one field, with trials of their own and the main ones untouched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.design.forecast import forecast, rough_forecast
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.read import load_study
from ablate.design.study import Study
from ablate.errors import StudyError


def planned(stability: dict[str, Any], name: str = "linear_bottleneck", **more: Any) -> CampaignPlan:
    return make_plan(load_study(name, overrides={"stability": stability, **more}))


def test_trials_at_the_own_level_are_the_studys_and_the_others_are_those_of_a_study_at_that_level() -> None:
    plain = make_plan(load_study("linear_bottleneck"))
    plan = planned({"recipe.epochs": [2, 4, 8]})
    assert [trial.key for trial in plan.trials] == [trial.key for trial in plain.trials]
    assert [at.level for at in plan.levels] == [2, 8]
    for at in plan.levels:
        alone = make_plan(load_study("linear_bottleneck", overrides={"recipe.epochs": at.level}))
        assert [trial.key for trial in at.plan.trials] == [trial.key for trial in alone.trials]
        assert [trial.seed for trial in at.plan.trials] == [trial.seed for trial in plan.trials]
    keys = [trial.key for trial in (*plan.trials, *plan.level_trials)]
    assert len(set(keys)) == len(keys) == 48
    assert plan.at(plan.trials[0]) is None
    assert plan.at(plan.level_trials[-1]) is plan.levels[-1]


@pytest.mark.parametrize(
    ("field", "asked", "others"),
    [
        ("recipe.lr", [0.012, 0.003], [0.003, 0.012]),  # the own one is added
        ("width_mult", [0.5, 1.0], [0.5]),
        ("data.fraction", [0.5], [0.5]),
        ("data.name", ["mnist", "cifar10"], ["mnist", "cifar10"]),
        ("recipe.flip", [True], [True]),
        ("expand_ratio", [3], [3]),
        ("net", ["mobilenet_v2_cifar"], ["mobilenet_v2_cifar"]),
    ],
)
def test_a_level_may_be_of_recipe_data_or_net(field: str, asked: list[Any], others: list[Any]) -> None:
    arms = {"arms": {"a": {"activation": "relu"}}, "expect": {}}
    plan = make_plan(Study.model_validate({"name": "x", "stability": {field: asked}, **arms}))
    assert [at.level for at in plan.levels] == others
    assert CampaignPlan.from_json(plan.to_json()) == plan


def test_the_plan_and_digest_of_a_study_without_levels_say_nothing_of_them() -> None:
    study = load_study("linear_bottleneck")
    assert '"levels"' not in make_plan(study).to_json()
    assert study.digest == Study.model_validate({**study.model_dump(), "stability": {}}).digest
    assert study.digest != load_study("linear_bottleneck", overrides={"stability.recipe.epochs": [8]}).digest


def test_levels_take_the_seeds_of_the_first_look_and_no_noise_floor() -> None:
    plan = planned(
        {"recipe.epochs": [8]},
        noise_floor=True,
        plan={"seeds": 6, "until": "settled", "max_seeds": 14},
    )
    (at,) = plan.levels
    assert [arm.name for arm in at.plan.arms] == ["control", "relu_bottleneck"]
    assert len(at.plan.trials) == 12


def test_the_forecast_counts_the_levels() -> None:
    plan, plain = planned({"recipe.epochs": [8]}), make_plan(load_study("linear_bottleneck"))
    both, one = forecast(plan), forecast(plain)
    assert (both.trials, one.trials) == (32, 16)
    assert both.minutes == pytest.approx(one.minutes + forecast(plan.levels[0].plan).minutes)
    rough = rough_forecast(plan.study)
    assert rough is not None
    assert rough.trials == 32
    assert rough.minutes == pytest.approx(both.minutes)


@pytest.mark.parametrize(
    ("stability", "told"),
    [
        ({"recipe.epoch": [2]}, "did you mean 'epochs'"),
        ({"recipe.epochs": [0]}, "stability.recipe.epochs cannot be 0: recipe.epochs must be at least 1"),
        ({"recipe.epochs": [4]}, "must hold a level besides the study's own, got [4]"),
        ({"recipe.epochs": [2, 2]}, "must hold every level once"),
        ({"recipe.epochs": [2], "recipe.lr": [1e-3]}, "must hold one field"),
        ({"recipe.epochs": 3}, "must be a list, got 3"),
        ({"recipe.momentum": [0.5]}, "does nothing with recipe.optimizer = 'adamw'"),
        ({"bottleneck": ["relu"]}, "is what relu_bottleneck changes"),
        ({"widht_mult": [0.5]}, "did you mean 'width_mult'"),
        ({"width_mult": [9999.0]}, "cannot be 9999.0: control.width_mult must be from"),
        ({"data.name": ["cifar"]}, "did you mean 'cifar10'"),
        ({"data.fraction": [0.001]}, "cannot be 0.001: recipe.batch_size must be at most"),
    ],
)
def test_what_cannot_be_compared_is_named_with_its_key(stability: dict[str, Any], told: str) -> None:
    with pytest.raises(StudyError) as caught:
        planned(stability)
    assert told in str(caught.value)
    assert "stability" in str(caught.value)


def test_a_factor_and_a_tuned_field_are_no_levels() -> None:
    with pytest.raises(StudyError, match="is a factor of the study"):
        planned({"conv": ["full"]}, "toggles")
    with pytest.raises(StudyError, match="is tuned: every arm finds its own"):
        planned({"recipe.lr": [0.003]}, "linear_bottleneck_tuned")


def test_a_factor_that_is_no_list_is_refused_and_not_read_for_ever() -> None:
    with pytest.raises(StudyError, match=r"factors\.recipe\.epochs must be a list, got 3"):
        load_study("toggles", overrides={"factors.recipe.epochs": 3})


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["recipe.epochs", "recipe.lr", "data.name", "width_mult", "net", "x", "recipe", "data.x"]),
        st.one_of(st.integers(), st.text(max_size=5), st.lists(st.one_of(st.integers(-2, 9), st.text(max_size=4)))),
        max_size=2,
    )
)
def test_whatever_is_written_is_planned_or_refused_by_name(stability: dict[str, Any]) -> None:
    problems = ""
    try:
        study = load_study("linear_bottleneck", overrides={"stability": stability})
        assert len(study.stability) <= 1
    except StudyError as error:
        problems = str(error)
    assert not problems or "stability" in problems
