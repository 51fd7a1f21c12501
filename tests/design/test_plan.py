"""A study becomes arms, trials and a plan that reads back."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ablate.design.datasets import KNOWN
from ablate.design.plan import CampaignPlan, make_plan, resolve_arms
from ablate.design.study import Study
from ablate.errors import AblateError, StudyError
from ablate.model.spec import diff
from ablate.model.zoo import mobilenet_v2_mnist, resnet50

ARMS = {"relu": {"bottleneck": "relu"}, "full": {"conv": "full"}}


def test_the_control_comes_first_and_each_arm_says_what_changed() -> None:
    plan = make_plan(Study(name="x", arms=ARMS))
    assert [arm.name for arm in plan.arms] == ["control", "relu", "full"]
    assert plan.control.spec == mobilenet_v2_mnist()
    assert [str(change) for change in plan.arm("relu").changes] == ["bottleneck: linear -> relu"]
    for arm in plan.arms:
        assert arm.changes == diff(plan.control.spec, arm.spec)


def test_the_data_decide_channels_and_classes() -> None:
    plan = make_plan(Study(name="x", arms=ARMS, data={"name": "cifar100"}))
    assert {(arm.spec.in_channels, arm.spec.num_classes) for arm in plan.arms} == {(3, 100)}


def test_an_arm_may_name_another_net_for_which_the_controls_fields_hold_too() -> None:
    control = {"net": "mobilenet_v2_mnist", "width_mult": 0.5}
    arm = make_plan(Study(name="x", control=control, arms={"r": {"net": "resnet50", "conv": "depthwise"}})).arm("r")
    assert arm.spec == resnet50(width_mult=0.5, in_channels=1, num_classes=10).with_blocks(conv="depthwise")
    assert [change.field for change in arm.changes] == ["net", "conv"]


def test_trials_run_seed_by_seed_so_that_an_interrupted_campaign_has_whole_pairs() -> None:
    plan = make_plan(Study(name="x", arms=ARMS, plan={"seeds": 3, "first_seed": 7}))
    names = ["control", "relu", "full"]
    assert [(trial.seed, trial.arm) for trial in plan.trials] == [(seed, name) for seed in (7, 8, 9) for name in names]
    assert [trial.seed for trial in plan.arm_trials("full")] == [7, 8, 9]


def test_the_noise_floor_is_the_control_under_seeds_of_its_own() -> None:
    plan = make_plan(Study(name="x", arms=ARMS, noise_floor=True, plan={"seeds": 2, "first_seed": 5}))
    assert plan.arms[-1].name == "noise_floor"
    assert plan.arms[-1].spec == plan.control.spec
    assert [trial.seed for trial in plan.arm_trials("noise_floor")] == [1_000_005, 1_000_006]
    assert len({trial.key for trial in plan.trials}) == len(plan.trials)


def test_a_trials_key_follows_from_what_decides_its_result_and_from_nothing_else() -> None:
    study = Study(name="x", arms=ARMS)
    key = make_plan(study).arm_trials("relu")[0].key
    renamed = study.model_copy(
        update={"name": "y", "title": "t", "arms": {"other": ARMS["relu"]}, "keep_weights": True}
    )
    assert make_plan(renamed).arm_trials("other")[0].key == key
    for change in (
        {"recipe": study.recipe.model_copy(update={"lr": 0.1})},
        {"data": study.data.model_copy(update={"split_seed": 1})},
        {"plan": study.plan.model_copy(update={"first_seed": 1})},
        {"control": {"net": "mobilenet_v2_mnist", "dropout": 0.3}},
    ):
        assert make_plan(study.model_copy(update=change)).arm_trials("relu")[0].key != key


def test_the_content_of_a_data_file_decides_the_key() -> None:
    trial = make_plan(Study(name="x", arms=ARMS)).trials[0]
    assert dataclasses.replace(trial, data_digest="other").key != trial.key


def test_two_problems_of_a_study_made_in_python_come_together() -> None:
    study = Study(name="x", arms={"a": {"conv": "ful"}, "b": {"widht": 1}})
    with pytest.raises(StudyError) as caught:
        resolve_arms(study, KNOWN["mnist5k"])
    assert [(problem.where, problem.key) for problem in caught.value.problems] == [
        ("study x", "arms.a.conv"),
        ("study x", "arms.b.widht"),
    ]


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"recipe": {"batch_size": 3601}}, "recipe.batch_size"), ({"plan": {"seeds": 10_000}}, "plan.seeds")],
)
def test_what_the_data_do_not_allow_is_refused(changes: dict[str, dict[str, int]], key: str) -> None:
    arms = {f"a{i}": {"dropout": i / 100} for i in range(11)}
    with pytest.raises(StudyError) as caught:
        make_plan(Study.model_validate({"name": "x", "arms": arms, **changes}), where="x.toml")
    assert [(problem.where, problem.key) for problem in caught.value.problems] == [("x.toml", key)]


def test_a_plan_reads_back_to_the_same_plan_without_the_study_file() -> None:
    study = Study(
        name="x",
        match="macs",
        noise_floor=True,
        expect={"classic": "worse"},
        control={"net": "mobilenet_v2_mnist", "divisor": 1},
        factors={"residual": ("inverted", "classic"), "dropout": (0.2, 0.5)},
        decision={"also": ("test_loss",)},
    )
    plan = make_plan(study)
    text = plan.to_json()
    again = CampaignPlan.from_json(text)
    assert again == plan
    assert again.to_json() == text
    assert [arm.factors for arm in again.arms] == [arm.factors for arm in plan.arms]


def test_an_old_plan_keeps_the_keys_that_its_records_lie_under() -> None:
    plain = json.loads(make_plan(Study(name="x", arms=ARMS)).to_json())
    plain["trials"][0][2] = "0123456789abcdef"
    assert CampaignPlan.from_json(json.dumps(plain)).trials[0].key == "0123456789abcdef"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 99}', "[" * 10000])
def test_what_is_no_plan_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(AblateError, match="plan"):
        CampaignPlan.from_json(text)


def arms_of(**changes: object) -> str:
    try:
        plan = make_plan(Study.model_validate({"name": "x", "arms": {"a": changes}}))
    except StudyError as error:
        return str(error)
    return " ".join(str(change) for change in plan.arm("a").changes)


def test_fields_that_have_a_meaning_only_together_can_be_moved_together() -> None:
    assert arms_of(conv="full", groups=4) == "conv: depthwise -> full groups: 1 -> 4"
    assert arms_of(se_ratio=0.25, se_gate="hardsigmoid") == "se_ratio: 0 -> 0.25 se_gate: sigmoid -> hardsigmoid"


def test_fields_that_have_no_meaning_together_are_refused_with_the_reason_and_wrong_values_first() -> None:
    assert arms_of(groups=4).endswith("arms.a.groups above 1 goes with conv = 'full', got conv = 'depthwise'")
    assert "arms.a.conv 'fused' is of inverted blocks" in arms_of(conv="fused", residual="classic")
    wrong = arms_of(groups=4, conv="ful")
    assert "arms.a.conv must be one of" in wrong
    assert "groups" not in wrong
    said = arms_of(net="mobilenet_v3_small", residual="sandglass")
    assert "arms.a.residual does not go with the rest of the net: se_ratio goes with" in said
