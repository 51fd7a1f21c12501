"""The toggles beyond the paper's own: each against plain torch in float64, and its cost against a formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ablate.errors import SpecError
from ablate.measure.cost import cost
from ablate.model.compiled import library
from ablate.model.fused import with_kernels
from ablate.model.layers import layers
from ablate.model.nets import build
from ablate.model.spec import BlockSpec, NetSpec, StageSpec

Reference = Callable[[NetSpec, Mapping[str, Tensor], Tensor], Tensor]
LEVELS: list[dict[str, Any]] = [
    {"shortcut": "expansions"},
    {"shortcut": "expansions", "expand_ratio": 1, "se_ratio": 0.5},
    {"residual": "sandglass"},
    {"residual": "sandglass", "expand_ratio": 1, "bottleneck": "relu"},
    {"residual": "sandglass", "conv": "full", "groups": 2},
    {"kernel_size": 5},
    {"kernel_size": 7, "residual": "classic"},
    {"conv": "fused"},
    {"conv": "fused", "expand_ratio": 1, "se_ratio": 0.5},
    {"conv": "full", "groups": 2},
    {"conv": "full", "groups": 2, "residual": "classic"},
    {"se_ratio": 0.25},
    {"se_ratio": 0.25, "residual": "classic", "activation": "silu"},
    {"se_ratio": 0.5, "se_gate": "hardsigmoid", "activation": "hardswish"},
    {"norm": "group"},
    {"norm": "layer", "residual": "classic"},
    {"norm_eps": 0.01, "head_hidden": 7},
]


def ids(level: dict[str, Any]) -> str:
    return "-".join(str(value) for value in level.values())


@pytest.fixture(params=LEVELS, ids=ids)
def level(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def test_every_level_has_the_logits_and_gradients_of_plain_float64(
    level: dict[str, Any], tiny: Callable[..., NetSpec], reference: Reference
) -> None:
    spec = tiny(**level)
    net = build(spec, generator=torch.Generator().manual_seed(1)).double().train()
    images = torch.randn(6, 3, 9, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weights = {name: p.detach().contiguous().requires_grad_() for name, p in net.named_parameters()}
    logits, expected = net(images), reference(spec, weights, images)
    torch.testing.assert_close(logits, expected, rtol=1e-8, atol=1e-10)
    logits.square().sum().backward()
    expected.square().sum().backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-6, atol=1e-8)


@pytest.mark.skipif(library() is None, reason="no C compiler here")
def test_every_level_trains_on_the_compiled_kernels_as_far_as_they_cover_it(
    level: dict[str, Any], tiny: Callable[..., NetSpec], largest_error: Callable[..., float]
) -> None:
    found = []
    images = torch.randn(16, 3, 9, 8, generator=torch.Generator().manual_seed(2))
    for swap, kind in ((with_kernels, torch.float32), (nn.Module.double, torch.float64)):
        net = swap(build(tiny(**level), generator=torch.Generator().manual_seed(1)).train())
        net(images.to(kind)).square().sum().backward()
        found.append({name: p.grad for name, p in net.named_parameters()})
    assert largest_error(*found) < 1e-3


def test_every_level_is_counted_alike_by_three_counters_and_built_as_listed(
    level: dict[str, Any], tiny: Callable[..., NetSpec]
) -> None:
    spec = tiny(**level)
    assert cost(spec, (3, 13, 10)).macs > 0
    with torch.device("meta"):
        net = build(spec)
    modules = {name for name, module in net.named_modules() if not list(module.children())}
    silent = {name for name in modules if isinstance(net.get_submodule(name), nn.Identity)} | {"layout"}
    assert {layer.name for layer in layers(spec, 13, 10) if layer.kind not in ("add", "scale")} == modules - silent


def block(**toggles: Any) -> tuple[int, int]:
    """Parameters of convolutions, and multiply-adds, of the second block of a stage: 8 narrow channels, 6x6 pixels."""
    stage = StageSpec(block=BlockSpec(**{"expand_ratio": 4, **toggles}), channels=8, repeats=2)
    spec = NetSpec(stages=(stage,), stem_channels=8, head_channels=0, stem_stride=1, divisor=1)
    ops = [layer for layer in layers(spec, 6, 6) if layer.block == 1 and layer.kind == "conv"]
    return sum(layer.params for layer in ops), sum(layer.macs for layer in ops)


def test_the_cost_of_each_level_by_hand() -> None:
    narrow, wide, pixels = 8, 32, 36
    pointwise = 2 * narrow * wide
    for toggles, weights in (
        ({}, pointwise + 9 * wide),
        ({"shortcut": "expansions"}, pointwise + 9 * wide),
        ({"kernel_size": 5}, pointwise + 25 * wide),
        ({"kernel_size": 7, "conv": "full"}, pointwise + 49 * wide * wide),
        ({"residual": "sandglass"}, pointwise + 2 * 9 * wide),
        ({"conv": "fused"}, 9 * narrow * wide + narrow * wide),
        ({"conv": "fused", "expand_ratio": 1}, 9 * narrow * narrow),
        ({"conv": "full", "groups": 4}, pointwise + 9 * wide * wide // 4),
        ({"conv": "full", "groups": 4, "residual": "classic"}, pointwise + 9 * narrow * narrow // 4),
    ):
        assert block(**toggles) == (weights, pixels * weights), toggles
    squeeze = 2 * 8 * wide  # a quarter of the wide channels; its two layers see one pixel, and have biases
    params, macs = block(se_ratio=0.25)
    assert params == pointwise + 9 * wide + squeeze + 8 + wide
    assert macs == pixels * (pointwise + 9 * wide) + squeeze


def test_a_sandglass_block_is_spatial_reduce_expand_spatial_between_wide_tensors() -> None:
    stage = StageSpec(block=BlockSpec(residual="sandglass", expand_ratio=4), channels=8, repeats=2)
    spec = NetSpec(stages=(stage,), stem_channels=8, head_channels=0, stem_stride=1, divisor=1)
    found = [layer for layer in layers(spec, 6, 6) if layer.block == 1]
    convs = [
        (layer.name.split(".")[2], layer.in_channels, layer.out_channels) for layer in found if layer.kind == "conv"
    ]
    assert convs == [("spatial_in", 32, 32), ("reduce", 32, 8), ("expand", 8, 32), ("spatial", 32, 32)]
    acts = [layer.name.split(".")[2] for layer in found if layer.kind == "activation"]
    assert acts == ["spatial_in", "expand"]  # linear after the reduction and before the addition
    assert found[-1].kind == "add"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shortcut": "expansions", "residual": "classic"}, "'expansions' is of inverted blocks"),
        ({"shortcut": "expansions", "conv": "fused"}, "needs a separate expansion"),
        ({"conv": "fused", "residual": "classic"}, "'fused' is of inverted blocks"),
        ({"groups": 2}, "above 1 goes with conv = 'full', got conv = 'depthwise'"),
        ({"se_ratio": 0.5, "residual": "sandglass"}, "'inverted' or 'classic'"),
        ({"se_gate": "hardsigmoid"}, "needs an se_ratio above 0"),
        ({"kernel_size": 4}, "must be 3, 5 or 7, got 4"),
    ],
)
def test_levels_that_have_no_meaning_together_are_refused_with_the_reason(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        BlockSpec(**fields)


def test_a_width_that_groups_do_not_divide_is_rounded_to_a_multiple(tiny: Callable[..., NetSpec]) -> None:
    for residual in ("inverted", "classic", "sandglass"):
        found = layers(tiny(conv="full", groups=4, residual=residual, expand_ratio=1.5), 8, 8)
        spatial = [layer for layer in found if layer.name.endswith("spatial.conv")]
        assert [(layer.groups, layer.out_channels % 4) for layer in spatial] == [(4, 0)] * len(spatial)


def test_dropped_paths_follow_the_depth_and_leave_evaluation_alone(tiny: Callable[..., NetSpec]) -> None:
    spec = tiny(drop_path=0.6)
    net, plain = (build(one, generator=torch.Generator().manual_seed(0)) for one in (spec, tiny()))
    rates = [getattr(one.drop_path, "probability", 0) for one in net.blocks]
    assert rates == pytest.approx([0, 0.2, 0.4])
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(net.eval()(images), plain.eval()(images))


def test_a_dropped_path_is_left_out_whole_and_the_others_make_up_for_it() -> None:
    from ablate.model.kernels import DropPath

    drop = DropPath(0.25).train()
    drop.generator = torch.Generator().manual_seed(0)
    out = drop(torch.ones(20_000, 2, 1, 1)).flatten(1)
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(out[:, 0], out[:, 1])
    assert float(out.mean()) == pytest.approx(1, abs=0.02)
