"""Convolutions and activations that are right and fast on a processor; the numbers are those of torch's own.

Every choice here was measured with one thread in channels_last (AVX2 and AVX-512) and is held to float64 NCHW by
tests/model/test_kernels.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ablate.model.layers import TINY_MAP

# oneDNN issue 6035: below this many input channels, a strided 1x1 convolution in channels_last returns wrong weight
# gradients on AVX2 machines and writes beyond its buffers (tests/model/test_kernels.py shows it).
_SAFE_STRIDED_CHANNELS = 8
# Up to this many pixels a map, a matrix product beats oneDNN's 1x1 convolution, by up to a half at 4 pixels.
_SMALL_MAP_PIXELS = 16


class SubsampledConv(nn.Conv2d):
    """A strided 1x1 convolution that takes every s-th pixel first and convolves with stride 1: the same numbers."""

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C' ceil(H/s) ceil(W/s)."""
        step_h, step_w = self.stride
        return nn.functional.conv2d(x[:, :, ::step_h, ::step_w], self.weight)


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution that is a matrix product over the pixels of small maps."""

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C' H W."""
        batch, channels, height, width = x.shape
        if x.device.type != "cpu" or height * width > _SMALL_MAP_PIXELS:
            return super().forward(x)
        pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)  # a view in channels_last
        out = nn.functional.linear(pixels, self.weight.flatten(1))
        return out.view(batch, height, width, -1).permute(0, 3, 1, 2)


class DepthwiseConv(nn.Conv2d):
    """A depthwise 3x3 convolution that pads tiny maps itself.

    oneDNN's own padding leaves its fast path for the weight gradient there: 9.8 ms against 0.5 ms for 384 channels of
    2x2, batch 64, AVX2. On larger maps its own padding is faster.
    """

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C ceil(H/s) ceil(W/s)."""
        if max(x.shape[2:]) > TINY_MAP:
            return super().forward(x)
        padded = nn.functional.pad(x, (1, 1, 1, 1))
        return nn.functional.conv2d(padded, self.weight, None, self.stride, 0, 1, self.groups)


def convolution(in_channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias and with padding kernel // 2, of the class that is right and fast for its shape."""
    kind: type[nn.Conv2d] = nn.Conv2d
    if kernel == 1 and groups == 1:
        if stride == 1:
            kind = PointwiseConv
        elif in_channels < _SAFE_STRIDED_CHANNELS:
            kind = SubsampledConv
    elif kernel == 3 and groups == in_channels > 1:
        kind = DepthwiseConv
    return kind(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)


class _Relu6InPlace(torch.autograd.Function):
    """ReLU6 whose gradient is read off its output, which the next layer keeps anyway.

    torch's own keeps its input besides, in place or not: a copy of every activation, a third of a training step's
    memory and up to 15 % of its time (mobilenet_v2_cifar, batch 64).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        nn.functional.hardtanh_(x, 0.0, 6.0)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        grad: Tensor = torch.ops.aten.hardtanh_backward(gradient, out, 0.0, 6.0)
        return grad


class ReLU6(nn.Module):
    """min(max(x, 0), 6), in place."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if torch.is_grad_enabled() and x.requires_grad:
            out: Tensor = _Relu6InPlace.apply(x)
            return out
        return nn.functional.hardtanh_(x, 0.0, 6.0)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu6": ReLU6,
    "relu": lambda: nn.ReLU(inplace=True),
    "hardswish": nn.Hardswish,
    "silu": nn.SiLU,
}


class Dropout(nn.Dropout):
    """Dropout of features N C whose masks come from a stream of its own, where it is given one.

    Attributes:
        generator: on the features' device; None: torch's global one. On a processor it draws what torch.nn.Dropout
            draws from the global one.
    """

    generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """N C to N C."""
        if not self.training or self.generator is None:
            return super().forward(x)
        keep = 1 - self.p
        return x * x.new_empty(x.shape).bernoulli_(keep, generator=self.generator).div_(keep)


class DropPath(nn.Module):
    """Stochastic depth: in training, an image's residual is 0 with this probability, else scaled up by as much.

    Attributes:
        generator: as of ``Dropout``.
    """

    generator: torch.Generator | None = None

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to the same shape."""
        if not self.training:
            return x
        keep = 1 - self.probability
        return x * x.new_empty(len(x), 1, 1, 1).bernoulli_(keep, generator=self.generator).div_(keep)


class ChannelsLast(nn.Module):
    """Lays a batch out in channels_last, the layout in which all convolutions here are fastest."""

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to the same numbers, strides of channels_last.

        One channel fits both layouts, so torch leaves its strides as they are and every later layer would follow
        them into the slow layout; they are therefore set by hand.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        if x.shape[1] > 1:
            return x
        height, width = x.shape[2:]
        return x.as_strided(x.shape, (height * width, 1, width, 1))
