"""The compiled kernels give the numbers of plain torch: NCHW, float64, its own functions."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.model import fused
from ablate.model.compiled import library
from ablate.model.fused import kernels_name, with_kernels
from ablate.model.kernels import convolution
from ablate.model.nets import Net, build
from ablate.model.spec import NetSpec
from ablate.model.zoo import NETS

Reference = Callable[[NetSpec, Mapping[str, Tensor], Tensor], Tensor]
LargestError = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], float]
NEAR = 3e-6
ACTIVATIONS = {None: lambda x: x, "relu": functional.relu, "relu6": functional.relu6}


@pytest.fixture(autouse=True)
def _compiled() -> None:
    if library() is None:
        pytest.skip("no C compiler here: torch's own kernels train, and these tests have nothing to look at")


def test_where_there_is_a_compiler_the_kernels_prove_sound_and_are_used() -> None:
    assert str(kernels_name()).startswith("native")


def unit(kernel: int, stride: int, channels: int, out: int) -> nn.ModuleList:
    """A norm, its activation to be, a convolution and its norm; the first norm shifts so that activations clip."""
    groups = channels if kernel == 3 else 1
    entry, norm = nn.BatchNorm2d(channels), nn.BatchNorm2d(out)
    for module in (entry, norm):
        nn.init.normal_(module.weight, 3.0)
        nn.init.normal_(module.bias, 1.0)
    return nn.ModuleList([entry, convolution(channels, out, kernel, stride, groups), norm])


@dataclass
class Part:
    """A unit as ``fused.run`` takes it."""

    conv: nn.Module
    norm: nn.BatchNorm2d
    activation_name: str | None
    activation: nn.Module = dataclasses.field(default_factory=nn.Identity)


@dataclass(frozen=True)
class Found:
    """What a unit gives, its running statistics, and the gradients of a fixed projection of what it gives."""

    y: Tensor
    statistics: list[Tensor]
    gradients: dict[str, Tensor]


def run(modules: nn.ModuleList, act: str | None, images: Tensor, *, waits: bool, ours: bool) -> Found:
    entry, conv, norm = modules
    x = images.clone().requires_grad_()
    if ours:
        parts = [Part(nn.Identity(), entry, act), Part(conv, norm, act)]
        y = fused.run(parts if waits else parts[1:], x)
    else:
        seen = ACTIVATIONS[act](entry(x)) if waits else x
        y = ACTIVATIONS[act](
            norm(functional.conv2d(seen, conv.weight, None, conv.stride, conv.padding, 1, conv.groups))
        )
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(y.dtype)
    (y * direction).sum().backward()
    statistics = [buffer.double() for buffer in (modules if waits else norm).buffers()]
    return Found(y.detach().double(), statistics, {**gradients_of(modules), "images": x.grad})  # type: ignore[dict-item]


def gradients_of(net: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}


def unit_like(modules: nn.ModuleList) -> nn.ModuleList:
    _, conv, _ = modules
    again = unit(conv.kernel_size[0], conv.stride[0], conv.in_channels, conv.out_channels)
    again.load_state_dict(modules.state_dict())
    return again


@torch.no_grad()
def clear_of_kinks(plain: nn.ModuleList, shape: tuple[int, ...], *, waits: bool) -> Tensor:
    """Images of which nothing comes so near to where an activation bends that rounding could take it across."""
    entry, conv, norm = unit_like(plain).double()
    for seed in range(100):
        images = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        first = entry(images.double()) if waits else images.double() + 100
        clear = True
        for act in ACTIVATIONS.values():
            maps = (first, norm(conv(act(first) if waits else images.double())))
            clear = clear and all(float((x - kink).abs().min()) > NEAR for x in maps for kink in (0, 6))
        if clear:
            return images
    raise AssertionError("no such images")


@pytest.fixture
def compare(largest_error: LargestError) -> Callable[..., float]:
    """The largest relative error of ours in float32 against plain NCHW in float64."""

    def error(modules: nn.ModuleList, act: str | None, shape: tuple[int, ...], *, waits: bool) -> float:
        plain = unit_like(modules).double()
        images = clear_of_kinks(plain, shape, waits=waits)
        ours = run(modules, act, images.contiguous(memory_format=torch.channels_last), waits=waits, ours=True)
        exact = run(plain, act, images.double().contiguous(), waits=waits, ours=False)
        pairs = zip([ours.y, *ours.statistics], [exact.y, *exact.statistics], strict=True)
        assert ours.gradients.keys() == exact.gradients.keys()
        values = max(float((a - b).norm() / b.norm()) for a, b in pairs)
        return max(values, largest_error(ours.gradients, exact.gradients))

    return error


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(("channels", "out"), [(1, 5), (3, 16), (8, 24), (20, 7), (37, 70), (96, 33)])
def test_a_1x1_convolution_has_the_gradients_of_plain_float64(
    channels: int, out: int, waits: bool, act: str | None, compare: Callable[..., float]
) -> None:
    torch.manual_seed(channels)
    for size in ((1, 1), (2, 2), (5, 3), (14, 13)):
        modules = unit(1, 1, channels, out)
        assert compare(modules, act, (4, channels, *size), waits=waits) < 1e-4, size


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [1, 3, 8, 24, 37])
def test_a_depthwise_convolution_has_the_gradients_of_plain_float64(
    channels: int, stride: int, waits: bool, act: str | None, compare: Callable[..., float]
) -> None:
    torch.manual_seed(channels)
    for size in ((1, 1), (2, 2), (3, 2), (1, 6), (8, 7), (33, 30)):
        modules = unit(3, stride, channels, channels)
        assert compare(modules, act, (4, channels, *size), waits=waits) < 1e-4, size


@pytest.mark.parametrize("stride", [1, 2])
def test_a_map_that_is_taken_in_bands_and_blocks_of_channels_has_them_too(
    stride: int, compare: Callable[..., float]
) -> None:
    torch.manual_seed(0)
    modules = unit(3, stride, 45, 45)
    assert compare(modules, "relu6", (1, 45, 21, 250), waits=True) < 1e-4


def test_what_is_a_thousand_deviations_off_zero_keeps_its_variance() -> None:
    torch.manual_seed(0)
    modules = unit(1, 1, 8, 24)
    images = torch.randn(16, 8, 9, 9) + 1000
    plain = unit_like(modules)
    exact = run(plain.double(), "relu", images.double(), waits=True, ours=False)
    torch_too = run(unit_like(modules), "relu", images, waits=True, ours=False)
    ours = run(modules, "relu", images, waits=True, ours=True)

    def error(found: Found) -> float:
        return float((found.y - exact.y).norm() / exact.y.norm())

    assert error(ours) < 1.5 * error(torch_too) + 1e-6


def two_of(spec: NetSpec) -> tuple[Net, Net]:
    """The same net twice, with and without the kernels."""
    ours, plain = (build(spec, generator=torch.Generator().manual_seed(3)).train() for _ in range(2))
    return with_kernels(ours), plain


@pytest.mark.parametrize("size", [1, 2, 4, 7])
def test_every_toggle_combination_has_the_gradients_of_plain_float64(
    toggles: dict[str, str], size: int, tiny: Callable[..., NetSpec], reference: Reference, largest_error: LargestError
) -> None:
    for in_channels in (1, 2, 3):
        spec = tiny(**toggles, in_channels=in_channels)
        images = torch.randn(16, in_channels, size, size, generator=torch.Generator().manual_seed(in_channels))
        labels = torch.arange(16) % 4
        ours, plain = two_of(spec)
        functional.cross_entropy(ours(images), labels).backward()
        functional.cross_entropy(plain(images), labels).backward()
        weights = {name: p.detach().double().contiguous().requires_grad_() for name, p in plain.named_parameters()}
        functional.cross_entropy(reference(spec, weights, images.double()), labels).backward()
        exact = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
        # on maps of one pixel a net can be so ill-conditioned that float32 is off by more, by torch's kernels too
        assert largest_error(gradients_of(ours), exact) < 1e-4 + 2 * largest_error(gradients_of(plain), exact)


@pytest.mark.parametrize("activation", ["relu6", "relu", "hardswish", "silu"])
@pytest.mark.parametrize("residual", ["inverted", "classic"])
@pytest.mark.parametrize("shortcut", ["identity", "projection", "none"])
def test_every_activation_and_shortcut_has_the_gradients_of_plain_float64(
    activation: str, residual: str, shortcut: str, tiny: Callable[..., NetSpec], reference: Reference,
    largest_error: LargestError,
) -> None:  # fmt: skip
    spec = tiny(activation=activation, residual=residual, shortcut=shortcut, stem_pool=True)
    net = build(spec, generator=torch.Generator().manual_seed(1)).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 4.0)  # so that relu6 clips
    images = 3 * torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    weights = {name: p.detach().double().contiguous().requires_grad_() for name, p in net.named_parameters()}
    with_kernels(net)(images).square().sum().backward()
    reference(spec, weights, images.double()).square().sum().backward()
    exact = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    assert largest_error(gradients_of(net), exact) < 1e-4


@pytest.mark.parametrize("name", ["mobilenet_v2_mnist", "mobilenet_v2_cifar"])
def test_a_net_of_the_zoo_has_torchs_logits_statistics_and_gradients(name: str, largest_error: LargestError) -> None:
    spec = dataclasses.replace(NETS[name](), dropout=0.0)
    images = torch.randn(8, spec.in_channels, 28, 28, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8)
    ours, plain = two_of(spec)
    functional.cross_entropy(ours(images), labels).backward()
    functional.cross_entropy(plain(images), labels).backward()
    exact = two_of(spec)[1].double()
    functional.cross_entropy(exact(images.double()), labels).backward()
    # activations that lie where they bend fall to either side by rounding, with torch's kernels as with these
    error_of_torch = largest_error(gradients_of(plain), gradients_of(exact))
    assert largest_error(gradients_of(ours), gradients_of(exact)) < 1e-4 + 3 * error_of_torch
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer.double(), exact.get_buffer(name).double(), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        logits = ours.eval()(images)
    torch.testing.assert_close(logits.double(), exact.eval()(images.double()), rtol=1e-4, atol=1e-4)


def gradients_both_ways(net: Net, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Ours, and torch's own in float64."""
    exact = copy.deepcopy(net).double()
    with_kernels(net)(images).square().sum().backward()
    exact(images.double()).square().sum().backward()
    return gradients_of(net), gradients_of(exact)


