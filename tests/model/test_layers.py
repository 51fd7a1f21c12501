from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from ablate.errors import SpecError
from ablate.model.layers import layers
from ablate.model.nets import build
from ablate.model.spec import BlockSpec, NetSpec, StageSpec
from ablate.model.zoo import NETS, mobilenet_v2, mobilenet_v2_cifar, mobilenet_v2_mnist

PUBLISHED = [
    ("mobilenet_v2", 1.0, 224, 3_504_872, 300_774_272),
    ("mobilenet_v2", 0.5, 224, 1_968_680, 97_131_840),
    ("mobilenet_v2", 1.4, 224, 6_108_776, 582_195_824),
    ("mobilenet_v1", 1.0, 224, 4_231_976, 568_740_352),
    ("resnet50", 1.0, 224, 25_557_032, 4_089_184_256),
    ("mobilenet_v3_large", 1.0, 224, 5_483_032, 216_589_760),
    ("efficientnet_b0", 1.0, 224, 5_288_548, 385_814_752),
    ("mobilenet_v2_mnist", 1.0, 28, 243_658, 2_586_736),
    ("mobilenet_v2_cifar", 1.0, 32, 2_236_682, 87_976_448),
]
# TF-slim's table: millions of multiply-adds, rounded down
SLIM = {
    1.4: {224: 582},
    1.3: {224: 509},
    1.0: {224: 300, 192: 221, 160: 154, 128: 99, 96: 56},
    0.75: {224: 209, 192: 153, 160: 107, 128: 69, 96: 39},
    0.5: {224: 97, 192: 71, 160: 50, 128: 32, 96: 18},
    0.35: {224: 59, 192: 43, 160: 30, 128: 20, 96: 11},
}


@pytest.mark.parametrize(("name", "width", "size", "params", "macs"), PUBLISHED)
def test_the_named_nets_have_their_published_counts(name: str, width: float, size: int, params: int, macs: int) -> None:
    found = layers(NETS[name](width_mult=width), size, size)
    assert sum(layer.params for layer in found) == params
    assert sum(layer.macs for layer in found) == macs


@pytest.mark.parametrize(("width", "size"), [(width, size) for width, row in SLIM.items() for size in row])
def test_mobilenet_v2_has_the_multiply_adds_of_tf_slims_table(width: float, size: int) -> None:
    macs = sum(layer.macs for layer in layers(mobilenet_v2(width_mult=width), size, size))
    assert macs // 1_000_000 == SLIM[width][size]


def test_a_block_of_stride_1_costs_what_section_3_3_says() -> None:
    found = layers(mobilenet_v2(), 224, 224)
    block = [layer for layer in found if layer.block == 4]  # the second of the 32-channel stage
    assert sum(layer.macs for layer in block) == 28 * 28 * 32 * 6 * (32 + 3 * 3 + 32)


def modules_of(net: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in net.named_modules() if not list(module.children())}


@pytest.mark.parametrize("shortcut", ["identity", "projection", "none"])
@pytest.mark.parametrize("expand_ratio", [1, 2, 1.5])
def test_the_list_of_layers_is_what_was_built(
    toggles: dict[str, str], shortcut: str, expand_ratio: float, tiny: Callable[..., NetSpec]
) -> None:
    spec = tiny(**toggles, shortcut=shortcut, expand_ratio=expand_ratio, stem_pool=True, dropout=0.1)
    with torch.device("meta"):
        net = build(spec)
    modules = modules_of(net)
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for name, module in modules.items():
        module.register_forward_hook(
            lambda _m, inputs, out, name=name: shapes.update({name: (tuple(inputs[0].shape), tuple(out.shape))})
        )
    net(torch.empty(1, 3, 13, 10, device="meta"))
    found = {layer.name: layer for layer in layers(spec, 13, 10) if layer.kind not in ("add", "scale")}
    silent = {name for name, module in modules.items() if isinstance(module, nn.Identity)} | {"layout"}
    assert found.keys() == modules.keys() - silent
    for name, layer in found.items():
        assert layer.params == sum(p.numel() for p in modules[name].parameters()), name
        if layer.kind != "linear" and layer.kind != "dropout":
            assert shapes[name] == ((1, layer.in_channels, *layer.in_hw), (1, layer.out_channels, *layer.out_hw)), name


