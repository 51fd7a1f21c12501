"""Convolution, batch norm and activation as one pass over memory each way, in float32 on one thread of a processor.

A map is written once, by its convolution, which adds up its statistics while it is in the cache. Batch norm and
activation are carried out by whoever reads it next; the backward pass mirrors it. Units that follow one another are one
node of autograd's graph (``_Chain``). The arithmetic is that of torch's modules up to the order of additions;
tests/model/test_fused.py holds both to float64. ``with_kernels`` puts them into a built net.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.utils import skip_init

from ablate.errors import AblateError
from ablate.model import compiled
from ablate.model.blocks import Block, ConvUnit
from ablate.model.compiled import library

LAYOUT = torch.channels_last
CODES: dict[str | None, int] = {None: 0, "relu": 1, "relu6": 2}  # as in native/native.h


N = TypeVar("N", bound=nn.Module)


def kernels_name() -> str | None:
    """What records call the compiled kernels: "native avx2" are made for this very processor, "wheel avx2" for all with
    AVX2. None where there are none that can be used.

    Kernels that a compiler got wrong are not used: each process lets them prove themselves on a small net first.
    """
    return compiled.name() if library() is not None and sound() else None


def with_kernels(net: N) -> N:
    """Swaps the compiled kernels into a net, in place, where they cover what it does; the rest stays torch's.

    Parameters, state dict and numbers stay as they are, up to the order of additions. From here on the net is for
    float32 on a processor, and hooks inside a unit or a block are refused when it runs.

    >>> from ablate.model.nets import build
    >>> from ablate.model.zoo import mobilenet_v2_mnist
    >>> net = with_kernels(build(mobilenet_v2_mnist())) if kernels_name() else build(mobilenet_v2_mnist())
    """
    for name, child in net.named_children():
        if isinstance(child, Block) and _covered_whole(child):
            setattr(net, name, FusedBlock(child))
        elif _covered(child):
            setattr(net, name, FusedUnit(child))
        else:
            with_kernels(child)
    return net


def _covered_whole(block: Block) -> bool:
    part = block.part
    return all(map(_covered, block.body)) and not part.drop_path and not (part.inner and part.shortcut)


def _covered(module: nn.Module) -> TypeGuard[ConvUnit]:
    return isinstance(module, ConvUnit) and isinstance(module.norm, nn.BatchNorm2d)


class _Fused(nn.Module):
    """Runs as one what its children stand for; they are not called, so hooks on them would be passed by."""

    hidden: tuple[tuple[str, nn.Module], ...]

    def refuse_hooks(self) -> None:
        """Raises an AblateError where a child has one."""
        for name, module in self.hidden:
            if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:  # noqa: SLF001
                raise AblateError(
                    f"a hook on {name!r} would not be called: the compiled kernels run a whole unit or block at once; "
                    "remove it, or run the net without with_kernels (in a study: ABLATE_KERNELS=torch)"
                )


class FusedUnit(_Fused):
    """A ConvUnit on the compiled kernels."""

    def __init__(self, unit: ConvUnit) -> None:
        super().__init__()
        assert isinstance(unit.norm, nn.BatchNorm2d)
        self.conv, self.norm, self.activation = unit.conv, unit.norm, unit.activation
        self.activation_name = unit.part.activation
        self.hidden = tuple(self.named_children())

    def forward(self, x: Tensor) -> Tensor:
        """As of ``ConvUnit``."""
        self.refuse_hooks()
        return run([self], x)


class FusedBlock(_Fused):
    """A Block on the compiled kernels, under the same names."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.units: list[FusedUnit] = []
        for part in block.part.body:
            unit = FusedUnit(block.get_submodule(part.name))  # type: ignore[arg-type]
            self.add_module(part.name, unit)
            self.units.append(unit)
        self.hidden = tuple((name, module) for name, module in self.named_modules() if name)
        shortcut = block.shortcut
        self.shortcut = FusedUnit(shortcut) if isinstance(shortcut, ConvUnit) else shortcut
        self.activation = block.activation
        self.activation_name = block.part.activation

    def forward(self, x: Tensor) -> Tensor:
        """As of ``Block``."""
        self.refuse_hooks()
        return run(self.units, x, self.shortcut, self if self.activation_name else None)


