"""A block of the user's own in our nets: what the study file, the check and the trial's key make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.check_block import main
from ablate.design.datasets import DataInfo
from ablate.design.identity import digest, identity
from ablate.design.own_block import moved
from ablate.design.source import look_in
from ablate.errors import SpecError
from ablate.model.spec import NetSpec
from ablate.model.zoo import NETS
from ablate.training.own_net import build_model
from ablate.training.user_code import UserCodeError

CODE = """
from torch import nn
class {name}(nn.Module):
    def __init__(self, in_channels, out_channels, {stride}kernel_size=3):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, {step}, kernel_size // 2)
        self.unused = {unused}
        self.drop = nn.Dropout(0.5)
    def forward(self, x):
        return {out}
"""


def write(folder: Path, module: str, *, out: str = "self.conv(x)", unused: str = "None", stride: bool = True) -> str:
    taken, step = ("stride, ", "stride") if stride else ("", "1")
    code = CODE.format(name="Mine", stride=taken, step=step, unused=unused, out=out)
    (folder / f"{module}.py").write_text(code)
    look_in(folder)
    return f"{module}:Mine"


def net() -> NetSpec:
    return NETS["mobilenet_v2_mnist"](in_channels=3, num_classes=4)


def test_edited_code_is_another_trial_and_other_nets_keep_their_key(tmp_path: Path) -> None:
    path = write(tmp_path, "block_edited")
    before = moved(net(), {"residual": path})
    write(tmp_path, "block_edited", out="self.conv(x) * 2")
    after = moved(net(), {"residual": path})
    assert digest(identity(before)) != digest(identity(after))
    assert moved(after, {"residual": "inverted"}) == net()
    assert "source" not in str(identity(net()))
    assert NetSpec.from_dict(before.to_dict()) == before


def test_every_block_is_the_users_with_the_fields_that_it_asks_for(tmp_path: Path) -> None:
    spec = moved(net(), {"residual": write(tmp_path, "block_good"), "kernel_size": 5})
    info = DataInfo(name="x", channels=3, height=12, width=12, num_classes=4, num_train=8, num_test=4)
    made = build_model(spec, info, 0)
    assert isinstance(made.blocks, torch.nn.Module)
    assert {block.get_parameter("conv.weight").shape[2:] for block in made.blocks.children()} == {(5, 5)}
    assert made.eval()(torch.zeros(2, 3, 12, 12)).shape == (2, 4)


@pytest.mark.parametrize(("name", "told"), [("block_absent:Mine", "no module"), ("block_good2:Nope", "has no 'Nope'")])
def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path, name: str, told: str) -> None:
    write(tmp_path, "block_good2")
    with pytest.raises(SpecError, match=told):
        moved(net(), {"residual": name})


def test_a_class_without_a_needed_argument_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="must take stride"):
        moved(net(), {"residual": write(tmp_path, "block_strideless", stride=False)})


def test_drop_path_does_not_go_with_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="drop_path"):
        moved(net(), {"residual": write(tmp_path, "block_dropped"), "drop_path": 0.1})


def test_the_check_prints_params_and_macs_of_a_good_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([write(tmp_path, "block_checked")]) == 0
    assert f"{16 * 24 * 9 + 24:,} parameters, {16 * 24 * 9 * 20:,} MACs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "code", "told"),
    [
        (
            "block_shape",
            {"out": "self.conv(x)[:, 1:]"},
            "must return a tensor (2, 16, 9, 8) for (2, 16, 9, 8), got (2, 15, 9, 8)",
        ),
        ("block_unused", {"unused": "nn.Linear(2, 2)"}, "no gradient reaches unused.weight, unused.bias"),
        ("block_random", {"out": "self.conv(x) + __import__('torch').rand(1)"}, "different outputs"),
    ],
)
def test_the_check_tells_each_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], module: str, code: dict[str, Any], told: str
) -> None:
    assert main([write(tmp_path, module, **code)]) == 1
    assert told in capsys.readouterr().err


def test_the_check_tells_a_path_that_leads_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["block_absent:Mine"]) == 2
    assert "there is no module 'block_absent'" in capsys.readouterr().err


def test_what_makes_no_module_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "block_of_text.py").write_text("def Mine(in_channels, out_channels, stride):\n    return 'text'\n")
    look_in(tmp_path)
    spec = moved(net(), {"residual": "block_of_text:Mine"})
    info = DataInfo(name="x", channels=3, height=12, width=12, num_classes=4, num_train=8, num_test=4)
    with pytest.raises(UserCodeError, match=r"block_of_text:Mine.in_channels=32.*must make a torch.nn.Module, got str"):
        build_model(spec, info, 0)


def test_two_blocks_of_the_same_shapes_start_alike(tmp_path: Path) -> None:
    info = DataInfo(name="x", channels=3, height=12, width=12, num_classes=4, num_train=8, num_test=4)
    made = [
        build_model(moved(net(), {"residual": write(tmp_path, name)}), info, 0).state_dict()
        for name in ("block_alike", "block_alike_too")
    ]
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())


def test_a_wrong_shape_in_training_is_a_sentence(tmp_path: Path) -> None:
    spec = moved(net(), {"residual": write(tmp_path, "block_wrong", out="self.conv(x)[:, 1:]")})
    info = DataInfo(name="x", channels=3, height=12, width=12, num_classes=4, num_train=8, num_test=4)
    with pytest.raises(UserCodeError, match="must return a tensor"):
        build_model(spec, info, 0).eval()(torch.zeros(2, 3, 12, 12))