@pytest.mark.parametrize("eval_of", ["everything", "one norm", "no norm"])
def test_a_norm_that_does_not_learn_has_the_gradients_of_fixed_statistics(
    eval_of: str, tiny: Callable[..., NetSpec], largest_error: LargestError
) -> None:
    net = two_of(tiny())[1]
    images = torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        net(2 * images + 1)  # so that the running statistics are not the batch's
    if eval_of == "everything":
        net.eval()
    elif eval_of == "one norm":
        net.blocks[1].spatial.norm.eval()  # type: ignore[union-attr, operator]
    ours, exact = gradients_both_ways(net, images)
    assert largest_error(ours, exact) < 1e-4


@pytest.mark.parametrize("frozen", ["stem", "blocks.0.spatial", "blocks.1"])
def test_frozen_parameters_leave_the_others_their_gradients(
    frozen: str, tiny: Callable[..., NetSpec], largest_error: LargestError
) -> None:
    net = two_of(tiny(expand_ratio=1))[1]  # a depthwise convolution comes right behind the stem
    for parameter in net.get_submodule(frozen).parameters():
        parameter.requires_grad_(requires_grad=False)
    ours, exact = gradients_both_ways(net, torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(0)))
    assert ours.keys() == exact.keys()
    assert largest_error(ours, exact) < 1e-4


