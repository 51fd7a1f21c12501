"""A keyword of an imported net is solved for equal cost, and what cannot be solved is refused in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.campaign.own_width import _solve, nearest_width, solve_widths
from ablate.design.arms import Arm, Images, Match
from ablate.design.datasets import KNOWN, DataInfo
from ablate.design.match import matched
from ablate.design.study import Study
from ablate.design.unmatched import unmatched_arms
from ablate.design.validation import FieldsError
from ablate.measure.modules import module_cost
from ablate.training.own_net import build_model

DATA = KNOWN["synthetic"]
NETS_PY = """
from torch import nn


def make_net(in_channels, num_classes, width=8, kernel=1):
    return nn.Sequential(nn.Conv2d(in_channels, width, kernel, padding=kernel // 2, bias=False),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))
"""


BLOCKS_PY = """
from torch import nn


class Own(nn.Conv2d):
    def __init__(self, in_channels, out_channels, stride):
        super().__init__(in_channels, out_channels, 3, stride, 1)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "widths_of_mine.py").write_text(NETS_PY)
    yield
    for name in ("widths_of_mine", "blocks_of_mine"):
        sys.modules.pop(name, None)


def study(**fields: Any) -> Study:
    control = {"net": "widths_of_mine:make_net", "width": 36}
    base = {"name": "x", "control": control, "arms": {"wide": {"kernel": 3}}, "match": "macs", "match_field": "width"}
    return Study.model_validate({**base, "data": {"name": "synthetic"}, **fields})


def solved(asked: Study, data: DataInfo, arms: Sequence[Arm]) -> dict[str, Match]:
    return _solve(asked, data, arms, lambda _: None)


def macs(width: int, kernel: int) -> int:
    """By hand, on 12 x 12 pixels of one channel and four classes."""
    return 144 * kernel * kernel * width + 4 * width


def test_the_arm_costs_what_the_control_costs() -> None:
    asked = study()
    arms = unmatched_arms(asked, Images(channels=1, num_classes=4))
    control, as_it_is, equal = matched(asked, DATA, arms, solved)
    assert control.match is not None
    assert control.match.identity
    assert (as_it_is.name, equal.name) == ("wide", "wide@macs")
    assert dict(equal.spec.keywords) == {"width": 4, "kernel": 3}  # type: ignore[union-attr]
    assert equal.match is not None
    assert (equal.match.target, equal.match.reached) == (macs(36, 1), macs(4, 3))
    assert [change.field for change in equal.changes] == ["kernel", "width"]


def test_width_mult_is_solved_for_a_block_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "blocks_of_mine.py").write_text(BLOCKS_PY)
    asked = study(
        control={"net": "mobilenet_v2_mnist"},
        arms={"own": {"residual": "blocks_of_mine:Own"}},
        match_field="width_mult",
    )
    arms = unmatched_arms(asked, Images(channels=1, num_classes=4))
    control, as_it_is, equal = matched(asked, DATA, arms, solved)
    assert (as_it_is.name, equal.name) == ("own", "own@macs")
    assert equal.match is not None
    net = build_model(equal.spec, DATA, 0)
    counted, _ = module_cost(net, (1, DATA.height, DATA.width), by_fvcore=False)
    assert counted.macs == equal.match.reached == pytest.approx(control.match.target, rel=0.1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"match_field": "depth"}, "must be a keyword with a number above 0.*; control has depth nowhere"),
        ({"control": {"net": "widths_of_mine:make_net", "width": "wide"}}, "control has width = 'wide'"),
    ],
)
def test_a_field_that_cannot_be_solved_is_refused_before_a_net_is_built(fields: dict[str, Any], message: str) -> None:
    asked = study(**fields)
    with pytest.raises(FieldsError, match=message):
        solve_widths(asked, DATA, unmatched_arms(asked, Images(channels=1, num_classes=4)))


def test_a_match_field_that_nothing_reads_is_refused() -> None:
    for fields in (
        {"match": "none"},
        {"control": {"net": "mobilenet_v2_mnist"}, "arms": {"a": {"bottleneck": "relu"}}},
    ):
        asked = study(**fields)
        with pytest.raises(FieldsError, match="match_field = 'width' is read with match and imported nets"):
            matched(asked, DATA, unmatched_arms(asked, Images(channels=1, num_classes=4)))


@given(st.integers(1, 200), st.integers(1, 100_000))
def test_a_whole_number_is_the_best_of_all(own: int, target: int) -> None:
    def spent(width: float) -> float:
        return 3 * width * width + width

    found = nearest_width(spent, own, target)
    assert abs(spent(found) - target) == min(abs(spent(width) - target) for width in range(1, 400))


@given(st.floats(0.5, 10), st.floats(0.01, 1000))
def test_a_number_comes_within_its_fineness(own: float, target: float) -> None:
    assert nearest_width(lambda width: width, own, target) == pytest.approx(target, rel=0.001)
