from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.errors import SpecError
from ablate.model.spec import (
    CHANGEABLE,
    LEVELS,
    BlockSpec,
    NetSpec,
    StageSpec,
    diff,
    round_width,
)
from ablate.model.zoo import NETS, mobilenet_v2_mnist


@settings(max_examples=200)  # widths that could be rounded too far down are rare
@given(width=st.floats(0.1, 5000), divisor=st.integers(1, 64))
def test_a_rounded_width_is_a_multiple_and_never_more_than_ten_per_cent_lower(width: float, divisor: int) -> None:
    rounded = round_width(width, divisor)
    assert rounded % divisor == 0
    assert rounded >= max(divisor, 0.9 * width)
    assert abs(rounded - width) <= divisor


@pytest.mark.parametrize("name", NETS)
def test_a_net_survives_the_way_through_json(name: str) -> None:
    spec = NETS[name](width_mult=0.75)
    assert NetSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("residual", "inverse", "did you mean 'inverted'"),
        ("bottleneck", "relu6", "linear, relu"),
        ("activation", "gelu", "relu6, relu, hardswish, silu"),
        ("conv", "dense", "depthwise, full"),
        ("shortcut", None, "identity, projection, none"),
        ("expand_ratio", 0.5, "from 1 to 64"),
        ("expand_ratio", float("nan"), "nan"),
        ("expand_ratio", True, "must be a number"),
    ],
)
def test_a_block_refuses_an_impossible_value_and_says_what_is_allowed(field: str, value: object, said: str) -> None:
    with pytest.raises(SpecError, match=said) as raised:
        BlockSpec(**{field: value})  # type: ignore[arg-type]
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [("stem_kernel", 4), ("width_mult", 0), ("dropout", 1), ("num_classes", 1), ("stem_pool", 1), ("stages", ())],
)
def test_a_net_refuses_an_impossible_value(field: str, value: object) -> None:
    with pytest.raises(SpecError, match=field):
        replace(mobilenet_v2_mnist(), **{field: value})


def test_an_arm_is_a_diff() -> None:
    control = mobilenet_v2_mnist()
    arm = control.with_changes({"bottleneck": "relu", "activation": "relu", "width_mult": 0.5})
    assert [str(change) for change in diff(control, arm)] == [
        "bottleneck: linear -> relu", "activation: relu6 -> relu", "width_mult: 1 -> 0.5",
    ]  # fmt: skip
    assert not diff(control, control.with_blocks(bottleneck="linear"))
    first = replace(control.stages[0], block=replace(control.stages[0].block, conv="full"))
    assert str(diff(control, replace(control, stages=(first, *control.stages[1:])))[0]).startswith("stages[0].conv")


def test_a_change_of_no_field_is_refused_with_the_nearest_right_name() -> None:
    with pytest.raises(SpecError, match="did you mean 'bottleneck'"):
        mobilenet_v2_mnist().with_changes({"botleneck": "relu"})
    with pytest.raises(SpecError, match="stages"):
        mobilenet_v2_mnist().with_changes({"stages": ()})


def test_the_page_on_study_files_names_every_field_level_and_net() -> None:
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    for name in (*CHANGEABLE, *NETS):
        assert f"`{name}`" in page, name
    for field, levels in LEVELS.items():
        assert re.search(rf"^\| `{field}`.* \| {', '.join(levels)} \|", page, re.MULTILINE), field


def test_equal_stages_are_equal_and_hash_alike() -> None:
    assert hash(StageSpec(channels=8)) == hash(StageSpec(channels=8, block=BlockSpec(expand_ratio=6.0)))
