"""The block factory: every toggle is resolved here, once, while a block is built.

Tensors are N C H W in shape and channels_last in memory. Where the compiled kernels are in use, fused.py runs the units
of a block as one.
"""

from __future__ import annotations

from torch import Tensor, nn

from ablate.model import fused
from ablate.model.kernels import ACTIVATIONS, convolution
from ablate.model.layers import block_width, hidden_width, shortcut_kind
from ablate.model.spec import BlockSpec


class ConvUnit(nn.Module):
    """Convolution, batch norm and, where ``activation`` is given, the activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: str | None = None,
    ) -> None:
        super().__init__()
        self.conv = convolution(in_channels, out_channels, kernel, stride, groups)
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = ACTIVATIONS[activation]() if activation else nn.Identity()
        self.activation_name = activation

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C' ceil(H/s) ceil(W/s)."""
        if fused.in_use(x):
            return fused.run([self], x)
        out: Tensor = self.activation(self.norm(self.conv(x)))
        return out


def _shortcut(spec: BlockSpec, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    kind = shortcut_kind(spec, in_channels, out_channels, stride)
    if kind == "projection":
        return ConvUnit(in_channels, out_channels, stride=stride)
    return nn.Identity() if kind == "identity" else None


def _units(*modules: nn.Module) -> list[ConvUnit]:
    """Those that are there: what a block leaves out is an identity."""
    return [module for module in modules if isinstance(module, ConvUnit)]


class InvertedBlock(nn.Module):
    """narrow -> wide -> narrow, the shortcut joins narrow tensors (arXiv:1801.04381, figure 3b and table 1).

    ``expand`` (1x1, left out for t = 1), ``spatial`` (3x3), ``project`` (1x1; its activation, if any, comes before
    the addition).
    """

    def __init__(self, spec: BlockSpec, in_channels: int, narrow: int, stride: int) -> None:
        super().__init__()
        act = spec.activation
        hidden = hidden_width(spec, in_channels, narrow)
        groups = hidden if spec.conv == "depthwise" else 1
        self.out_channels = narrow
        self.expand = nn.Identity() if spec.expand_ratio == 1 else ConvUnit(in_channels, hidden, activation=act)
        self.spatial = ConvUnit(hidden, hidden, kernel=3, stride=stride, groups=groups, activation=act)
        self.project = ConvUnit(hidden, narrow, activation=act if spec.bottleneck == "relu" else None)
        self.shortcut = _shortcut(spec, in_channels, narrow, stride)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N narrow ceil(H/s) ceil(W/s)."""
        if fused.in_use(x):
            return fused.run(_units(self.expand, self.spatial, self.project), x, self.shortcut)
        out: Tensor = self.project(self.spatial(self.expand(x)))
        return out if self.shortcut is None else out + self.shortcut(x)


class ClassicBlock(nn.Module):
    """wide -> narrow -> wide, the shortcut joins wide tensors, then the activation (arXiv:1512.03385, figure 5).

    ``reduce`` (1x1), ``spatial`` (3x3), ``expand`` (1x1, left out for t = 1).
    """

    def __init__(self, spec: BlockSpec, in_channels: int, narrow: int, stride: int) -> None:
        super().__init__()
        act = spec.activation
        grows = spec.expand_ratio != 1
        groups = narrow if spec.conv == "depthwise" else 1
        self.out_channels = block_width(spec, narrow)
        self.reduce = ConvUnit(in_channels, narrow, activation=act if spec.bottleneck == "relu" else None)
        self.spatial = ConvUnit(
            narrow, narrow, kernel=3, stride=stride, groups=groups, activation=act if grows else None
        )
        self.expand = ConvUnit(narrow, self.out_channels) if grows else nn.Identity()
        self.shortcut = _shortcut(spec, in_channels, self.out_channels, stride)
        self.activation = ACTIVATIONS[act]()
        self.activation_name = act

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N wide ceil(H/s) ceil(W/s)."""
        if fused.in_use(x):
            return fused.run(_units(self.reduce, self.spatial, self.expand), x, self.shortcut, after=self)
        out: Tensor = self.expand(self.spatial(self.reduce(x)))
        joined: Tensor = self.activation(out if self.shortcut is None else out + self.shortcut(x))
        return joined


Block = InvertedBlock | ClassicBlock
BLOCKS: dict[str, type[InvertedBlock] | type[ClassicBlock]] = {"inverted": InvertedBlock, "classic": ClassicBlock}


def build_block(spec: BlockSpec, in_channels: int, narrow: int, stride: int) -> Block:
    """The block that ``spec`` describes, from ``in_channels`` to its ``out_channels``."""
    return BLOCKS[spec.residual](spec, in_channels, narrow, stride)
