"""What a net is made of, as data: every toggle is resolved here, once; what is built and counted follows from it.

``nets.build`` makes a module of each part, under the part's name, and ``layers.layers`` lists what each part computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from ablate.model.spec import BlockSpec, NetSpec, round_width


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
    norm: str = "batch"
    norm_eps: float = 1e-5


@dataclass(frozen=True, kw_only=True)
class SqueezePart:
    """Squeeze-and-excitation: each channel times a weight, from the means of all by two linear layers.

    Attributes:
        follows: the activation of what comes before.
    """

    channels: int
    squeezed: int
    activation: str
    gate: str
    follows: str | None
    name: str = "squeeze"


@dataclass(frozen=True, kw_only=True)
class BlockPart:
    """A residual block.

    Attributes:
        body: what the input goes through, in order.
        shortcut: what is added to what comes of it: the input (``identity``), a convolution of the input, or nothing.
        inner: whether the shortcut joins the tensors before and after the part ``spatial``, not those of the block.
        activation: after the addition.
        drop_path: the probability that an image goes by the shortcut alone, in training.
    """

    body: tuple[ConvPart | SqueezePart, ...]
    shortcut: ConvPart | Literal["identity"] | None
    inner: bool = False
    activation: str | None
    out_channels: int
    drop_path: float = 0


@dataclass(frozen=True, kw_only=True)
class OwnPart:
    """A block of the user's own: N C H W to N out_channels ceil(H / stride) ceil(W / stride)."""

    spec: BlockSpec
    in_channels: int
    out_channels: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class NetParts:
    """A net in the order of execution; pooling, dropout and the linear layer follow.

    Attributes:
        features: numbers an image that come out of the pooling.
    """

    stem: ConvPart
    blocks: tuple[BlockPart | OwnPart, ...]
    head: ConvPart | None
    features: int


Body = tuple[ConvPart | SqueezePart, ...]


def _inverted(spec: BlockSpec, channels: int, narrow: int, stride: int) -> tuple[Body, int]:
    act, grows = spec.activation, spec.expand_ratio != 1
    hidden = _multiple(round(channels * spec.expand_ratio), spec.groups) if grows else channels
    project = _conv("project", hidden, narrow, act if spec.bottleneck == "relu" else None)
    if spec.conv == "fused":
        spatial = _spatial(spec, channels, hidden if grows else narrow, stride, act)
        return (spatial, *_squeeze(spec, spatial), *([project] if grows else [])), narrow
    spatial = _spatial(spec, hidden, hidden, stride, act)
    grown = [_conv("expand", channels, hidden, act)] if grows else []
    return (*grown, spatial, *_squeeze(spec, spatial), project), narrow


def _classic(spec: BlockSpec, channels: int, narrow: int, stride: int) -> tuple[Body, int]:
    narrow = _multiple(narrow, spec.groups)
    act, wide, grows = spec.activation, round(narrow * spec.expand_ratio), spec.expand_ratio != 1
    reduce = _conv("reduce", channels, narrow, act if spec.bottleneck == "relu" else None)
    spatial = _spatial(spec, narrow, narrow, stride, act if grows else None)
    last = _conv("expand", narrow, wide, None) if grows else spatial
    return (reduce, *([spatial] if grows else []), last, *_squeeze(spec, last)), wide


def _sandglass(spec: BlockSpec, channels: int, narrow: int, stride: int) -> tuple[Body, int]:
    narrow = _multiple(narrow, spec.groups)
    act, wide = spec.activation, _multiple(round(narrow * spec.expand_ratio), spec.groups)
    entry = _spatial(spec, channels, channels, 1, act)
    reduce = _conv("reduce", channels, narrow, act if spec.bottleneck == "relu" else None)
    grown = [_conv("expand", narrow, wide, act)] if spec.expand_ratio != 1 else []
    return (replace(entry, name="spatial_in"), reduce, *grown, _spatial(spec, wide, wide, stride, None)), wide


def _conv(name: str, channels: int, out: int, activation: str | None) -> ConvPart:
    return ConvPart(name=name, in_channels=channels, out_channels=out, activation=activation)


