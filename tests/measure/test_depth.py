"""Memory at inference over depth (arXiv:1801.04381, section 5.1 and table 3)."""

from __future__ import annotations

import pytest

from ablate.measure.depth import by_block, by_layer
from ablate.model.layers import layers
from ablate.model.spec import NetSpec
from ablate.model.zoo import NETS, mobilenet_v1, mobilenet_v2, resnet50


def test_the_peaks_of_mobilenet_v2_are_the_computed_ones() -> None:
    ops = layers(mobilenet_v2(), 224, 224)
    layer, block = (max(steps, key=lambda step: step.elements) for steps in (by_layer(ops), by_block(ops)))
    assert layer.elements == 1_505_280 == 96 * (112 * 112 + 56 * 56)  # the first depthwise convolution with a stride
    assert block.elements == 602_112 == 112 * 112 * (32 + 16)


def test_the_tensors_between_the_stages_are_those_of_table_2() -> None:
    blocks = {step.name: step for step in by_block(layers(mobilenet_v2(), 224, 224))}
    between = [blocks[f"blocks.{i}"].out_elements for i in (0, 2, 5, 9, 12, 15, 16)]
    assert between == [n * n * c for n, c in ((112, 16), (56, 24), (28, 32), (14, 64), (14, 96), (7, 160), (7, 320))]


def test_inverted_blocks_hide_their_wide_tensors_and_the_other_nets_have_none_to_hide() -> None:
    peaks = {}
    for make in (mobilenet_v1, mobilenet_v2, resnet50):
        ops = layers(make(), 224, 224)
        peaks[make.__name__] = tuple(max(s.elements for s in steps) for steps in (by_layer(ops), by_block(ops)))
    assert peaks["mobilenet_v1"][1] == 112 * 112 * (32 + 64) == 1_204_224
    assert peaks["mobilenet_v2"][1] < peaks["mobilenet_v1"][1] < peaks["resnet50"][1]
    assert peaks["mobilenet_v2"][0] / peaks["mobilenet_v2"][1] == 2.5


@pytest.mark.parametrize("name", NETS)
def test_each_step_reads_what_a_step_before_it_wrote(name: str) -> None:
    spec: NetSpec = NETS[name]()
    ops = layers(spec, 64, 64)
    assert by_block(ops)[0].in_elements == spec.in_channels * 64 * 64
    for before, after in zip(by_block(ops), by_block(ops)[1:], strict=False):
        assert after.in_elements == before.out_elements
    assert sum(step.name.startswith("blocks.") for step in by_block(ops)) == sum(s.repeats for s in spec.stages)