def names(block: BlockSpec, *, stride: int = 1, channels: int = 8) -> list[str]:
    spec = NetSpec(
        stages=(StageSpec(block=block, channels=channels, stride=stride),), stem_channels=8, head_channels=0, divisor=1
    )
    return [layer.name.removeprefix("blocks.0.") for layer in layers(spec, 8, 8) if layer.block == 0]


def unit(name: str, *, activation: bool = True) -> list[str]:
    return [f"{name}.conv", f"{name}.norm", *([f"{name}.activation"] if activation else [])]


@pytest.mark.parametrize("bottleneck", ["linear", "relu"])
def test_an_inverted_block_is_expand_spatial_project_and_only_the_last_activation_is_a_toggle(bottleneck: str) -> None:
    acts = bottleneck == "relu"
    expected = [*unit("expand"), *unit("spatial"), *unit("project", activation=acts)]
    assert names(BlockSpec(bottleneck=bottleneck)) == [*expected, "add"]
    assert names(BlockSpec(bottleneck=bottleneck, expand_ratio=1)) == [*expected[3:], "add"]
    assert names(BlockSpec(bottleneck=bottleneck), stride=2) == expected


@pytest.mark.parametrize("bottleneck", ["linear", "relu"])
def test_a_classic_block_is_reduce_spatial_expand_and_acts_after_the_addition(bottleneck: str) -> None:
    reduce = unit("reduce", activation=bottleneck == "relu")
    expand = [*unit("spatial"), *unit("expand", activation=False)]
    shortcut = unit("shortcut", activation=False)
    classic = BlockSpec(residual="classic", bottleneck=bottleneck, expand_ratio=4)
    assert names(classic) == [*reduce, *expand, "activation"]  # 8 -> 32: no identity fits
    assert names(classic, channels=2) == [*reduce, *expand, "add", "activation"]
    assert names(replace(classic, shortcut="projection")) == [*reduce, *expand, *shortcut, "add", "activation"]
    flat = replace(classic, expand_ratio=1)
    assert names(flat) == [*reduce, *unit("spatial", activation=False), "add", "activation"]


def test_mobilenet_v1_is_a_stem_and_thirteen_pairs_of_convolutions() -> None:
    found = [layer for layer in layers(NETS["mobilenet_v1"](), 224, 224) if layer.kind == "conv"]
    assert [(layer.kernel, layer.groups == layer.in_channels) for layer in found] == [
        (3, False),
        *[(3, True), (1, False)] * 13,
    ]


def test_the_widths_of_a_narrow_mobilenet_v2_are_rounded_but_its_head_is_not_narrowed() -> None:
    found = {layer.name: layer for layer in layers(mobilenet_v2(width_mult=0.35), 224, 224)}
    assert [found[f"blocks.{i}.project.conv"].out_channels for i in (0, 1, 3, 6, 10, 13, 16)] == [
        8, 8, 16, 24, 32, 56, 112,
    ]  # fmt: skip
    assert found["head.conv"].out_channels == 1280


def test_the_small_nets_keep_the_strides_that_their_images_bear() -> None:
    assert [layer for layer in layers(mobilenet_v2_mnist(), 28, 28) if layer.kind == "conv"][-1].in_hw == (2, 2)
    assert [layer for layer in layers(mobilenet_v2_cifar(), 32, 32) if layer.kind == "conv"][-1].in_hw == (4, 4)


def test_an_image_of_no_pixels_is_refused() -> None:
    with pytest.raises(SpecError, match="height must be at least 1, got 0"):
        layers(mobilenet_v2(), 0, 3)
    assert layers(mobilenet_v2(), 1, 1)[-1].out_hw == (1, 1)