def _spatial(spec: BlockSpec, channels: int, out: int, stride: int, activation: str | None) -> ConvPart:
    return ConvPart(
        name="spatial",
        in_channels=channels,
        out_channels=out,
        kernel=spec.kernel_size,
        stride=stride,
        groups=channels if spec.conv == "depthwise" else math.gcd(spec.groups, channels),
        activation=activation,
    )


def _squeeze(spec: BlockSpec, before: ConvPart) -> tuple[SqueezePart, ...]:
    if not spec.se_ratio:
        return ()
    channels = before.out_channels
    hard = spec.se_gate == "hardsigmoid"
    squeezed = round_width(int(channels * spec.se_ratio), 8) if hard else max(1, round(channels * spec.se_ratio))
    inside = "relu" if hard else spec.activation
    return (
        SqueezePart(
            channels=channels, squeezed=squeezed, activation=inside, gate=spec.se_gate, follows=before.activation
        ),
    )


def _multiple(width: int, groups: int) -> int:
    """The width, for convolutions in groups rounded to a multiple of them."""
    return width if width % groups == 0 else round_width(width, groups)


# The body of a block from ``channels`` on and the channels that leave it, by the kind of its residual.
BODIES: dict[str, Callable[[BlockSpec, int, int, int], tuple[Body, int]]] = {
    "inverted": _inverted,
    "classic": _classic,
    "sandglass": _sandglass,
}


def _shortcut(spec: BlockSpec, channels: int, out: int, stride: int) -> ConvPart | Literal["identity"] | None:
    if spec.shortcut == "none":
        return None
    if spec.shortcut == "expansions":
        return "identity" if stride == 1 else None
    if stride == 1 and channels == out:
        return "identity"
    projects = spec.shortcut == "projection"
    return ConvPart(name="shortcut", in_channels=channels, out_channels=out, stride=stride) if projects else None


def block_part(spec: BlockSpec, channels: int, narrow: int, stride: int) -> BlockPart:
    """The block that ``spec`` describes, with batch norm.

    Args:
        spec: its toggles.
        channels: that enter.
        narrow: the stage's table width as built.
        stride: of the spatial convolution, in a sandglass block of the second one.
    """
    body, out = BODIES[spec.residual](spec, channels, narrow, stride)
    return BlockPart(
        body=body,
        shortcut=_shortcut(spec, channels, out, stride),
        inner=spec.shortcut == "expansions",
        activation=spec.activation if spec.residual == "classic" else None,
        out_channels=out,
    )


def parts(spec: NetSpec) -> NetParts:
    """What the net is made of.

    >>> from ablate.model.zoo import mobilenet_v2
    >>> [part.name for part in parts(mobilenet_v2()).blocks[1].body]
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
    blocks: list[BlockPart | OwnPart] = []
    total = sum(stage.repeats for stage in spec.stages)
    for stage in spec.stages:
        for stride in (stage.stride, *[1] * (stage.repeats - 1)):
            narrow = spec.width(stage.channels)
            if stage.block.is_own:
                blocks.append(OwnPart(spec=stage.block, in_channels=channels, out_channels=narrow, stride=stride))
            else:
                block = block_part(stage.block, channels, narrow, stride)
                dropped = spec.drop_path * len(blocks) / total if block.shortcut and not block.inner else 0
                blocks.append(_normed(replace(block, drop_path=dropped), spec))
            channels = blocks[-1].out_channels
    width = spec.head_width
    head = replace(_conv("head", channels, width, spec.activation), norm=spec.norm, norm_eps=spec.norm_eps)
    return NetParts(
        stem=replace(stem, norm=spec.norm, norm_eps=spec.norm_eps),
        blocks=tuple(blocks),
        head=head if width else None,
        features=width or channels,
    )


def _normed(block: BlockPart, spec: NetSpec) -> BlockPart:
    """The block with the norm of the net."""

    def normed(part: ConvPart | SqueezePart) -> ConvPart | SqueezePart:
        return replace(part, norm=spec.norm, norm_eps=spec.norm_eps) if isinstance(part, ConvPart) else part

    shortcut = block.shortcut
    if isinstance(shortcut, ConvPart):
        shortcut = replace(shortcut, norm=spec.norm, norm_eps=spec.norm_eps)
    return replace(block, body=tuple(map(normed, block.body)), shortcut=shortcut)
