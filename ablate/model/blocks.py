"""The parts of a net as torch modules.

Tensors are N C H W in shape and channels_last in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from ablate.model.kernels import ACTIVATIONS, DropPath, convolution
from ablate.model.parts import BlockPart, ConvPart, SqueezePart

NORM_GROUPS = 32  # of a group norm (arXiv:1803.08494, table 3)


class ConvUnit(nn.Module):
    """Convolution, norm and, where the part has one, the activation."""

    def __init__(self, part: ConvPart) -> None:
        super().__init__()
        self.part = part
        self.conv = convolution(part.in_channels, part.out_channels, part.kernel, part.stride, part.groups)
        self.norm = _norm(part)
        self.activation = _activation(part.activation)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C' ceil(H/s) ceil(W/s)."""
        out: Tensor = self.activation(self.norm(self.conv(x)))
        return out


class SqueezeExcite(nn.Module):
    """Each channel times a weight between 0 and 1 that the means of all channels give (arXiv:1709.01507)."""

    def __init__(self, part: SqueezePart) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(part.channels, part.squeezed, 1)
        self.activation = ACTIVATIONS[part.activation]()
        self.fc2 = nn.Conv2d(part.squeezed, part.channels, 1)
        self.gate = GATES[part.gate]()

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to the same shape."""
        weights: Tensor = self.gate(self.fc2(self.activation(self.fc1(self.pool(x)))))
        return x * weights


class Block(nn.Module):
    """A residual block: its body's modules under their names, ``shortcut``, and ``activation`` after the addition."""

    def __init__(self, part: BlockPart) -> None:
        super().__init__()
        self.part = part
        for one in part.body:
            self.add_module(one.name, ConvUnit(one) if isinstance(one, ConvPart) else SqueezeExcite(one))
        self.drop_path = DropPath(part.drop_path) if part.drop_path else nn.Identity()
        self.shortcut = _shortcut(part)
        self.activation = _activation(part.activation)

    @property
    def body(self) -> list[nn.Module]:
        """What the input goes through, in order."""
        return [self.get_submodule(part.name) for part in self.part.body]

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C' ceil(H/s) ceil(W/s)."""
        out = x
        for part, module in zip(self.part.body, self.body, strict=True):
            joins = self.shortcut is not None and self.part.inner and part.name == "spatial"
            out = module(out) + out if joins else module(out)
        if self.shortcut is not None and not self.part.inner:
            out = self.drop_path(out) + self.shortcut(x)
        joined: Tensor = self.activation(out)
        return joined


def _norm(part: ConvPart) -> nn.Module:
    return NORMS[part.norm](part.out_channels, part.norm_eps)


def _shortcut(part: BlockPart) -> nn.Module | None:
    if isinstance(part.shortcut, ConvPart):
        return ConvUnit(part.shortcut)
    return nn.Identity() if part.shortcut else None


def _activation(name: str | None) -> nn.Module:
    return ACTIVATIONS[name]() if name else nn.Identity()


# Of so many channels, with so much added to the variance.
NORMS: dict[str, Callable[[int, float], nn.Module]] = {
    "batch": lambda channels, eps: nn.BatchNorm2d(channels, eps),
    "group": lambda channels, eps: nn.GroupNorm(math.gcd(NORM_GROUPS, channels), channels, eps),
    "layer": lambda channels, eps: nn.GroupNorm(1, channels, eps),
}
GATES: dict[str, Callable[[], nn.Module]] = {"sigmoid": nn.Sigmoid, "hardsigmoid": nn.Hardsigmoid}
