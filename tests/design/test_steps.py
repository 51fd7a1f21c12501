"""The way from one net to another: every step is a change, all of them are the other net."""

from __future__ import annotations

import itertools

import pytest

from ablate.design.plan import make_plan
from ablate.design.steps import between, net_steps
from ablate.design.study import Study
from ablate.errors import StudyError
from ablate.model.spec import BlockSpec, NetSpec, StageSpec
from ablate.model.zoo import NETS, mobilenet_v1, mobilenet_v2

WAY = ["layout", "expand_ratio", "head_channels", "shortcut", "bottleneck", "activation", "dropout"]
V1, V2 = mobilenet_v1(in_channels=1, num_classes=10), mobilenet_v2(in_channels=1, num_classes=10)


def roadmap(kind: str, **design: object) -> Study:
    return Study.model_validate(
        {
            "name": "x",
            "control": {"net": "mobilenet_v1"},
            "design": {"kind": kind, "to": {"net": "mobilenet_v2"}, **design},
        }
    )


def test_a_step_that_needs_a_later_one_is_refused_with_the_reason() -> None:
    def to_resnext(order: list[str]) -> Study:
        net = {"control": {"net": "resnet50", "conv": "depthwise"}, "design": {"kind": "add_one_in"}}
        net["design"] |= {"to": {"net": "resnext50_32x4d"}, "order": order}
        return Study.model_validate({"name": "x", **net})

    way = ["conv", "groups", "layout", "expand_ratio"]
    assert len(make_plan(to_resnext(way)).arms) == 5
    with pytest.raises(
        StudyError, match=r"groups is not possible at its place: groups above 1 goes with conv = 'full'"
    ):
        make_plan(to_resnext(["groups", "conv", *way[2:]]))


def test_from_mobilenet_v1_to_v2_is_these_steps() -> None:
    assert sorted(net_steps(V1, V2)) == sorted(WAY)
    assert net_steps(V1, V1) == ()


@pytest.mark.parametrize(("start", "end"), list(itertools.permutations(NETS, 2)))
def test_all_steps_together_are_the_other_net_and_none_are_the_first(start: str, end: str) -> None:
    a, b = NETS[start](in_channels=3, num_classes=10), NETS[end](in_channels=3, num_classes=10)
    way = net_steps(a, b)
    assert way
    assert between(a, b, way) == b
    assert between(a, b, ()) == a


def test_each_arm_of_a_roadmap_keeps_the_steps_before_it() -> None:
    plan = make_plan(roadmap("add_one_in", order=WAY))
    assert [arm.name for arm in plan.arms] == ["control", *(f"{i}-{step}" for i, step in enumerate(WAY, 1))]
    assert [arm.parent for arm in plan.arms] == ["control", *(arm.name for arm in plan.arms[:-1])]
    assert plan.control.spec == V1
    assert plan.arms[-1].spec == V2
    assert [[change.field for change in arm.changes] for arm in plan.arms] == [WAY[:i] for i in range(8)]
    assert len({arm.spec for arm in plan.arms}) == 8


def test_leaving_one_out_makes_each_step_alone() -> None:
    plan = make_plan(roadmap("leave_one_out"))
    assert plan.control.spec == V1
    assert {arm.name for arm in plan.arms[1:]} == {f"without-{step}" for step in WAY}
    shortcut = plan.arm("without-shortcut")
    assert shortcut.spec == V1.with_blocks(shortcut="identity")
    assert {arm.parent for arm in plan.arms} == {"control"}
    assert all(len(arm.changes) == 1 for arm in plan.arms[1:])


def test_a_toggle_that_varies_along_a_net_is_read_at_the_same_depth_of_the_other() -> None:
    spec = between(V1, V2, {"expand_ratio"})
    assert [stage.block.expand_ratio for stage in spec.stages] == [1, 6, 6, 6, 6]
    spec = between(V1, V2, {"layout"})
    assert [(stage.channels, stage.block.expand_ratio) for stage in spec.stages[:2]] == [(16, 1), (24, 1)]


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ({"order": [*WAY[:-1], "dropuot"]}, "got 'dropuot'; did you mean 'dropout'?"),
        ({"order": WAY[:-1]}, "design.order must also hold dropout"),
        ({"order": [*WAY, "layout"]}, "must hold every step once"),
        ({"to": {"net": "mobilenet_v1"}}, "design.to is the same as the control"),
        ({"to": {"net": "mobilenet_v2", "conf": 1}}, "design.to.conf is not a field of a net"),
    ],
)
def test_a_way_that_cannot_be_gone_is_refused(design: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        make_plan(roadmap("add_one_in", **design))
    assert message in str(caught.value)


def test_a_step_without_effect_at_its_place_is_refused() -> None:
    # b's middle stage alone is classic, and a's two stages are read at b's ends
    def net(*residuals: str) -> NetSpec:
        return NetSpec(stages=tuple(StageSpec(block=BlockSpec(residual=one), channels=16) for one in residuals))

    a, b = net("inverted", "inverted"), net("inverted", "classic", "inverted")
    assert net_steps(a, b) == ("residual", "layout")
    assert between(a, b, {"residual"}) == a
    assert between(a, b, {"residual", "layout"}) == b
