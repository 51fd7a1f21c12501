"""Convolution, batch norm and activation as one pass over memory each way, in float32 on one thread of a processor.

A map is written once, by its convolution, which adds up its statistics while it is in the cache. Batch norm and
activation are carried out by whoever reads it next; until then the map waits (``Waiting``). The backward pass mirrors
it. The arithmetic is that of torch's modules up to the order of additions; tests/model/test_fused.py holds both to
float64.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

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


@dataclass(frozen=True)
class Waiting:
    """A map whose batch norm and activation are still to be carried out.

    Attributes:
        z: N C H W in channels_last, as the convolution gave it.
        affine: 4 C: mean, scale, shift, 1 / deviation; act((z - mean) * scale + shift) is meant.
        activation: None, relu or relu6.
    """

    z: Tensor
    affine: Tensor
    activation: str | None


Map = Tensor | Waiting


def in_use(x: Map) -> bool:
    """Whether units of this input are carried out here."""
    if isinstance(x, Waiting):
        return True
    on_processor = x.device.type == "cpu" and x.dtype == torch.float32
    return _used and on_processor and not torch.is_autocast_enabled("cpu")


@functools.cache
def sound() -> bool:
    """Whether the kernels give torch's own numbers for an expansion, a depthwise convolution and a reduction."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, 5, 6, 7, generator=random).contiguous(memory_format=LAYOUT)
    shapes = ((5, 37, 1, 1, 0, 1), (37, 37, 3, 2, 1, 37), (37, 20, 1, 1, 0, 1))
    convs = [skip_init(nn.Conv2d, *shape[:5], groups=shape[5], bias=False) for shape in shapes]
    for conv in convs:
        nn.init.normal_(conv.weight, generator=random)
    found = []
    for fused in (False, True):
        entry = images.clone().requires_grad_()
        x: Map = entry
        for conv in convs:
            conv.weight.grad, norm = None, nn.BatchNorm2d(conv.out_channels)
            x = conv_norm(conv, norm, "relu6", x) if fused else functional.relu6(norm(conv(x)))
        y = settled(x)
        (y * y.detach().cos()).sum().backward()
        found.append([y.detach(), entry.grad, *(conv.weight.grad for conv in convs)])
    return all(float((a - b).norm() / b.norm()) < 1e-3 for a, b in zip(*found, strict=True))


def conv_norm(conv: nn.Module, norm: nn.BatchNorm2d, activation: str | None, x: Map) -> Waiting:
    """The unit's output, N C H W to N C' H' W'; it waits for its batch norm and for ``activation``.

    Raises:
        ValueError: batch norm has one value a channel to learn from.
    """
    kind = _kind(conv)
    if kind is None:
        source: Any = conv(settled(x))
        z, affine = _Norm.apply(source, norm.weight, norm.bias, norm)
    else:
        source, entry, act = (x.z, x.affine, x.activation) if isinstance(x, Waiting) else (x, None, None)
        stride: Any = conv.stride
        z, affine = _Unit.apply(source, entry, conv.weight, norm.weight, norm.bias, CODES[act], kind, stride[0], norm)
    return Waiting(z, affine, activation)


def settled(x: Map, other: Map | None = None, after: str | None = None) -> Tensor:
    """The map itself, batch norm and activation carried out; with ``other``, ``after`` of the sum of both."""
    if not isinstance(x, Waiting):
        return x
    joined = None if other is None else settled(other)
    y: Tensor = _Settled.apply(x.z, x.affine, joined, CODES[x.activation], CODES[after])
    return y


def _kind(conv: nn.Module) -> str | None:
    """Which kernels carry out this convolution; None: torch does."""
    if not isinstance(conv, nn.Conv2d):
        return None
    if conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.groups == 1:
        return "pointwise"
    depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.kernel_size == (3, 3)
    return "depthwise" if depthwise and conv.stride[0] in (1, 2) else None


def _dense(x: Tensor) -> Tensor:
    """The same numbers, N H W C in memory without gaps."""
    return x if x.is_contiguous(memory_format=LAYOUT) else x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _like(x: Tensor) -> Tensor:
    return torch.empty(x.shape, memory_format=LAYOUT)


def _call(kernel: str, *arguments: int | float | None) -> None:
    getattr(library(), kernel)(*arguments)


