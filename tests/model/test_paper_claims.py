"""What arXiv:1801.04381 says of MobileNetV2, claim by claim."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.measure.cost import estimate
from ablate.model.layers import Layer, layers, tiny_maps
from ablate.model.nets import build
from ablate.model.spec import NetSpec
from ablate.model.zoo import mobilenet_v2

# TF-slim's table: width, then millions of MACs, rounded down, by resolution
PUBLISHED = {
    1.4: {224: 582},
    1.3: {224: 509},
    1.0: {224: 300, 192: 221, 160: 154, 128: 99, 96: 56},
    0.75: {224: 209, 192: 153, 160: 107, 128: 69, 96: 39},
    0.5: {224: 97, 192: 71, 160: 50, 128: 32, 96: 18},
    0.35: {224: 59, 192: 43, 160: 30, 128: 20, 96: 11},
}
FIGURES = [(width, size, macs) for width, row in PUBLISHED.items() for size, macs in row.items()]
WIDTHS = st.floats(0.1, 3)
NET = build(mobilenet_v2(width_mult=0.35, num_classes=7), generator=torch.Generator().manual_seed(0)).eval()


def convolutions(spec: NetSpec) -> list[Layer]:
    return [layer for layer in layers(spec, 224, 224) if layer.kind == "conv"]


def test_all_published_pairs_of_width_and_resolution_are_there() -> None:
    assert len(FIGURES) == 22


@pytest.mark.parametrize(("width", "size", "millions"), FIGURES)
def test_the_macs_are_the_published_ones(width: float, size: int, millions: int) -> None:
    assert estimate(mobilenet_v2(width_mult=width), (3, size, size)).macs // 10**6 == millions


@given(width=WIDTHS)
def test_the_stride_of_2_sits_in_the_depthwise_convolution(width: float) -> None:
    strided = [layer for layer in convolutions(mobilenet_v2(width_mult=width)) if layer.stride == 2]
    stem, *inside = strided
    assert stem.name == "stem.conv"
    assert len(inside) == 4
    assert all(layer.kernel == 3 and layer.groups == layer.in_channels == layer.out_channels for layer in inside)


@given(width=WIDTHS)
def test_widths_are_divisible_by_8_and_never_more_than_ten_per_cent_down(width: float) -> None:
    spec = mobilenet_v2(width_mult=width)
    built = {layer.name: layer.out_channels for layer in convolutions(spec)}
    assert all(channels % 8 == 0 for channels in built.values())
    table = [stage.channels for stage in spec.stages for _ in range(stage.repeats)]
    narrow = [built[f"blocks.{number}.project.conv"] for number in range(len(table))]
    for wanted, found in zip([32, *table], [built["stem.conv"], *narrow], strict=True):
        assert found >= 0.9 * wanted * width
        assert found <= max(8, wanted * width + 8)


@given(width=WIDTHS)
def test_the_last_1x1_convolution_is_not_scaled_below_width_1(width: float) -> None:
    head = convolutions(mobilenet_v2(width_mult=width))[-1]
    assert (head.name, head.kernel) == ("head.conv", 1)
    assert head.out_channels == 1280 if width <= 1 else head.out_channels >= 0.9 * 1280 * width


@given(width=WIDTHS)
def test_a_shortcut_joins_only_at_stride_1_and_equal_widths(width: float) -> None:
    ops = layers(mobilenet_v2(width_mult=width), 224, 224)
    for number in range(17):
        block = [layer for layer in ops if layer.block == number]
        fits = block[0].in_hw == block[-1].out_hw and block[0].in_channels == block[-1].out_channels
        assert any(layer.kind == "add" for layer in block) == fits


def test_the_block_costs_what_section_3_3_says() -> None:
    ops = layers(mobilenet_v2(), 224, 224)
    blocks = ((2, 56, 24, 24), (4, 28, 32, 32), (11, 14, 96, 96), (16, 7, 160, 320))
    for number, side, inside, out in blocks:
        cost = sum(layer.macs for layer in ops if layer.block == number)
        assert cost == side * side * inside * 6 * (inside + 3 * 3 + out)


def test_it_has_17_blocks_as_in_table_2() -> None:
    assert sum(stage.repeats for stage in mobilenet_v2().stages) == 17


@given(height=st.integers(1, 80), width=st.integers(1, 80))
@settings(max_examples=25, deadline=None)
def test_it_is_fully_convolutional_so_images_of_any_size_give_logits(height: int, width: int) -> None:
    with torch.no_grad():
        logits = NET(torch.zeros(1, 3, height, width))
    assert logits.shape == (1, 7)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("size", "tiny"), [(224, 0), (65, 0), (64, 3), (32, 10), (16, 13)])
def test_kernels_that_see_mostly_padding_are_found(size: int, tiny: int) -> None:
    # images of 64 x 64 are halved five times, so blocks 14 to 16 see 2x2 pixels; at 32, 7 to 16; at 16, 4 to 16
    assert len(tiny_maps(layers(mobilenet_v2(), size, size))) == tiny
