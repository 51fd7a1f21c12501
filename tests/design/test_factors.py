"""Crossed factors make every combination once, under a name that can be read."""

from __future__ import annotations

import itertools
import re

import pytest

from ablate.design.factors import fraction_of
from ablate.design.plan import make_plan
from ablate.design.study import NAME_PATTERN, Study
from ablate.errors import StudyError

TOGGLES = {
    "residual": ("inverted", "classic"),
    "bottleneck": ("linear", "relu"),
    "activation": ("relu6", "relu"),
    "conv": ("depthwise", "full"),
}


def test_four_toggles_make_sixteen_nets_each_with_its_own_levels() -> None:
    plan = make_plan(Study(name="x", factors=TOGGLES))
    assert [tuple(arm.factors.values()) for arm in plan.arms] == list(itertools.product(*TOGGLES.values()))
    assert len({arm.spec for arm in plan.arms}) == 16
    for arm in plan.arms:
        for name, level in arm.factors.items():
            assert {getattr(stage.block, name) for stage in arm.spec.stages} == {level}


def test_an_arm_is_named_after_what_it_changes() -> None:
    names = {tuple(arm.factors.values()): arm.name for arm in make_plan(Study(name="x", factors=TOGGLES)).arms}
    assert names["inverted", "linear", "relu6", "depthwise"] == "control"
    assert names["classic", "linear", "relu6", "full"] == "classic+full"
    assert names["inverted", "relu", "relu", "depthwise"] == "relu_bottleneck+relu_activation"


def test_numbers_and_truth_values_are_named_with_their_factor() -> None:
    plan = make_plan(Study(name="x", factors={"dropout": (0.2, 0.5), "stem_pool": (True, False)}))
    assert [arm.name for arm in plan.arms] == ["control", "stem_pool-true", "dropout-0.5", "dropout-0.5+stem_pool-true"]


def test_names_that_would_be_too_long_are_cut_and_stay_apart() -> None:
    factors = {**TOGGLES, "shortcut": ("identity", "projection"), "stem_pool": (False, True), "stem_kernel": (3, 5)}
    names = [arm.name for arm in make_plan(Study(name="x", factors=factors)).arms]
    assert len(set(names)) == len(names) == 128
    assert all(len(name) <= 64 for name in names)
    assert all(re.fullmatch(NAME_PATTERN, name) for name in names)


def test_the_controls_own_level_need_not_come_first() -> None:
    control = {"net": "mobilenet_v2_mnist", "conv": "full"}
    plan = make_plan(Study(name="x", control=control, factors={"conv": ("depthwise", "full")}))
    assert [arm.factors["conv"] for arm in plan.arms] == ["full", "depthwise"]


def test_a_net_can_be_a_factor() -> None:
    factors = {"net": ("mobilenet_v1", "mobilenet_v2_mnist"), "conv": ("depthwise", "full")}
    plan = make_plan(Study(name="x", factors=factors))
    assert [arm.name for arm in plan.arms] == ["control", "full", "mobilenet_v1", "mobilenet_v1+full"]


def test_too_many_combinations_are_refused_with_a_way_out() -> None:
    factors = {**TOGGLES, "shortcut": ("identity", "none"), "stem_pool": (False, True), "stem_kernel": (3, 5),
               "stem_stride": (2, 1), "dropout": (0.2, 0.1)}  # fmt: skip
    with pytest.raises(StudyError, match=r"at most 256 arms, got 512; design\.kind = 'fractional' needs fewer"):
        make_plan(Study(name="x", factors=factors))
    assert len(make_plan(Study(name="x", factors=factors, design={"kind": "fractional"})).arms) == 32


def test_only_a_fractional_study_has_a_fraction() -> None:
    assert fraction_of(Study(name="x", factors=TOGGLES)) is None
    study = Study(name="x", factors={**TOGGLES, "shortcut": ("identity", "none")}, design={"kind": "fractional"})
    fraction = fraction_of(study)
    assert fraction is not None
    assert fraction.resolution == 5
    assert fraction.aliases()["residual"] == ()
