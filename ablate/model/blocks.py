"""The parts of a net as torch modules.

Tensors are N C H W in shape and channels_last in memory.
"""

from __future__ import annotations

from torch import Tensor, nn

from ablate.model.kernels import ACTIVATIONS, convolution
from ablate.model.parts import BlockPart, ConvPart


class ConvUnit(nn.Module):
    """Convolution, batch norm and, where the part has one, the activation."""

    def __init__(self, part: ConvPart) -> None:
        super().__init__()
        self.part = part
        self.conv = convolution(part.in_channels, part.out_channels, part.kernel, part.stride, part.groups)
        self.norm = nn.BatchNorm2d(part.out_channels)
        self.activation = _activation(part.activation)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C' ceil(H/s) ceil(W/s)."""
        out: Tensor = self.activation(self.norm(self.conv(x)))
        return out


class Block(nn.Module):
    """A residual block: its body's units under their names, ``shortcut``, and ``activation`` after the addition."""

    def __init__(self, part: BlockPart) -> None:
        super().__init__()
        self.part = part
        for conv in part.body:
            self.add_module(conv.name, ConvUnit(conv))
        self.shortcut = _shortcut(part)
        self.activation = _activation(part.activation)

    @property
    def body(self) -> list[nn.Module]:
        """What the input goes through, in order."""
        return [self.get_submodule(part.name) for part in self.part.body]

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C' ceil(H/s) ceil(W/s)."""
        out = x
        for module in self.body:
            out = module(out)
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        joined: Tensor = self.activation(out)
        return joined


def _shortcut(part: BlockPart) -> nn.Module | None:
    if isinstance(part.shortcut, ConvPart):
        return ConvUnit(part.shortcut)
    return nn.Identity() if part.shortcut else None


def _activation(name: str | None) -> nn.Module:
    return ACTIVATIONS[name]() if name else nn.Identity()
