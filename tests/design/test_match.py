"""Equal budgets: the width found is the nearest that there is, by trying them all."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from ablate.design.arms import Match
from ablate.design.datasets import KNOWN
from ablate.design.match import match_width, measure_of
from ablate.design.plan import make_plan
from ablate.design.study import Study
from ablate.errors import StudyError
from ablate.measure.cost import estimate
from ablate.model.spec import NetSpec
from ablate.model.zoo import NETS, mobilenet_v2_cifar, mobilenet_v2_mnist

MNIST = {"net": "mobilenet_v2_mnist", "divisor": 1}


def macs(spec: NetSpec) -> float:
    return estimate(spec, (spec.in_channels, 28, 28)).macs


def params(spec: NetSpec) -> float:
    return estimate(spec, (spec.in_channels, 28, 28)).params


@pytest.mark.parametrize("measure", [macs, params])
@pytest.mark.parametrize("divisor", [1, 4, 8])
@pytest.mark.parametrize(
    "changes", [{"conv": "full"}, {"residual": "classic"}, {"expand_ratio": 3}, {"shortcut": "projection"}], ids=str
)
def test_no_width_of_a_fine_grid_comes_nearer(measure: Any, divisor: int, changes: dict[str, Any]) -> None:
    control = mobilenet_v2_mnist()
    arm = control.with_changes({**changes, "divisor": divisor})
    target = measure(control)
    match = match_width(arm, target, measure)
    assert match.reached == measure(replace(arm, width_mult=match.width_mult))
    nearest = min(abs(measure(replace(arm, width_mult=i / 250)) - target) for i in range(5, 500))
    assert abs(match.reached - target) <= nearest


def test_a_matched_arm_is_within_one_percent_where_the_divisor_allows_it() -> None:
    control = mobilenet_v2_cifar()
    for changes in ({"conv": "full"}, {"residual": "classic"}, {"residual": "classic", "conv": "full"}):
        match = match_width(control.with_changes({**changes, "divisor": 1}), macs(control), macs)
        assert abs(match.remainder) < 0.01


def test_equal_cost_leaves_the_arm_alone_and_says_so() -> None:
    arm = mobilenet_v2_mnist().with_blocks(bottleneck="relu", activation="relu")
    match = match_width(arm, macs(mobilenet_v2_mnist()), macs)
    assert (match.identity, match.width_mult, match.remainder) == (True, 1, 0)
    assert str(match) == "macs equal to the control's as it stands"


def test_of_two_widths_as_near_the_cheaper_is_taken() -> None:
    # cost 10 below width 1 and 20 above it; 15 is as far from either
    match = match_width(replace(mobilenet_v2_mnist(), width_mult=3), 15, lambda spec: 10 if spec.width(64) < 64 else 20)
    assert match.reached == 10


def test_the_same_question_has_the_same_answer() -> None:
    arm = mobilenet_v2_mnist().with_changes({"conv": "full", "divisor": 1})
    assert match_width(arm, 2e6, macs) == match_width(arm, 2e6, macs)


@pytest.mark.parametrize("name", NETS)
def test_each_arm_is_solved_in_seconds(name: str) -> None:
    control = NETS[name](in_channels=3, num_classes=10).with_changes({"divisor": 1})
    start = time.process_time()
    match_width(control.with_blocks(expand_ratio=3), macs(control), macs)
    assert time.process_time() - start < 10


# mnasnet0_5 is what the rule makes of halved widths: 12 becomes 16
@pytest.mark.parametrize("name", [name for name in NETS if name != "mnasnet0_5"])
def test_divisor_one_leaves_a_named_net_as_it_is_at_width_one(name: str) -> None:
    net = NETS[name](in_channels=3, num_classes=10)
    finer = net.with_changes({"divisor": 1})
    assert [net.width(stage.channels) for stage in net.stages] == [finer.width(stage.channels) for stage in net.stages]
    assert (net.head_width, net.width(net.stem_channels)) == (finer.head_width, finer.width(finer.stem_channels))


def test_matched_and_unmatched_run_side_by_side() -> None:
    study = Study(
        name="x", match="macs", control=MNIST, arms={"classic": {"residual": "classic"}, "relu": {"activation": "relu"}}
    )
    plan = make_plan(study)
    assert [arm.name for arm in plan.arms] == ["control", "classic", "classic@macs", "relu"]
    assert plan.arm("classic").match is None
    match = plan.arm("classic@macs").match
    assert isinstance(match, Match)
    assert abs(match.remainder) < 0.01
    assert plan.arm("classic@macs").spec.width_mult == match.width_mult
    assert [change.field for change in plan.arm("classic@macs").changes] == ["residual", "width_mult"]
    alone = make_plan(study.model_copy(update={"unmatched": False}))
    assert [arm.name for arm in alone.arms] == ["control", "classic@macs", "relu"]


@pytest.mark.parametrize("quantity", ["macs", "params", "train_flops", "peak_memory"])
def test_each_quantity_is_matched_by_what_its_name_says(quantity: str) -> None:
    study = Study.model_validate(
        {"name": "x", "match": quantity, "control": MNIST, "arms": {"classic": {"residual": "classic"}}}
    )
    data = KNOWN["mnist5k"]
    plan = make_plan(study)
    costs = [
        estimate(arm.spec, (1, 28, 28), batch_size=64, optimizer="adamw")
        for arm in (plan.control, plan.arm(f"classic@{quantity}"))
    ]
    field = "train_peak_bytes" if quantity == "peak_memory" else quantity
    assert getattr(costs[1], field) == pytest.approx(getattr(costs[0], field), rel=0.02)
    assert measure_of(study, data)(plan.control.spec) == getattr(costs[0], field)


def test_peak_memory_is_that_of_the_recipes_batch() -> None:
    data = KNOWN["mnist5k"]
    small, large = (
        measure_of(Study(name="x", match="peak_memory", recipe={"batch_size": size}), data)(mobilenet_v2_mnist())
        for size in (32, 64)
    )
    assert small < large < 2 * small


def test_an_arm_that_cannot_reach_the_budget_is_refused_with_the_nearest() -> None:
    study = Study(name="x", match="macs", arms={"full": {"conv": "full"}})
    with pytest.raises(StudyError, match=r"the arm full: the nearest .* 2,586,736 is .* \(divisor = 8; a smaller one"):
        make_plan(study)


def test_an_arm_that_is_only_another_width_has_nothing_left_at_equal_cost() -> None:
    study = Study(name="x", match="macs", control=MNIST, arms={"wide": {"width_mult": 2}})
    with pytest.raises(StudyError, match="leaves no difference between wide and control"):
        make_plan(study)


def test_in_a_factorial_study_each_combination_stands_once() -> None:
    factors = {"residual": ("inverted", "classic"), "activation": ("relu6", "relu")}
    plan = make_plan(Study(name="x", match="macs", control=MNIST, factors=factors))
    cells = [tuple(arm.factors.values()) for arm in plan.arms if arm.factors]
    assert len(plan.arms) == 6
    assert sorted(cells) == sorted((a, b) for a in ("inverted", "classic") for b in ("relu6", "relu"))


def test_a_matched_roadmap_goes_from_matched_step_to_matched_step() -> None:
    study = Study.model_validate(
        {
            "name": "x",
            "match": "params",
            "unmatched": False,
            "control": MNIST,
            "design": {
                "kind": "add_one_in",
                "to": {**MNIST, "residual": "classic", "activation": "relu", "shortcut": "projection"},
                "order": ["residual", "activation", "shortcut"],
            },
        }
    )
    plan = make_plan(study)
    assert [arm.name for arm in plan.arms] == [
        "control",
        "1-residual@params",
        "2-activation@params",
        "3-shortcut@params",
    ]
    assert [arm.parent for arm in plan.arms] == ["control", *(arm.name for arm in plan.arms[:-1])]
