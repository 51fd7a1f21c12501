"""Arms that change the recipe or the data: what they train with, in every design, matched and tuned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.design.forecast import START_S, forecast, rough_forecast
from ablate.design.found import with_settings
from ablate.design.match import images_seen
from ablate.design.plan import CampaignPlan, make_plan, setting
from ablate.design.read import load_study
from ablate.design.study import Recipe, Study
from ablate.design.tuning import own_values
from ablate.errors import StudyError
from ablate.measure.cost import estimate

Write = Callable[[str], Path]
MNIST = {"net": "mobilenet_v2_mnist", "divisor": 1}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return _write


def study(**fields: Any) -> Study:
    return Study.model_validate({"name": "x", "control": MNIST, "plan": {"seeds": 2}, **fields})


def told(**fields: Any) -> dict[str, str]:
    """Key -> message of what is wrong with a study."""
    with pytest.raises(StudyError) as caught:
        make_plan(study(**fields))
    return {problem.key: problem.message for problem in caught.value.problems}


def test_a_file_says_it_as_a_table_or_in_quotes(write: Write) -> None:
    plain = load_study(write('[arms.a]\nrecipe.label_smoothing = 0.1\ndata.fraction = 0.5\nbottleneck = "relu"\n'))
    quoted = load_study(write('[arms.a]\n"recipe.label_smoothing" = 0.1\n"data.fraction" = 0.5\nbottleneck = "relu"\n'))
    assert plain.arms == quoted.arms
    assert plain.arms["a"] == {"recipe.label_smoothing": 0.1, "data.fraction": 0.5, "bottleneck": "relu"}
    assert plain.digest == quoted.digest


def test_an_arm_trains_with_its_own_recipe_and_data_and_says_what_changed() -> None:
    plan = make_plan(study(arms={
        "no_smoothing": {"recipe.label_smoothing": 0.0}, "half": {"data.fraction": 0.5, "bottleneck": "relu"},
    }, recipe={"label_smoothing": 0.1}))  # fmt: skip
    control, no_smoothing, half = (plan.arm_trials(name)[0] for name in ("control", "no_smoothing", "half"))
    assert (control.recipe.label_smoothing, no_smoothing.recipe.label_smoothing) == (0.1, 0.0)
    assert no_smoothing.spec == control.spec
    assert (control.data.fraction, half.data.fraction) == (1.0, 0.5)
    assert half.recipe == control.recipe
    assert len({trial.key for trial in plan.trials}) == len(plan.trials)
    assert [str(change) for change in plan.arm("no_smoothing").changes] == ["recipe.label_smoothing: 0.1 -> 0.0"]
    assert [change.field for change in plan.arm("half").changes] == ["bottleneck", "data.fraction"]
    assert CampaignPlan.from_json(plan.to_json()) == plan


def test_the_control_with_another_recipe_is_not_the_control() -> None:
    assert (
        told(arms={"a": {"recipe.lr": 0.006}})["arms.a"] == "changes nothing: recipe.lr = 0.006 is what the control has"
    )
    assert told(arms={"a": {"recipe.lr": 0.1}, "b": {"recipe.lr": 0.1}})["arms.b"] == "is the same as arms.a"


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"recipe.lr": "x"}, "recipe.lr", "must be a number, got 'x'"),
        ({"recipe.lr": 0}, "recipe.lr", "must be above 0 and at most 100, got 0"),
        ({"recipe.learning_rate": 1}, "recipe.learning_rate", "did you mean 'lr'?"),
        ({"recipe.optimizer": "adam_w"}, "recipe.optimizer", "did you mean 'adamw'?"),
        ({"recipe.warmup_epochs": 4.0}, "recipe.warmup_epochs", "must be below epochs = 4, got 4"),
        ({"recipe.momentum": 0.5}, "recipe.momentum", "does nothing with recipe.optimizer = 'adamw'"),
        ({"data.name": "mnist"}, "data.name", "must be the same for every arm (an arm can change data.fraction"),
        ({"data.fraction": 0}, "data.fraction", "must be above 0 and at most 1, got 0"),
        ({"data.fractoin": 0.5}, "data.fractoin", "did you mean 'fraction'?"),
        ({"lr": 0.1}, "lr", "is not a field of a net; did you mean 'recipe.lr'?"),
        ({"learning_rate": 0.1}, "learning_rate", "is not a field of a net; did you mean 'recipe.lr'?"),
    ],
)  # fmt: skip
def test_a_wrong_change_is_named_with_what_is_allowed(changes: dict[str, Any], key: str, message: str) -> None:
    assert message in told(arms={"a": changes})[f"arms.a.{key}"]


def test_two_changes_that_only_fit_together_are_taken_together() -> None:
    plan = make_plan(study(arms={"a": {"recipe.epochs": 20, "recipe.warmup_epochs": 5.0}}))
    assert (plan.arms[1].recipe.epochs, plan.arms[1].recipe.warmup_epochs) == (20, 5.0)


def test_factors_of_net_recipe_and_data_are_crossed(write: Write) -> None:
    path = write(
        'expect = { "recipe.optimizer" = "better", "residual:recipe.optimizer" = "undecided" }\n'
        '[factors]\nresidual = ["inverted", "classic"]\nrecipe.optimizer = ["adamw", "sgd"]\n'
        '"data.fraction" = [1.0, 0.5]\n'
    )
    plan = make_plan(load_study(path))
    assert len(plan.arms) == 8
    assert [arm.name for arm in plan.arms[:4]] == ["control", "fraction-0.5", "sgd", "sgd+fraction-0.5"]
    for arm in plan.arms:
        held = (arm.spec.stages[0].block.residual, arm.recipe.optimizer, arm.data.fraction)
        assert held == tuple(arm.factors.values())
    assert tuple(plan.control.factors) == ("residual", "recipe.optimizer", "data.fraction")


def test_a_factor_that_a_cell_does_not_read_is_refused() -> None:
    factors = {"recipe.optimizer": ["sgd", "adamw"], "recipe.momentum": [0.9, 0.0]}
    found = told(factors=factors, recipe={"optimizer": "sgd"})
    assert found == {
        "factors.recipe.momentum": "does nothing with recipe.optimizer = 'adamw': it is read by sgd and rmsprop"
    }


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        ({"recipe.lr": [0.1, 0.2]}, "must hold the control's own level 0.006"),
        ({"recipe.lr": [0.006]}, "must list two or more different levels"),
        ({"recipe.lr": [0.006, -1]}, "must be above 0 and at most 100, got -1"),
        ({"data.validation": [0.1, 0.2]}, "must be the same for every arm"),
    ],
)
def test_a_wrong_factor_is_refused(factor: dict[str, Any], message: str) -> None:
    assert message in told(factors=factor)[f"factors.{next(iter(factor))}"]


def test_a_fraction_can_have_factors_of_the_recipe() -> None:
    factors = {
        "residual": ["inverted", "classic"], "bottleneck": ["linear", "relu"], "activation": ["relu6", "relu"],
        "recipe.flip": [False, True], "recipe.optimizer": ["adamw", "adam"],
    }  # fmt: skip
    plan = make_plan(study(factors=factors, design={"kind": "fractional"}))
    assert len(plan.arms) == 16
    for arm in plan.arms:
        held = arm.spec.stages[0].block
        assert (held.residual, held.bottleneck, held.activation, arm.recipe.flip, arm.recipe.optimizer) == tuple(
            arm.factors.values()
        )


def test_a_roadmap_can_take_steps_of_the_recipe_after_those_of_the_net() -> None:
    to = {**MNIST, "residual": "classic", "recipe.optimizer": "sgd", "recipe.lr": 0.1}
    plan = make_plan(study(design={"kind": "add_one_in", "to": to}))
    assert [arm.name for arm in plan.arms] == ["control", "1-residual", "2-recipe.optimizer", "3-recipe.lr"]
    assert [(arm.recipe.optimizer, arm.recipe.lr) for arm in plan.arms] == [
        ("adamw", 0.006), ("adamw", 0.006), ("sgd", 0.006), ("sgd", 0.1),
    ]  # fmt: skip
    assert [change.field for change in plan.arms[-1].changes] == ["residual", "recipe.optimizer", "recipe.lr"]
    alone = make_plan(study(design={"kind": "leave_one_out", "to": {"recipe.optimizer": "sgd", "recipe.lr": 0.1}}))
    assert [(arm.recipe.optimizer, arm.recipe.lr) for arm in alone.arms] == [
        ("adamw", 0.006), ("sgd", 0.006), ("adamw", 0.1),
    ]  # fmt: skip
    assert all(arm.spec == alone.control.spec for arm in alone.arms)


def test_a_step_that_its_recipe_does_not_read_or_allow_yet_is_refused() -> None:
    to = {"recipe.optimizer": "sgd", "recipe.momentum": 0.5}
    order = {"kind": "add_one_in", "to": to, "order": ["recipe.momentum", "recipe.optimizer"]}
    assert told(design=order)["design.order"].startswith("recipe.momentum does nothing with recipe.optimizer = 'adamw'")
    longer = {"recipe.epochs": 20, "recipe.warmup_epochs": 5.0}
    order = {"kind": "add_one_in", "to": longer, "order": ["recipe.warmup_epochs", "recipe.epochs"]}
    message = "recipe.warmup_epochs comes too early: recipe.warmup_epochs must be below epochs = 4, got 5"
    assert told(design=order)["design.order"] == message


def test_equal_training_flops_count_the_images_that_an_arm_sees() -> None:
    plan = make_plan(study(match="train_flops", arms={
        "twice": {"recipe.epochs": 8}, "half": {"data.fraction": 0.5}, "same": {"recipe.lr": 0.1},
    }))  # fmt: skip
    assert [arm.name for arm in plan.arms] == [
        "control", "twice", "twice@train_flops", "half", "half@train_flops", "same",
    ]  # fmt: skip

    def flops(name: str) -> float:
        arm = plan.arm(name)
        step = estimate(arm.spec, (1, 28, 28), batch_size=64, optimizer="adamw").train_flops
        return step * images_seen(arm.recipe, arm.data, plan.data)

    assert flops("twice") == 2 * flops("control")
    for name in ("twice@train_flops", "half@train_flops"):
        assert flops(name) == pytest.approx(flops("control"), rel=0.02)
    assert plan.arm("twice@train_flops").spec.width_mult < 1 < plan.arm("half@train_flops").spec.width_mult
    assert plan.arm("twice@train_flops").recipe.epochs == 8


def test_equal_peak_memory_counts_the_arms_own_batch() -> None:
    plan = make_plan(study(match="peak_memory", arms={"large": {"recipe.batch_size": 128}}))
    match = plan.arms[-1].match
    assert match is not None
    assert match.width_mult < 1
    arm = plan.arms[-1]
    assert estimate(arm.spec, (1, 28, 28), batch_size=128, optimizer="adamw").train_peak_bytes == match.reached


def test_a_width_is_left_alone_where_only_the_recipe_differs() -> None:
    plan = make_plan(study(match="macs", arms={"a": {"recipe.epochs": 9}, "b": {"recipe.lr": 0.1}}))
    assert [arm.name for arm in plan.arms] == ["control", "a", "b"]


def test_the_time_of_each_arm_is_that_of_its_own_epochs_and_images() -> None:
    plan = make_plan(study(arms={"twice": {"recipe.epochs": 8}, "half": {"data.fraction": 0.5}}))
    found = forecast(plan, images_per_s=dict.fromkeys(("control", "twice", "half"), 1000))
    images = [4 * (3600 + 400 / 3), 8 * (3600 + 400 / 3), 4 * (1800 + 400 / 3)]
    seconds = sum(2 * ((one + 1000 / 3) / 1000 + START_S) for one in images)
    assert found.minutes == pytest.approx(seconds / 60)
    rough = rough_forecast(plan.study)
    assert rough is not None
    assert rough.minutes == pytest.approx(forecast(plan).minutes)


def test_a_batch_that_an_arms_part_of_the_data_does_not_fill_is_refused() -> None:
    message = "must be at most 36, the training images of mnist5k of arm few, got 64"
    assert told(arms={"few": {"data.fraction": 0.01}})["recipe.batch_size"] == message


SPACE = {"trials": 3, "space": {"lr": {"low": 1e-3, "high": 1e-1, "log": True}}}


def test_each_arm_is_tuned_from_its_own_recipe() -> None:
    plan = make_plan(study(arms={"a": {"recipe.lr": 0.05, "recipe.flip": True}}, tuning=SPACE))
    arm = plan.arms[1]
    assert own_values(plan.study, arm) == {"lr": 0.05}
    assert setting(plan.study, arm, plan.data, {"lr": 0.01}).trials[0].recipe == Recipe(lr=0.01, flip=True)
    after = with_settings(plan, {"control": [{"lr": 0.02}], "a": [{"lr": 0.03}]}, ())
    assert [trial.recipe for trial in after.trials[:2]] == [Recipe(lr=0.02), Recipe(lr=0.03, flip=True)]
    assert [one.setting for one in after.arms] == [{"lr": 0.02}, {"lr": 0.03}]
    assert own_values(plan.study, after.arms[1]) == {"lr": 0.05}
    assert CampaignPlan.from_json(after.to_json()) == after


def test_a_range_must_suit_every_arm() -> None:
    key = "tuning.space.lr"
    message = "must hold recipe.lr = 1, which is tried first, got 0.001 to 0.1 (in arm a)"
    assert told(arms={"a": {"recipe.lr": 1.0}}, tuning=SPACE)[key] == message
    momentum = {"trials": 3, "space": {"momentum": {"low": 0.5, "high": 0.95}}}
    found = told(arms={"a": {"recipe.optimizer": "adamw"}}, recipe={"optimizer": "sgd"}, tuning=momentum)
    assert found["tuning.space.momentum"].endswith("(in arm a)")


ANY = st.one_of(st.booleans(), st.integers(-2, 70), st.floats(allow_nan=False), st.sampled_from(["sgd", "x", ""]))
NAMES = st.one_of(
    st.sampled_from([f"recipe.{name}" for name in Recipe.model_fields]),
    st.sampled_from(
        ["data.fraction", "data.name", "data.validation", "recipe.", "recipe", "data", "recipe.x.y", "conv"]
    ),
)


@settings(derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAMES, ANY, max_size=3), st.sampled_from(["arms", "factors", "to"]))
def test_any_change_is_planned_or_refused_with_its_key(changes: dict[str, Any], where: str) -> None:
    fields: dict[str, Any] = {
        "arms": {"arms": {"a": changes}},
        "factors": {"factors": {name: [value, 0.5] for name, value in changes.items()}},
        "to": {"design": {"kind": "leave_one_out", "to": changes}},
    }[where]
    try:
        one = study(**fields)
    except ValueError:
        return  # the file's reader says what is wrong with the types
    outcome: CampaignPlan | StudyError
    try:
        outcome = make_plan(one)
    except StudyError as error:
        outcome = error
    if isinstance(outcome, StudyError):
        assert all(problem.key and problem.message and "\n" not in str(problem) for problem in outcome.problems)
    else:
        assert len({arm.setup for arm in outcome.arms}) == len(outcome.arms)
        assert CampaignPlan.from_json(outcome.to_json()) == outcome
