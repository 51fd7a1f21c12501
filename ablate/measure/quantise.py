"""A trained net in low precision: weights and activations rounded to a few bits, in float arithmetic.

Post-training and symmetric for weights, affine for activations, as arXiv:1806.08342 (sections 2 and 3) describes; the
paper's claim is that ReLU6 makes nets robust in low precision (arXiv:1801.04381, section 3.3).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ablate.errors import AblateError
from ablate.measure.positive import ACTIVATIONS

LEAST_BITS, MOST_BITS = 2, 16


class QuantiseError(AblateError):
    """A bit width out of range, or nothing to calibrate on."""


def check_bits(bits: int) -> None:
    """Refuses a bit width that is no whole number from 2 to 16.

    Raises:
        QuantiseError: it is not.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not LEAST_BITS <= bits <= MOST_BITS:
        raise QuantiseError(f"bits must be a whole number from {LEAST_BITS} to {MOST_BITS}, got {bits!r}")


def rounded_weights(weight: Tensor, bits: int, *, per_channel: bool) -> Tensor:
    """The nearest multiples of a step, symmetric around 0, of which the largest weight is the last.

    Args:
        weight: out channels first, of any number of dimensions.
        bits: 8 gives the whole numbers from -127 to 127 times the step.
        per_channel: a step for each output channel, else one for the tensor.

    Raises:
        QuantiseError: ``bits`` is out of range.

    Example:
        >>> rounded_weights(torch.tensor([[0.1, 1.0]]), 2, per_channel=False).tolist()
        [[0.0, 1.0]]
    """
    check_bits(bits)
    largest = 2 ** (bits - 1) - 1
    size = weight.abs()
    peak = size.flatten(1).amax(1).reshape(-1, *[1] * (weight.dim() - 1)) if per_channel else size.amax()
    step = torch.where(peak > 0, peak / largest, torch.ones_like(peak))
    return (weight / step).round().clamp(-largest, largest) * step


class Rounded(nn.Module):
    """Rounds activations to 2^bits levels between the ends of the range that was seen in calibration.

    Attributes:
        low, high: of the range, 0 among it, so that zero stays exactly zero (padding and ReLU rely on it).
    """

    low: Tensor
    high: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        check_bits(bits)
        self.levels = 2**bits - 1
        self.calibrating = True
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if self.calibrating:
            self.low = torch.minimum(self.low, x.min().to(self.low))
            self.high = torch.maximum(self.high, x.max().to(self.high))
            return x
        step = (self.high - self.low) / self.levels
        if not step > 0:
            return torch.zeros_like(x)
        zero = (-self.low / step).round()
        whole = (x / step + zero).round().clamp(0, self.levels)
        out: Tensor = (whole - zero) * step
        return out


class Shift(nn.Module):
    """Adds a number to each channel: what is left of a batch norm whose scale the convolution's weights have taken."""

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C H W."""
        return x + self.get_buffer("shift")[:, None, None]


def fold_norms(net: nn.Module) -> None:
    """Every batch norm that follows a convolution among its siblings becomes a Shift, its scale part of the weights."""
    for parent in list(net.modules()):
        before: nn.Module | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
                setattr(parent, name, _folded(before, child))
            before = child


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Shift:
    if norm.running_mean is None or norm.running_var is None:
        raise QuantiseError("quantised: a batch norm without running statistics cannot be folded")
    scale = (norm.running_var + norm.eps).rsqrt()
    shift = -norm.running_mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    conv.weight.mul_(scale[:, None, None, None])
    if conv.bias is not None:
        shift = shift + conv.bias * scale
        conv.bias = None
    return Shift(shift)


def _insert(net: nn.Module, bits: int) -> list[Rounded]:
    """Rounds what ``quantised`` says, and returns what rounds it; the linear layer's input is rounded too."""
    rounders: list[Rounded] = []

    def rounder() -> Rounded:
        rounders.append(Rounded(bits))
        return rounders[-1]

    for parent in list(net.modules()):
        children = list(parent.named_children())
        for place, (name, child) in enumerate(children):
            following = children[place + 1][1] if place + 1 < len(children) else None
            if isinstance(child, ACTIVATIONS) or (isinstance(child, Shift) and not isinstance(following, ACTIVATIONS)):
                setattr(parent, name, nn.Sequential(child, rounder()))
            elif isinstance(child, nn.Linear):
                setattr(parent, name, nn.Sequential(rounder(), child))
    return rounders


def quantised(
    net: nn.Module, bits: int, *, per_channel: bool, calibration_images: Tensor, batch_size: int = 256
) -> nn.Module:
    """Returns a copy of a trained net for inference, with weights and activations of ``bits`` bits.

    A batch norm after a convolution is folded into its weights first, as integer kernels need it. Rounded are the
    weights of convolutions and linear layers; the net's input; the output of every activation; the output of every
    folded convolution that no activation follows (the linear bottlenecks); and the input of linear layers. Biases, sums
    of a shortcut and norms of another kind stay as they are.

    Args:
        net: a module in which each batch norm follows its convolution among the children of one module.
        bits: from 2 to 16.
        per_channel: of the weights: a step for each output channel, or one for the tensor. Activations have one range
            for the tensor.
        calibration_images: N C H W, normalised as in training; the ranges of the activations are those that they give.
        batch_size: images at a time while calibrating.

    Raises:
        QuantiseError: ``bits`` is out of range, or there is no image.

    Example:
        >>> from ablate import build, zoo
        >>> net = build(zoo.mobilenet_v2_mnist()).eval()
        >>> small = quantised(net, 8, per_channel=True, calibration_images=torch.zeros(2, 1, 28, 28))
        >>> small(torch.zeros(1, 1, 28, 28)).shape
        torch.Size([1, 10])
    """
    check_bits(bits)
    if not len(calibration_images):
        raise QuantiseError("quantised: at least one calibration image is needed, got none")
    small = copy.deepcopy(net).eval()
    with torch.no_grad():
        fold_norms(small)
        for module in small.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.copy_(rounded_weights(module.weight, bits, per_channel=per_channel))
    rounders = _insert(small, bits)
    first = Rounded(bits)
    whole = nn.Sequential(first, small).eval()
    with torch.no_grad():
        for batch in calibration_images.split(batch_size):
            whole(batch)
    for one in (first, *rounders):
        one.calibrating = False
    return whole
