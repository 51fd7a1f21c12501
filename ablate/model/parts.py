"""What a net is made of, as data: every toggle is resolved here, once; what is built and counted follows from it.

``nets.build`` makes a module of each part, under the part's name, and ``layers.layers`` lists what each part computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ablate.model.spec import BlockSpec, NetSpec


@dataclass(frozen=True, kw_only=True)
class ConvPart:
    """A convolution without bias, with padding kernel // 2, then its norm, then its activation (None: none)."""

    name: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    activation: str | None = None


@dataclass(frozen=True, kw_only=True)
class BlockPart:
    """A residual block.

    Attributes:
        body: what the input goes through, in order.
        shortcut: what is added to what comes of it: the input (``identity``), a convolution of the input, or nothing.
        activation: after the addition.
    """

    body: tuple[ConvPart, ...]
    shortcut: ConvPart | Literal["identity"] | None
    activation: str | None

    @property
    def out_channels(self) -> int:
        """Channels that leave the block."""
        return self.body[-1].out_channels


@dataclass(frozen=True, kw_only=True)
class NetParts:
    """A net in the order of execution; pooling, dropout and the linear layer follow.

    Attributes:
        features: numbers an image that enter the linear layer.
    """

    stem: ConvPart
    blocks: tuple[BlockPart, ...]
    head: ConvPart | None
    features: int


def _inverted(spec: BlockSpec, channels: int, narrow: int, stride: int) -> tuple[ConvPart, ...]:
    act, hidden = spec.activation, round(channels * spec.expand_ratio)
    expand = ConvPart(name="expand", in_channels=channels, out_channels=hidden, activation=act)
    project = ConvPart(
        name="project", in_channels=hidden, out_channels=narrow, activation=act if spec.bottleneck == "relu" else None
    )
    grown = () if spec.expand_ratio == 1 else (expand,)
    return *grown, _spatial(spec, hidden, stride, act), project


def _classic(spec: BlockSpec, channels: int, narrow: int, stride: int) -> tuple[ConvPart, ...]:
    act, wide = spec.activation, round(narrow * spec.expand_ratio)
    reduce = ConvPart(
        name="reduce", in_channels=channels, out_channels=narrow, activation=act if spec.bottleneck == "relu" else None
    )
    if spec.expand_ratio == 1:
        return reduce, _spatial(spec, narrow, stride, None)
    expand = ConvPart(name="expand", in_channels=narrow, out_channels=wide)
    return reduce, _spatial(spec, narrow, stride, act), expand


def _spatial(spec: BlockSpec, channels: int, stride: int, activation: str | None) -> ConvPart:
    return ConvPart(
        name="spatial",
        in_channels=channels,
        out_channels=channels,
        kernel=3,
        stride=stride,
        groups=channels if spec.conv == "depthwise" else 1,
        activation=activation,
    )


# The body of a block from ``channels`` on, by the kind of its residual.
BODIES: dict[str, Callable[[BlockSpec, int, int, int], tuple[ConvPart, ...]]] = {
    "inverted": _inverted,
    "classic": _classic,
}


def _shortcut(spec: BlockSpec, channels: int, out: int, stride: int) -> ConvPart | Literal["identity"] | None:
    if spec.shortcut == "none":
        return None
    if stride == 1 and channels == out:
        return "identity"
    projects = spec.shortcut == "projection"
    return ConvPart(name="shortcut", in_channels=channels, out_channels=out, stride=stride) if projects else None


def block_part(spec: BlockSpec, channels: int, narrow: int, stride: int) -> BlockPart:
    """The block that ``spec`` describes.

    Args:
        spec: its toggles.
        channels: that enter.
        narrow: the stage's table width as built.
        stride: of the spatial convolution.
    """
    body = BODIES[spec.residual](spec, channels, narrow, stride)
    return BlockPart(
        body=body,
        shortcut=_shortcut(spec, channels, body[-1].out_channels, stride),
        activation=spec.activation if spec.residual == "classic" else None,
    )


def parts(spec: NetSpec) -> NetParts:
    """What the net is made of.

    >>> from ablate.model.zoo import mobilenet_v2
    >>> [conv.name for conv in parts(mobilenet_v2()).blocks[1].body]
    ['expand', 'spatial', 'project']
    """
    channels = spec.width(spec.stem_channels)
    stem = ConvPart(
        name="stem",
        in_channels=spec.in_channels,
        out_channels=channels,
        kernel=spec.stem_kernel,
        stride=spec.stem_stride,
        activation=spec.activation,
    )
    blocks = []
    for stage in spec.stages:
        for stride in (stage.stride, *[1] * (stage.repeats - 1)):
            blocks.append(block_part(stage.block, channels, spec.width(stage.channels), stride))
            channels = blocks[-1].out_channels
    width = spec.head_width
    head = ConvPart(name="head", in_channels=channels, out_channels=width, activation=spec.activation)
    return NetParts(stem=stem, blocks=tuple(blocks), head=head if width else None, features=width or channels)