class Activated(Protocol):
    """Something that ends in an activation: the module, and its name (None: an identity)."""

    @property
    def activation(self) -> nn.Module: ...
    @property
    def activation_name(self) -> str | None: ...


class Unit(Activated, Protocol):
    """Convolution, batch norm and activation."""

    @property
    def conv(self) -> nn.Module: ...
    @property
    def norm(self) -> nn.BatchNorm2d: ...


def run(units: Sequence[Unit], x: Tensor, shortcut: nn.Module | None = None, after: Activated | None = None) -> Tensor:
    """What the units make of N C H W, one after the other; plus ``shortcut`` of it; then the activation of ``after``.

    Convolutions that are not for these kernels, and activations other than those in ``CODES``, are torch's own.

    Raises:
        ValueError: batch norm has one value a channel to learn from.
    """
    other = None if shortcut is None else shortcut(x)
    chain: list[_Step] = []
    for unit in units:
        if (kind := _kind(unit.conv)) == "norm":
            x, chain = unit.conv(_chained(chain, x)), []
        chain.append(_Step(kind, unit.conv, unit.norm, CODES.get(unit.activation_name, 0)))
        if unit.activation_name not in CODES:
            x, chain = unit.activation(_chained(chain, x)), []
    code = CODES.get(after.activation_name, 0) if after and chain else 0
    y = _chained(chain, x, other, code)
    return after.activation(y) if after and not code else y


def absence() -> str | None:
    """Why the kernels are not used, in a few words; None where they are, or where torch's own were asked for."""
    if (reason := compiled.absence()) or library() is None or sound():
        return reason
    return "The compiled kernels do not give torch's numbers here"


@functools.cache
def sound() -> bool:
    """Whether the kernels give torch's own numbers for a block with a shortcut, and one with a stride."""
    with torch.inference_mode(False), torch.enable_grad():
        ours, torchs = _tried(fused=True), _tried(fused=False)
    return all(float((a - b).norm() / b.norm()) < 1e-3 for a, b in zip(ours, torchs, strict=True))


