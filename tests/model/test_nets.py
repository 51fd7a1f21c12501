from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ablate.model.layers import layers
from ablate.model.nets import Net, build
from ablate.model.spec import LEVELS, BlockSpec, NetSpec, StageSpec
from ablate.model.torchvision_weights import WeightsError, from_torchvision
from ablate.model.zoo import NETS


def seeded(spec: NetSpec, seed: int = 0) -> Net:
    return build(spec, generator=torch.Generator().manual_seed(seed))


def calibrated(name: str, images: torch.Tensor) -> nn.Module:
    """torchvision's net with running statistics as after training, so that eval mode has tame activations."""
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
        if isinstance(module, nn.Dropout | torchvision.ops.StochasticDepth):
            module.p = 0.0
    net(images)
    return net


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_torchvisions_weights_give_torchvisions_logits_and_gradients(name: str) -> None:
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    theirs = calibrated(name, images)
    ours = build(replace(NETS[name](), dropout=0))
    ours.load_state_dict(from_torchvision(name, theirs.state_dict()))
    with torch.inference_mode():
        logits = theirs.eval().to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
        torch.testing.assert_close(ours.eval()(images), logits, rtol=0, atol=1e-5)

    ours, theirs, images = ours.double().train(), theirs.double().train(), images.double()
    ours(images).logsumexp(1).sum().backward()
    theirs(images).logsumexp(1).sum().backward()
    expected = from_torchvision(name, {key: p.grad for key, p in theirs.named_parameters()})
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected.pop(key), rtol=1e-6, atol=1e-9)
    assert not expected


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet0_5", "mnasnet1_0", "efficientnet_b0",
        pytest.param("efficientnet_v2_s", marks=pytest.mark.slow), "resnext50_32x4d",
    ],
)  # fmt: skip
def test_further_nets_have_torchvisions_parameters_multiply_adds_and_logits(name: str) -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    theirs = calibrated(name, images).eval()
    ours = build(NETS[name]()).eval()
    ours.load_state_dict(from_torchvision(name, theirs.state_dict()))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        expected = theirs(images)
    torch.testing.assert_close(ours(images), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    macs = sum(layer.macs for layer in layers(NETS[name](), 64, 64))
    assert counter.get_total_flops() == 2 * len(images) * macs


def test_a_foreign_state_dict_is_refused_by_name() -> None:
    with pytest.raises(WeightsError, match=r"resnet50.*fc2"):
        from_torchvision("resnet50", {"fc2.weight": 0})
    with pytest.raises(WeightsError, match="mobilenet_v2"):
        from_torchvision("mobilenet_v2", {"fc.weight": 0})
    with pytest.raises(WeightsError, match="did you mean 'resnet50'"):
        from_torchvision("resnet51", {})


def test_the_initialisation_is_that_of_the_public_implementations() -> None:
    net = seeded(NETS["mobilenet_v2"]())
    weight = net.get_parameter("blocks.16.expand.conv.weight")
    assert float(weight.detach().std()) == pytest.approx((2 / weight.shape[0]) ** 0.5, rel=0.02)
    depthwise = net.get_parameter("blocks.16.spatial.conv.weight")
    assert float(depthwise.detach().std()) == pytest.approx((2 / (960 * 9)) ** 0.5, rel=0.05)
    assert float(net.classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert not net.classifier.bias.any()
    for name, value in net.state_dict().items():
        if ".norm." in name:
            assert (value == (1.0 if name.endswith(("weight", "running_var")) else 0.0)).all(), name


def test_arms_of_equal_shapes_start_from_the_same_weights(tiny: Callable[..., NetSpec]) -> None:
    linear, relu = (seeded(tiny(bottleneck=level), seed=5) for level in ("linear", "relu"))
    other = seeded(tiny(), seed=6).state_dict()
    assert all(torch.equal(a, relu.state_dict()[name]) for name, a in linear.state_dict().items())
    assert not all(torch.equal(a, other[name]) for name, a in linear.state_dict().items())


def test_a_generator_leaves_the_global_random_state_alone(tiny: Callable[..., NetSpec]) -> None:
    before = torch.get_rng_state()
    seeded(tiny())
    assert torch.equal(before, torch.get_rng_state())


def test_without_a_generator_the_global_seed_decides(tiny: Callable[..., NetSpec]) -> None:
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(build(tiny()).classifier.weight)
    assert torch.equal(*nets)


def test_a_net_is_built_on_the_meta_device_without_memory() -> None:
    with torch.device("meta"):
        net = build(NETS["resnet50"]())
        logits = net(torch.empty(2, 3, 224, 224))
    assert {p.device.type for p in net.parameters()} == {"meta"}
    assert logits.shape == (2, 1000)


def test_every_combination_trains_a_step_and_overfits_a_batch(
    toggles: dict[str, str], tiny: Callable[..., NetSpec]
) -> None:
    net = seeded(tiny(**toggles, stem_channels=8, head_channels=16, in_channels=1)).train()
    images = torch.randn(8, 1, 12, 12, generator=torch.Generator().manual_seed(7))
    labels = torch.arange(8) % 4
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] != losses[0]
    assert losses[-1] < 0.05


def behaviour(spec: NetSpec, images: torch.Tensor) -> torch.Tensor:
    """Logits of a training forward pass, with activations large enough for relu6 to clip."""
    net = seeded(spec).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 5.0)
    torch.manual_seed(0)
    with torch.no_grad():
        logits: torch.Tensor = net(images)
    return logits