def _at(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


def _rows(x: Tensor) -> tuple[int, int]:
    """Pixels of all images, and channels."""
    batch, channels, height, width = x.shape
    return batch * height * width, channels


def _sizes(kind: str, x: Tensor, weight: Tensor, stride: int) -> tuple[int, ...]:
    """As the kernels of this kind take them."""
    if kind == "pointwise":
        return *_rows(x), len(weight)
    batch, channels, height, width = x.shape
    return batch, height, width, channels, stride


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
    return [*map(_at, held), norm.momentum, norm.eps], torch.empty(4, len(mean))


class _Unit(torch.autograd.Function):
    """A convolution of an input that may wait, and the affine of its batch norm."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        entry: Tensor | None,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        code: int,
        kind: str,
        stride: int,
        norm: nn.BatchNorm2d,
    ) -> tuple[Tensor, Tensor]:
        x = _dense(x)
        batch, _, height, width = x.shape
        shape = batch, len(weight), (height - 1) // stride + 1, (width - 1) // stride + 1
        z = torch.empty(shape, memory_format=LAYOUT)
        statistics, affine = _statistics(norm, gamma, beta, _rows(z)[0])
        ctx.kind, ctx.code, ctx.sizes = kind, code, _sizes(kind, x, weight, stride)
        source = (_at(x), _at(entry), code, _at(weight))
        _call(f"{kind}_forward", *source, *ctx.sizes, *statistics, _at(z), _at(affine))
        ctx.save_for_backward(x, entry, weight, z, affine)
        return z, affine

    @staticmethod
    def backward(ctx: Any, d_z: Tensor, d_affine: Tensor) -> tuple[Tensor | None, ...]:
        x, entry, weight, z, affine = ctx.saved_tensors
        d_z, d_affine = _dense(d_z), d_affine.contiguous()
        d_x = _like(x) if ctx.needs_input_grad[0] else None
        d_entry = None if entry is None else torch.empty_like(entry)
        d_weight, d_norm = torch.zeros_like(weight), torch.empty(2, len(weight))
        outcome = (_at(d_z), _at(d_affine), _at(z), _at(affine))
        source = (_at(x), _at(entry), ctx.code, _at(weight))
        gradients = (_at(d_x), _at(d_entry), _at(d_weight), _at(d_norm))
        _call(f"{ctx.kind}_backward", *outcome, *source, *ctx.sizes, *gradients)
        return d_x, d_entry, d_weight, d_norm[0], d_norm[1], None, None, None, None


class _Norm(torch.autograd.Function):
    """The affine of a batch norm alone, of what torch's convolution gave."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, gamma: Tensor, beta: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
        source = z
        z = _dense(z)
        statistics, affine = _statistics(norm, gamma, beta, _rows(z)[0])
        if norm.training:
            _call("norm_forward", _at(z), *_rows(z), *statistics, _at(affine))
        ctx.save_for_backward(z, affine)
        return z.view_as(z) if z is source else z, affine

    @staticmethod
    def backward(ctx: Any, d_z: Tensor, d_affine: Tensor) -> tuple[Tensor | None, ...]:
        z, affine = ctx.saved_tensors
        d_z, d_affine = _dense(d_z), d_affine.contiguous()
        d_source, d_norm = _like(z), torch.empty(2, z.shape[1])
        outcome = (_at(d_z), _at(d_affine), _at(z), _at(affine))
        _call("norm_backward", *outcome, *_rows(z), _at(d_source), _at(d_norm))
        return d_source, d_norm[0], d_norm[1], None


class _Settled(torch.autograd.Function):
    """A waiting map as it is meant, and what joins it."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, affine: Tensor, other: Tensor | None, act: int, after: int) -> Tensor:
        other = None if other is None else _dense(other)
        y = _like(z)
        _call("settle_forward", _at(z), _at(affine), act, _at(other), after, *_rows(z), _at(y))
        ctx.save_for_backward(z, affine, y if after else None)
        ctx.codes, ctx.joins = (act, after), other is not None
        return y

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        z, affine, y = ctx.saved_tensors
        d_y = _dense(d_y)
        d_z, d_affine = _like(z), torch.empty_like(affine)
        d_sum = d_y if y is None else _like(z)
        outcome = (_at(d_y), _at(y), _at(z), _at(affine))
        _call("settle_backward", *outcome, *ctx.codes, *_rows(z), _at(d_z), _at(d_affine), _at(d_sum))
        return d_z, d_affine, d_sum if ctx.joins else None, None, None