def _tried(*, fused: bool) -> list[Tensor]:
    """What two small blocks give, and the gradients of it by images and weights."""
    random = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float32, device="cpu")

    images = drawn(2, 5, 6, 7).contiguous(memory_format=LAYOUT).requires_grad_()
    convs, y = [], images
    for stride in (1, 2):
        chain = []
        for channels, out, kernel in ((5, 37, 1), (37, 37, 3), (37, 5, 1)):
            groups, step = (channels, stride) if kernel == 3 else (1, 1)
            conv = skip_init(nn.Conv2d, channels, out, kernel, step, kernel // 2, groups=groups, bias=False)
            conv.weight = nn.Parameter(drawn(*conv.weight.shape))
            norm = nn.BatchNorm2d(out, device="cpu", dtype=torch.float32)
            chain.append(_Step(_kind(conv), conv, norm, CODES["relu6"]))
        convs += [step.conv for step in chain]
        other = y if stride == 1 else None
        if fused:
            y = _chained(chain, y, other, CODES["relu"])
        else:
            main = functools.reduce(lambda x, step: functional.relu6(step.norm(step.conv(x))), chain, y)
            y = functional.relu(main if other is None else main + other)
    (y * y.detach().cos()).sum().backward()
    return [y.detach(), images.grad, *(conv.weight.grad for conv in convs)]


@dataclass(frozen=True)
class _Step:
    """A unit of a chain; ``kind`` is pointwise, depthwise, or norm: torch has convolved."""

    kind: str
    conv: Any
    norm: nn.BatchNorm2d
    code: int  # of the activation

    @property
    def parameters(self) -> tuple[Tensor | None, Tensor, Tensor]:
        """Weight, gamma, beta."""
        return None if self.kind == "norm" else self.conv.weight, self.norm.weight, self.norm.bias


def _chained(chain: Sequence[_Step], x: Tensor, other: Tensor | None = None, after: int = 0) -> Tensor:
    if not chain:
        return x if other is None else x + other
    parameters = [parameter for step in chain for parameter in step.parameters]
    if wrong := {p.dtype for p in parameters if p is not None and p.dtype != torch.float32}:
        raise TypeError(f"the compiled kernels are for float32, not {wrong.pop()}")
    y: Tensor = _Chain.apply(chain, after, _dense(x), other, *parameters)
    return y


def _kind(conv: nn.Module) -> str:
    """Which kernels carry out this convolution; ``norm``: torch does, and ours take its result."""
    if not isinstance(conv, nn.Conv2d):
        return "norm"
    if conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.groups == 1:
        return "pointwise"
    depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.kernel_size == (3, 3)
    return "depthwise" if depthwise and conv.stride[0] in (1, 2) else "norm"


def _dense(x: Tensor) -> Tensor:
    """The same numbers, N H W C in memory without gaps."""
    if x.dtype != torch.float32 or x.device.type != "cpu":
        raise TypeError(f"the compiled kernels are for float32 on a processor, not {x.dtype} on {x.device}")
    return x if x.is_contiguous(memory_format=LAYOUT) else x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _like(x: Tensor) -> Tensor:
    return _map(x.shape)


def _map(shape: Sequence[int]) -> Tensor:
    return torch.empty(shape, memory_format=LAYOUT, dtype=torch.float32, device="cpu")


def _rows_of(count: int, channels: int) -> Tensor:
    return torch.empty(count, channels, dtype=torch.float32, device="cpu")


def _call(kernel: str, *arguments: int | float | None) -> None:
    getattr(library(), kernel)(*arguments)


def _at(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


def _rows(x: Tensor) -> tuple[int, int]:
    """Pixels of all images, and channels."""
    batch, channels, height, width = x.shape
    return batch * height * width, channels


def _sizes(step: _Step, x: Tensor) -> tuple[int, ...]:
    """As the step's kernels take them."""
    if step.kind == "pointwise":
        return *_rows(x), step.conv.out_channels
    batch, channels, height, width = x.shape
    return batch, height, width, channels, step.conv.stride[0]


def _statistics(
    norm: nn.BatchNorm2d, gamma: Tensor, beta: Tensor, values: int
) -> tuple[list[int | float | None], Tensor]:
    """What the kernels take of a batch norm, and its affine, which they fill in training."""
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None or norm.momentum is None:
        raise AssertionError("the nets of this package keep running statistics")
    if not norm.training:
        inverse = (var + norm.eps).rsqrt()
        return [None] * 5 + [0.0, 0.0], torch.stack([mean, gamma * inverse, beta, inverse])
    if values < 2:
        raise ValueError(f"batch norm needs more than 1 value a channel to train on, got {values}")
    held = (gamma, beta, mean, var, norm.num_batches_tracked)
    return [*map(_at, held), norm.momentum, norm.eps], _rows_of(4, len(mean))


def _forward(
    step: _Step, source: tuple[Tensor, Tensor | None, int], parameters: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The step's map, which waits for its batch norm and activation, and the affine that stands for them.

    ``source``: the map before, its affine (None: it waits for nothing) and the code of its activation.
    """
    x, entry, code = source
    weight, gamma, beta = parameters
    if step.kind == "norm":
        statistics, affine = _statistics(step.norm, gamma, beta, _rows(x)[0])
        if step.norm.training:
            _call("norm_forward", _at(x), *_rows(x), *statistics, _at(affine))
        return x, affine
    batch, channels, height, width = x.shape
    if channels != step.conv.in_channels:
        raise ValueError(f"the convolution takes {step.conv.in_channels} channels, got {channels}")
    stride = step.conv.stride[0]
    shape = batch, len(weight), (height - 1) // stride + 1, (width - 1) // stride + 1
    z = _map(shape)
    statistics, affine = _statistics(step.norm, gamma, beta, _rows(z)[0])
    before = (_at(x), _at(entry), code, _at(weight))
    _call(f"{step.kind}_forward", *before, *_sizes(step, x), *statistics, _at(z), _at(affine))
    return z, affine


def _backward(
    step: _Step,
    source: tuple[Tensor, Tensor | None, int],
    weight: Tensor | None,
    outcome: Sequence[Tensor | None],
    learns: int,
    wanted: bool,
) -> tuple[Tensor | None, Tensor | None, Sequence[Tensor | None]]:
    """The gradients of the map before (if ``wanted``), of its affine, and of weight, gamma and beta.

    ``outcome``: the gradients of the step's map and affine, and both. ``learns``: the statistics were the batch's.
    """
    x, entry, code = source
    d_norm = _rows_of(2, step.norm.num_features)
    if weight is None:
        d_x = _like(x)
        _call("norm_backward", *map(_at, outcome), *_rows(x), learns, _at(d_x), _at(d_norm))
        return d_x, None, (None, *d_norm.unbind())
    d_map = _like(x) if wanted else None
    d_entry = None if entry is None else torch.empty_like(entry)
    d_weight = torch.zeros_like(weight)
    before = (_at(x), _at(entry), code, _at(weight))
    gradients = (_at(d_map), _at(d_entry), _at(d_weight), _at(d_norm))
    _call(f"{step.kind}_backward", *map(_at, outcome), *before, *_sizes(step, x), learns, *gradients)
    return d_map, d_entry, (d_weight, *d_norm.unbind())


class _Chain(torch.autograd.Function):
    """Units one after the other, and what joins them at the end."""

    @staticmethod
    def forward(
        ctx: Any, chain: Sequence[_Step], after: int, x: Tensor, other: Tensor | None, *parameters: Tensor
    ) -> Tensor:
        # the kernels read weights as they lie in memory: C' C and C 9
        parameters = tuple(p if p is None else p.contiguous() for p in parameters)
        maps: list[Tensor] = []
        source: tuple[Tensor, Tensor | None, int] = (x, None, 0)
        for number, step in enumerate(chain):
            z, affine = _forward(step, source, parameters[3 * number : 3 * number + 3])
            source = (z, affine, step.code)
            maps += [z, affine]
        if other is not None and other.shape != z.shape:
            raise ValueError(f"a shortcut of {tuple(other.shape)} does not join a map of {tuple(z.shape)}")
        joined = None if other is None else _dense(other)
        y = _like(z)
        _call("normalise_forward", _at(z), _at(affine), step.code, _at(joined), after, *_rows(z), _at(y))
        ctx.chain, ctx.after, ctx.joins = chain, after, other is not None
        ctx.learns = [step.norm.training for step in chain]
        ctx.save_for_backward(x, y if after else None, *parameters[::3], *maps)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        chain, count = ctx.chain, len(ctx.chain)
        x, y, *rest = ctx.saved_tensors
        weights, maps = rest[:count], rest[count:]
        z, affine = maps[-2:]
        d_y = _dense(d_y)
        d_z: Tensor | None = _like(z)
        d_affine: Tensor | None = torch.empty_like(affine)
        d_sum = _like(z) if ctx.after else d_y
        given = (_at(d_y), _at(y), _at(z), _at(affine), chain[-1].code, ctx.after)
        _call("normalise_backward", *given, *_rows(z), _at(d_z), _at(d_affine), _at(d_sum))
        found: list[Tensor | None] = []
        for number in reversed(range(count)):
            outcome = (d_z, d_affine, *maps[2 * number : 2 * number + 2])
            before = (*maps[2 * number - 2 : 2 * number], chain[number - 1].code)
            source = before if number else (x, None, 0)
            told = int(ctx.learns[number]), bool(number) or ctx.needs_input_grad[2] or chain[number].kind == "depthwise"
            d_z, d_affine, gradients = _backward(chain[number], source, weights[number], outcome, *told)
            found[:0] = gradients
        return None, None, d_z, d_sum if ctx.joins else None, *found
