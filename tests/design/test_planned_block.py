"""A block of the user's own in study files: arms, factors, steps, equal cost; what is refused, without an import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.read import load_study
from ablate.design.source import look_in
from ablate.errors import AblateError
from ablate.model.spec import BLOCK_FIELDS
from ablate.reporting.preview import own_blocks

FILE = """
raise RuntimeError("this module is imported")
class Plain:
    def __init__(self, in_channels, out_channels, stride, kernel_size=3): ...
class Any:
    def __init__(self, **fields): ...
class Strideless:
    def __init__(self, in_channels, out_channels): ...
class Needy:
    def __init__(self, in_channels, out_channels, stride, heads): ...
"""
HEAD = "data.name = 'synthetic'\nplan.seeds = 1\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("ablate.design.source._FOLDERS", {})
    (tmp_path / "planned_blocks.py").write_text(FILE)
    look_in(tmp_path)
    return tmp_path


def plan(folder: Path, text: str) -> CampaignPlan:
    (folder / "mine.toml").write_text(HEAD + text)
    made = make_plan(load_study(folder / "mine.toml"))
    assert "planned_blocks" not in sys.modules
    return made


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(AblateError) as error:
        plan(folder, text)
    return str(error.value)


def test_it_is_a_level_of_a_factor(folder: Path) -> None:
    made = plan(
        folder,
        "[factors]\nresidual = ['inverted', 'planned_blocks:Plain']\nkernel_size = [3, 5]\nrecipe.lr=[0.006,0.01]",
    )
    assert len(made.arms) == 8
    assert made.arms[-1].name == "planned_blocks.Plain+kernel_size-5+lr-0.01"
    assert len({arm.setup for arm in made.arms}) == 8


def test_it_is_a_step_on_the_way_to_another_net(folder: Path) -> None:
    design = (
        "[design]\nkind = '{}'\nto = {{ net = 'mobilenet_v2_mnist', residual = 'planned_blocks:Plain', dropout = 0 }}"
    )
    made = plan(folder, design.format("add_one_in"))
    assert [arm.name for arm in made.arms] == ["control", "1-residual", "2-dropout"]
    assert {stage.block.residual for stage in made.arms[1].spec.stages} == {"planned_blocks:Plain"}  # type: ignore[union-attr]
    assert [arm.name for arm in plan(folder, design.format("leave_one_out")).arms[1:]] == [
        "without-residual", "without-dropout",
    ]  # fmt: skip


def test_a_field_that_it_does_not_read_is_refused_in_arms_factors_steps_and_levels(folder: Path) -> None:
    idle = "does nothing with residual = 'planned_blocks:Plain': that block takes in_channels, out_channels, stride"
    own = "residual = 'planned_blocks:Plain'\n"
    assert f"arms.a.expand_ratio {idle}" in refusal(folder, f"[arms.a]\nexpand_ratio = 3\n{own}")
    six = "[control]\nnet = 'mobilenet_v2_mnist'\nexpand_ratio = 6\n"
    levels = f"{six}[factors]\nresidual = ['inverted', 'planned_blocks:Plain']\nexpand_ratio = [3, 6]"
    assert f"factors.expand_ratio {idle}" in refusal(folder, levels)
    to = "to = { net = 'mobilenet_v2_mnist', residual = 'planned_blocks:Plain', expand_ratio = 3 }"
    steps = f"[design]\nkind = 'add_one_in'\norder = ['residual', 'expand_ratio']\n{to}"
    assert f"design.order expand_ratio {idle}" in refusal(folder, steps)
    stable = (
        f"[control]\nnet = 'mobilenet_v2_mnist'\n{own}[arms.a]\nkernel_size = 5\n[stability]\nexpand_ratio = [3, 6]"
    )
    assert f"stability.expand_ratio {idle}" in refusal(folder, stable)


def test_a_search_leaves_out_what_it_does_not_read(folder: Path) -> None:
    own = "[control]\nnet = 'mobilenet_v2_mnist'\nexpand_ratio = 6\n"
    space = f"{own}[factors]\nresidual = ['inverted', 'planned_blocks:Plain']\nexpand_ratio = [3, 6]\n"
    search = f"{space}[design]\nkind = 'search'\n[search]\nconfirm = 1\ntrials = "
    assert plan(folder, f"{search}3").study.search.trials == 3
    assert "must be at most 3, the different candidates" in refusal(folder, f"{search}4")
    assert 'search.against must be "latency"' in refusal(folder, f"{search}3\nsampler = 'nsga2'")


def test_one_that_takes_any_name_reads_every_field(folder: Path) -> None:
    assert len(plan(folder, "[arms.a]\nresidual = 'planned_blocks:Any'\nexpand_ratio = 3\nconv = 'full'").arms) == 2


def test_the_plan_says_which_fields_it_does_not_read(folder: Path) -> None:
    made = plan(folder, "[arms.a]\nresidual = 'planned_blocks:Plain'")
    unread = [name for name in BLOCK_FIELDS if name not in ("residual", "activation", "kernel_size")]
    assert own_blocks(made) == f"planned_blocks:Plain does not read {', '.join(unread)}"


def test_equal_cost_is_solved_when_the_study_is_run(folder: Path) -> None:
    told = refusal(folder, "match = 'macs'\n[arms.a]\nresidual = 'planned_blocks:Plain'")
    assert "solved when the study is run" in told


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("planned_block:Plain", "leads to no class: there is no module 'planned_block'"),
        ("planned_blocks:Plane", "has no 'Plane'; did you mean 'Plain'?"),
        ("planned_blocks:", "must be written PACKAGE.MODULE:"),
        ("planned_blocks:Strideless", "must take stride (it takes: in_channels, out_channels)"),
        ("planned_blocks:Needy", "needs heads, but a block can only get in_channels, out_channels, stride, bottleneck"),
        ("inverse", "must be one of inverted, classic, sandglass"),
    ],
)
def test_what_is_no_block_is_refused_with_file_and_key(folder: Path, path: str, told: str) -> None:
    message = refusal(folder, f"[arms.a]\nresidual = '{path}'")
    assert "mine.toml: arms.a.residual" in message
    assert told in message


def test_a_mended_file_is_read_again(folder: Path) -> None:
    text: Any = "[arms.a]\nresidual = 'planned_blocks:Strideless'"
    refusal(folder, text)
    (folder / "planned_blocks.py").write_text(FILE.replace("out_channels): ...", "out_channels, stride): ..."))
    assert len(plan(folder, text).arms) == 2
