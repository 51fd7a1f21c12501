"""K nets as one give the numbers of each alone: gradients in float64 NCHW, logits, masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from ablate.model.kernels import Dropout
from ablate.model.nets import Net, build
from ablate.model.spec import NetSpec
from ablate.model.stacked import joined, parted, stack
from ablate.model.zoo import NETS

Reference = Callable[[NetSpec, Mapping[str, Tensor], Tensor], Tensor]
LargestError = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], float]
K = 3


def nets_of(spec: NetSpec) -> list[Net]:
    return [build(spec, generator=torch.Generator().manual_seed(seed)).train() for seed in range(K)]


def losses(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Of each net that ``net`` holds, K or one."""
    logits = net(images).view(len(images), len(labels), -1)
    return torch.stack([nn.functional.cross_entropy(logits[:, k], own) for k, own in enumerate(labels)])


def gradients_of(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    losses(net, images, labels).sum().backward()
    return {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("size", [1, 2, 4, 7])
def test_every_toggle_combination_has_each_nets_gradients_of_plain_float64(
    toggles: dict[str, str], size: int, tiny: Callable[..., NetSpec], reference: Reference, largest_error: LargestError
) -> None:
    for in_channels in (1, 3):
        spec = tiny(**toggles, in_channels=in_channels)
        nets = nets_of(spec)
        images = torch.randn(16, K * in_channels, size, size, generator=torch.Generator().manual_seed(in_channels))
        labels = torch.randint(4, (K, 16), generator=torch.Generator().manual_seed(1))
        exact = parted(gradients_of(stack(nets).train().double(), images.double(), labels), K)
        single = parted(gradients_of(stack(nets).train(), images, labels), K)
        for k, (net, own) in enumerate(zip(nets, images.chunk(K, 1), strict=True)):
            weights = {name: p.detach().double().contiguous().requires_grad_() for name, p in net.named_parameters()}
            nn.functional.cross_entropy(reference(spec, weights, own.double()), labels[k]).backward()
            plain = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
            assert largest_error(exact[k], plain) < 1e-9
            # one of these nets is so ill-conditioned on maps of one pixel that alone it is off by 1e-3 in float32
            alone = largest_error(gradients_of(net, own, labels[k : k + 1]), plain)
            assert largest_error(single[k], plain) < 1e-4 + 2 * alone


@pytest.mark.parametrize("name", ["mobilenet_v2_mnist", "mobilenet_v2_cifar"])
def test_in_evaluation_each_net_answers_as_it_does_alone(name: str) -> None:
    spec = NETS[name]()
    nets = [net.eval() for net in nets_of(spec)]
    for k, net in enumerate(nets):
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.running_mean, 0.1 * k)
    images = torch.randn(4, K * spec.in_channels, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = stack(nets).eval()(images).view(4, K, -1)
        alone = torch.stack([net(own) for net, own in zip(nets, images.chunk(K, 1), strict=True)], 1)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_the_stack_changes_none_of_its_nets(tiny: Callable[..., NetSpec]) -> None:
    nets = nets_of(tiny())
    before = [{name: value.clone() for name, value in net.state_dict().items()} for net in nets]
    whole = stack(nets)
    for parameter in whole.parameters():
        nn.init.zeros_(parameter)
    for net, state in zip(nets, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_what_is_joined_comes_apart_again(tiny: Callable[..., NetSpec]) -> None:
    states = [{"net": net.state_dict(), "groups": [1, 2], "step": torch.tensor(3.0)} for net in nets_of(tiny())]
    for before, after in zip(states, parted(joined(states), K), strict=True):
        assert after["groups"] == [1, 2]
        assert after["step"] == 3
        assert before["net"].keys() == after["net"].keys()
        assert all(torch.equal(before["net"][name], after["net"][name]) for name in before["net"])


def test_each_nets_dropout_draws_what_torchs_own_draws_from_its_seed() -> None:
    features = torch.randn(50, K * 40)
    dropout = Dropout(0.3)
    dropout.generators = [torch.Generator().manual_seed(seed) for seed in range(K)]
    for _ in range(2):
        together = dropout(features)
    for seed, part in enumerate(together.chunk(K, 1)):
        torch.manual_seed(seed)
        for _ in range(2):
            alone = nn.functional.dropout(features.chunk(K, 1)[seed], 0.3)
        assert torch.equal(part, alone)
    assert torch.equal(dropout.eval()(features), features)
