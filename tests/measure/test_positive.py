"""Appendix A and figure 7 of arXiv:1801.04381: how many channels are positive after each activation."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from ablate.measure.positive import PositiveError, positive_channels, thresholds
from ablate.model.nets import Net, build
from ablate.model.spec import NetSpec
from ablate.model.zoo import mobilenet_v2, mobilenet_v2_mnist

TINY = replace(mobilenet_v2_mnist(width_mult=0.25), stages=mobilenet_v2_mnist().stages[:2], divisor=1)
TOGGLES = [
    dict(zip(("residual", "bottleneck", "activation", "conv"), levels, strict=True))
    for levels in product(("inverted", "classic"), ("linear", "relu"), ("relu6", "silu"), ("depthwise", "full"))
]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def initial(spec: NetSpec) -> Net:
    return build(spec, generator=torch.Generator().manual_seed(0)).train()


def test_the_count_by_hand() -> None:
    weights = torch.tensor([[1.0], [-1.0], [2.0], [-3.0]])[:, :, None, None]
    conv = nn.Conv2d(1, 4, 1, bias=False)
    conv.weight.data = weights
    images = torch.tensor([[[[1.0, -1.0, 0.0]]]])  # two, two and no positive channels
    (found,) = positive_channels(nn.Sequential(conv, nn.ReLU()), images, {"1": 0.5})
    assert (found.layer, found.channels, found.least, found.most) == ("1", 4, 0.0, 0.5)
    assert found.mean == pytest.approx(1 / 3)
    assert found.below == pytest.approx(1 / 3)
    assert found.sd == pytest.approx(torch.tensor([0.5, 0.5, 0.0]).std(correction=0).item())


def test_initial_weights_leave_about_half_of_the_channels_positive_and_above_the_threshold() -> None:
    found = positive_channels(initial(mobilenet_v2_mnist()), drawn(16, 1, 28, 28))
    assert len(found) == 1 + 1 + 2 * 9 + 1  # stem, the block without expansion, the others, head
    assert all(0.4 < one.mean < 0.6 for one in found)
    wide = [one for one in found if one.threshold is not None and one.threshold < 1]
    assert all(one.threshold == pytest.approx(1 / 6) for one in wide)
    assert all(one.below is not None and one.below < 0.01 for one in wide)


def test_a_relu_in_the_bottleneck_can_never_be_inverted() -> None:
    needed = thresholds(mobilenet_v2().with_blocks(bottleneck="relu"))
    assert needed["blocks.1.expand.activation"] == pytest.approx(1 / 6)
    assert needed["blocks.2.project.activation"] == 1
    assert needed["blocks.3.project.activation"] == 24 / 32


@pytest.mark.parametrize("mode", [True, False])
def test_the_net_stays_as_it_was(mode: bool) -> None:
    net = initial(TINY).train(mode)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    positive_channels(net, drawn(4, 1, 12, 12))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net.training is mode
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("toggles", TOGGLES, ids=lambda toggles: "-".join(toggles.values()))
def test_the_layers_are_those_of_the_list_of_layers(toggles: dict[str, str]) -> None:
    net = initial(TINY.with_blocks(**toggles))
    inside = {one.layer for one in positive_channels(net, drawn(4, 1, 12, 12)) if one.threshold is not None}
    assert inside == thresholds(net.spec).keys()


def test_no_images_and_no_activations_are_refused() -> None:
    with pytest.raises(PositiveError, match="at least one image"):
        positive_channels(initial(mobilenet_v2_mnist()), drawn(0, 1, 28, 28))
    with pytest.raises(PositiveError, match="no activation"):
        positive_channels(nn.Conv2d(1, 1, 1), drawn(1, 1, 3, 3))