def test_a_stem_of_one_channel_that_is_depthwise_too_trains(
    tiny: Callable[..., NetSpec], largest_error: LargestError
) -> None:
    net = two_of(tiny(in_channels=1, stem_channels=1))[1]
    ours, exact = gradients_both_ways(net, torch.randn(8, 1, 9, 9, generator=torch.Generator().manual_seed(0)))
    assert largest_error(ours, exact) < 1e-4


def test_weights_count_by_their_values_however_they_lie_in_memory(tiny: Callable[..., NetSpec]) -> None:
    net, images = two_of(tiny())[0], torch.randn(4, 3, 9, 9)
    turned = {
        name: weight.detach().transpose(0, 1).contiguous().transpose(0, 1) if weight.ndim > 1 else weight
        for name, weight in net.named_parameters()
    }
    torch.testing.assert_close(torch.func.functional_call(net, turned, (images,)), net(images))


def test_the_default_dtype_and_device_change_nothing(tiny: Callable[..., NetSpec]) -> None:
    net, images = two_of(tiny())[0].eval(), torch.randn(4, 3, 9, 9)
    with torch.no_grad():
        expected = net(images)
        torch.set_default_dtype(torch.float64)
        try:
            assert torch.equal(net(images), expected)
        finally:
            torch.set_default_dtype(torch.float32)
        with torch.device("meta"):
            assert torch.equal(net(images), expected)