BASE = NetSpec(
    stages=(StageSpec(channels=8, repeats=2), StageSpec(channels=16, stride=2)),
    stem_channels=8, head_channels=16, stem_stride=1, num_classes=4,
)  # fmt: skip
BLOCK_MOVES = {
    "residual": "classic", "bottleneck": "relu", "activation": "relu", "conv": "full", "shortcut": "none",
    "expand_ratio": 1, "kernel_size": 5, "groups": 4, "se_ratio": 0.25, "se_gate": "hardsigmoid",
}  # fmt: skip
NEEDED = {"groups": {"conv": "full"}, "se_gate": {"se_ratio": 0.25}}  # without which a field is refused
STAGE_MOVES = {"block": BlockSpec(bottleneck="relu"), "channels": 12, "repeats": 3, "stride": 2}
NET_MOVES = {
    "stages": BASE.stages[:1], "stem_channels": 16, "stem_kernel": 5, "stem_stride": 2, "stem_pool": True,
    "head_channels": 0, "activation": "relu", "width_mult": 1.4, "divisor": 5, "dropout": 0.5,
    "norm": "layer", "norm_eps": 0.1, "head_hidden": 7, "drop_path": 0.5, "in_channels": 1, "num_classes": 5,
}  # fmt: skip


# where a block of the user's own comes from is no choice: it says nothing of a block of ours
@pytest.mark.parametrize("field", sorted(set(BlockSpec.__dataclass_fields__) - {"source", "place"}))
def test_every_field_of_a_block_changes_what_the_net_does(field: str) -> None:
    images = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    before = BASE.with_blocks(**NEEDED.get(field, {}))
    moved = before.with_blocks(**{field: BLOCK_MOVES[field]})
    assert not torch.equal(behaviour(before, images), behaviour(replace(moved, activation="relu6"), images))


def test_the_shortcuts_differ_pairwise() -> None:
    images = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    logits = [behaviour(BASE.with_blocks(shortcut=level), images) for level in LEVELS["shortcut"]]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(logits, 2))


@pytest.mark.parametrize("field", StageSpec.__dataclass_fields__)
def test_every_field_of_a_stage_changes_what_the_net_does(field: str) -> None:
    images = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    moved = replace(BASE, stages=(replace(BASE.stages[0], **{field: STAGE_MOVES[field]}), BASE.stages[1]))
    assert not torch.equal(behaviour(BASE, images), behaviour(moved, images))


@pytest.mark.parametrize("field", NetSpec.__dataclass_fields__)
def test_every_field_of_a_net_changes_what_it_does(field: str) -> None:
    images = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    moved = replace(BASE, **{field: NET_MOVES[field]})
    logits = behaviour(moved, images[:, : moved.in_channels])
    assert not torch.equal(behaviour(BASE, images), logits)
