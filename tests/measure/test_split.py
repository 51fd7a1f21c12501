"""A block in parts gives the numbers of the block in one piece, in less memory (arXiv:1801.04381, section 5.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ablate.measure.depth import SplitError, split_cost, split_net_cost
from ablate.measure.split import LiveTensors, SplitBlock
from ablate.model.layers import Layer, layers
from ablate.model.nets import Net, build
from ablate.model.spec import NetSpec
from ablate.model.zoo import mobilenet_v1, mobilenet_v2, mobilenet_v2_mnist, resnet50

SPEC = mobilenet_v2_mnist()
SIZE = 28


def trained(spec: NetSpec) -> Net:
    """A net whose running statistics are not those that it starts with."""
    net = build(replace(spec, dropout=0), generator=torch.Generator().manual_seed(0)).train()
    with torch.no_grad():
        net(torch.randn(8, spec.in_channels, SIZE, SIZE, generator=torch.Generator().manual_seed(1)))
    return net.eval()


def block_of(spec: NetSpec, number: int) -> list[Layer]:
    return [layer for layer in layers(spec, SIZE, SIZE) if layer.block == number]


def entry(net: Net, number: int) -> Tensor:
    """One image on its way into a block."""
    images = torch.randn(1, net.spec.in_channels, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return net.blocks[:number](net.stem(images)).contiguous()


@pytest.mark.parametrize("parts", [2, 3, 4, 6, 24])
@pytest.mark.parametrize("spec", [SPEC, SPEC.with_blocks(bottleneck="relu", activation="silu", shortcut="projection")])
def test_a_net_of_split_blocks_gives_the_same_logits(spec: NetSpec, parts: int) -> None:
    net = trained(spec)
    images = torch.randn(3, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole = net(images)
        for number in range(1, len(net.blocks)):
            net.blocks[number] = SplitBlock(net.blocks[number], parts)
        torch.testing.assert_close(net(images), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("number", [1, 2, 3])  # with a stride; with a shortcut; with a stride on another map
def test_the_measured_peak_is_the_calculated_one_and_falls_with_the_parts(number: int) -> None:
    net = trained(SPEC)
    x, ops = entry(net, number), block_of(SPEC, number)
    peaks = []
    for parts in (1, 2, 3, 6):
        split = SplitBlock(net.blocks[number], parts)
        with LiveTensors() as live:
            split(x)
        calculated = 4 * (split_cost(ops, parts).peak_elements - x.numel())  # the input was there before
        vectors = 4 * 8 * ops[0].out_channels  # scale and shift of the norms
        assert calculated <= live.peak_bytes <= calculated + vectors
        peaks.append(live.peak_bytes)
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[-1] < peaks[0] / 2


def test_the_cost_of_a_split_by_hand() -> None:
    # blocks.2: 24 -> 144 -> 144 -> 24 channels, on maps of 7x7
    ops = block_of(SPEC, 2)
    one, three = split_cost(ops, 1), split_cost(ops, 3)
    assert one.peak_elements == 7 * 7 * (24 + 24 + 144 + 144)
    assert one.extra_elements == 0
    assert three.peak_elements == 7 * 7 * (24 + 24 + 48 + 48)
    assert three.extra_elements == 2 * 7 * 7 * (24 + 24 + 24)
    assert one.macs == three.macs == 7 * 7 * 144 * (24 + 9 + 24)  # h w d' t (d' + k k + d''), section 3.3


def test_a_whole_net_in_parts_needs_less_memory_and_no_more_multiply_adds() -> None:
    ops = layers(mobilenet_v2(), 224, 224)
    costs = [split_net_cost(ops, parts) for parts in (1, 2, 3, 6)]
    assert [cost.macs for cost in costs if cost] == [300_774_272] * 4
    first_stride = [112 * 112 * 16 + 56 * 56 * 24 + 96 * (112 * 112 + 56 * 56) // parts for parts in (1, 2)]
    assert [cost.peak_elements for cost in costs[:2] if cost] == first_stride
    block_0 = 112 * 112 * 64  # of the depthwise convolution in the block that does not expand
    assert costs[3] is not None
    assert costs[3].peak_elements == block_0
    assert split_net_cost(layers(mobilenet_v1(), 224, 224), 2) is None
    with pytest.raises(SplitError, match=r"blocks\.1: parts must divide its 96"):
        split_net_cost(ops, 5)


@pytest.mark.parametrize("parts", [0, -1, 5, 145, 288])
def test_a_split_that_does_not_divide_is_refused_with_the_divisors(parts: int) -> None:
    with pytest.raises(SplitError, match=rf"divide its 144 wide channels \(1, 2, 3, 4, 6, .*\), got {parts}"):
        split_cost(block_of(SPEC, 2), parts)
    with pytest.raises(SplitError, match="must divide"):
        SplitBlock(build(SPEC).blocks[2], parts)


def test_a_block_without_a_wide_inner_tensor_or_with_a_full_convolution_is_refused() -> None:
    full = SPEC.with_blocks(conv="full")
    for spec, number, said in (
        (full, 2, r"blocks\.2 cannot be split: its 3x3 convolution mixes"),
        (SPEC, 0, r"blocks\.0 cannot be split: it has no inner tensor"),
        (mobilenet_v1(in_channels=1), 3, "no inner tensor"),
        (resnet50(in_channels=1), 3, "no inner tensor"),
    ):
        with pytest.raises(SplitError, match=said):
            split_cost(block_of(spec, number), 2)
    with pytest.raises(SplitError, match="mixes the wide channels"):
        SplitBlock(build(full).blocks[2], 2)
    with pytest.raises(SplitError, match="it is spatial, project, not expand"):
        SplitBlock(build(SPEC).blocks[0], 2)


def test_live_tensors_counts_what_is_alive_at_a_time_and_not_what_was_there_before() -> None:
    before = torch.ones(1000)
    with LiveTensors() as live:
        for _ in range(5):
            made = before + 1  # the one of the round before is gone only after this one is made
        before.mul_(2)
        made.view(10, 100)
    assert live.peak_bytes == 2 * 4000