def test_what_the_kernels_are_not_made_for_is_refused(tiny: Callable[..., NetSpec]) -> None:
    net, images = two_of(tiny())[0], torch.randn(4, 3, 9, 9)
    loss = net(images).square().sum()
    (first, *_) = torch.autograd.grad(loss, [net.stem.conv.weight], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
    with pytest.raises(TypeError, match="float32"):
        fused.run([Part(convolution(3, 8, 1, 1).double(), nn.BatchNorm2d(8), None)], images)
    pointwise = Part(convolution(3, 8, 1, 1), nn.BatchNorm2d(8), None)
    for wrong in (images.double(), images.to("meta")):
        with pytest.raises(TypeError, match="for float32 on a processor"):
            fused.run([pointwise], wrong)
    with pytest.raises(TypeError, match="bfloat16"), torch.autocast("cpu", torch.bfloat16):
        net(images)
    with pytest.raises(ValueError, match="takes 4 channels, got 3"):
        fused.run([Part(convolution(4, 8, 1, 1), nn.BatchNorm2d(8), None)], images)
    with pytest.raises(ValueError, match="does not join"):
        fused.run([pointwise], images, nn.Identity())


@pytest.mark.parametrize("name", ["mobilenet_v2_mnist", "mobilenet_v2_cifar"])
def test_they_keep_about_half_of_what_torchs_own_keep_for_the_backward_pass(name: str) -> None:
    net, images = build(NETS[name]()), torch.randn(2, NETS[name]().in_channels, 28, 28)

    def kept(net: Net) -> int:
        """Bytes of what is saved, each piece of memory once; weights, which are there anyway, left out."""
        weights = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
        saved: dict[int, int] = {}

        def keep(x: Tensor) -> Tensor:
            saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            logits = net(images)
        assert logits.requires_grad
        return sum(size for at, size in saved.items() if at not in weights)

    torchs = kept(net)
    assert 0.4 * torchs < kept(with_kernels(net)) < 0.65 * torchs


def test_they_prove_themselves_without_gradients_too() -> None:
    fused.sound.cache_clear()
    with torch.inference_mode():
        assert kernels_name()


def test_two_runs_give_the_same_bits(tiny: Callable[..., NetSpec]) -> None:
    images = torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    nets = [two_of(tiny())[0] for _ in range(2)]
    for net in nets:
        net(images).square().sum().backward()
    first, second = (gradients_of(net) for net in nets)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("act", ["relu", "relu6", None])
def test_a_value_that_is_no_number_stays_one_so_that_divergence_is_seen(act: str | None) -> None:
    modules = unit(1, 1, 8, 16)
    images = torch.randn(4, 8, 3, 3)
    images[0, 0, 0, 0] = float("nan")
    assert run(modules, act, images, waits=True, ours=True).y.isnan().any()


def test_batch_norm_of_one_value_a_channel_is_an_error_as_it_is_torchs() -> None:
    with pytest.raises(ValueError, match="more than 1 value"):
        fused.run([Part(convolution(4, 4, 1, 1), nn.BatchNorm2d(4), None)], torch.randn(1, 4, 1, 1))
