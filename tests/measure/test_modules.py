"""The cost of any torch module: equal to that of our nets by arithmetic, to torchvision's tables, to sums by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ablate.measure.cost import estimate
from ablate.measure.modules import module_cost
from ablate.model.nets import build
from ablate.model.zoo import NETS


@pytest.mark.parametrize("name", ["mobilenet_v2_mnist", "mobilenet_v1"])
def test_our_own_nets_cost_what_they_cost_by_arithmetic(name: str) -> None:
    spec = NETS[name](in_channels=1, num_classes=10)
    counted, remarks = module_cost(build(spec), (1, 28, 28), batch_size=32, optimizer="sgd")
    ours = estimate(spec, (1, 28, 28), batch_size=32, optimizer="sgd")
    assert (counted.params, counted.macs, counted.train_flops) == (ours.params, ours.macs, ours.train_flops)
    assert counted.train_peak_bytes == pytest.approx(ours.train_peak_bytes, rel=0.15)
    assert counted.inference_peak_bytes == pytest.approx(ours.inference_peak_bytes, rel=0.01)
    assert not [remark for remark in remarks if "MACs" in remark]


def test_torchvisions_resnet18_costs_what_torchvision_says() -> None:
    from torchvision.models import ResNet18_Weights, resnet18

    published = ResNet18_Weights.IMAGENET1K_V1.meta
    counted, remarks = module_cost(resnet18(), (3, 224, 224), batch_size=1)
    assert counted.params == published["num_params"]
    assert counted.macs == pytest.approx(published["_ops"] * 1e9, rel=5e-3)
    assert "fvcore does not count" in " ".join(remarks)  # the additions


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, -1)
        return ((q @ k.transpose(1, 2)).softmax(-1) @ v).mean(1)


def test_attention_is_counted_by_hand() -> None:
    tokens = 16
    counted, _ = module_cost(Attention(), (8, 4, 4))
    assert counted.params == 8 * 24 + 24
    assert counted.macs == tokens * 8 * 24 + 2 * tokens * tokens * 8


class Looks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 1e9:
            x = x * 2
        return self.linear(x.flatten(1))


def test_a_net_that_looks_at_its_numbers_is_counted_on_real_ones() -> None:
    counted, remarks = module_cost(Looks(), (1, 2, 2))
    assert counted.macs == 8
    assert any("looks at the numbers" in remark for remark in remarks)


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, ...]:
        return grads


class Hides(nn.Module):
    """Multiplies out of fvcore's sight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = Hidden.apply(x.flatten(1), self.weight)
        return out


def test_counters_that_disagree_are_named_and_raise_nothing() -> None:
    counted, remarks = module_cost(Hides(), (1, 2, 2))
    assert counted.macs == 12
    assert "torch counts 12 MACs, fvcore 0 (MACs shown are torch's)" in remarks
