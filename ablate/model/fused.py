"""Convolution, batch norm and activation as one pass over memory each way, in float32 on one thread of a processor.

A map is written once, by its convolution, which adds up its statistics while it is in the cache. Batch norm and
activation are carried out by whoever reads it next; the backward pass mirrors it. Units that follow one another are one
node of autograd's graph (``_Chain``). The arithmetic is that of torch's modules up to the order of additions;
tests/model/test_fused.py holds both to float64. Hooks on the modules inside a unit are not called.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.utils import skip_init

from ablate.model import compiled
from ablate.model.compiled import library

LAYOUT = torch.channels_last
CODES: dict[str | None, int] = {None: 0, "relu": 1, "relu6": 2}  # as in native/native.h

_used = False  # whether the kernels are in use


@contextmanager
def fused_kernels(wanted: bool = True) -> Iterator[bool]:
    """Nets that are run in here on the processor, in float32, use the compiled kernels; whether there are any.

    Kernels that a compiler got wrong are not used: each process lets them prove themselves on a small net first.
    """
    global _used
    before = _used
    _used = wanted and library() is not None and sound()
    try:
        yield _used
    finally:
        _used = before


def in_use(x: Tensor) -> bool:
    """Whether units of this input are carried out here."""
    on_processor = x.device.type == "cpu" and x.dtype == torch.float32
    return _used and on_processor and not torch.is_autocast_enabled("cpu")


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
    """Which kernels carry out this convolution; ``norm``: torch does, and they go on from there."""
    if not isinstance(conv, nn.Conv2d):
        return "norm"
    if conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.groups == 1:
        return "pointwise"
    depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.kernel_size == (3, 3)
    return "depthwise" if depthwise and conv.stride[0] in (1, 2) else "norm"


def _dense(x: Tensor) -> Tensor:
    """The same numbers, N H W C in memory without gaps."""
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
        _call("settle_forward", _at(z), _at(affine), step.code, _at(joined), after, *_rows(z), _at(y))
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
        settled = (_at(d_y), _at(y), _at(z), _at(affine), chain[-1].code, ctx.after)
        _call("settle_backward", *settled, *_rows(z), _at(d_z), _at(d_affine), _at(d_sum))
        found: list[Tensor | None] = []
        for number in reversed(range(count)):
            outcome = (d_z, d_affine, *maps[2 * number : 2 * number + 2])
            before = (*maps[2 * number - 2 : 2 * number], chain[number - 1].code)
            source = before if number else (x, None, 0)
            wanted = bool(number) or ctx.needs_input_grad[2] or chain[number].kind == "depthwise"
            told = (int(ctx.learns[number]), wanted)
            d_z, d_affine, gradients = _backward(chain[number], source, weights[number], outcome, *told)
            found[:0] = gradients
        return None, None, d_z, d_sum if ctx.joins else None, *found
