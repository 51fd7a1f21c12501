"""Inputs and outputs of a net's operations over depth, at inference (arXiv:1801.04381, section 5.1 and table 3).

Activations only, one image; norm, activation and dropout change a tensor in place and are no operations of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ablate.errors import AblateError
from ablate.model.layers import Layer

IN_PLACE = ("norm", "activation", "dropout")


class SplitError(AblateError):
    """A block that cannot be computed in so many parts."""


@dataclass(frozen=True)
class Step:
    """One operation on the way through a net: a layer, or a whole block whose inner tensors are disposable.

    Attributes:
        name: "stem.conv", "blocks.3.expand.conv", "blocks.3".
        in_elements, out_elements: numbers read and written, without weights.
    """

    name: str
    in_elements: int
    out_elements: int

    @property
    def elements(self) -> int:
        """Inputs and outputs together: what must be in memory while the operation runs."""
        return self.in_elements + self.out_elements


def by_layer(ops: Sequence[Layer]) -> tuple[Step, ...]:
    """Every layer as an operation of its own.

    Example:
        >>> from ablate.model.layers import layers
        >>> from ablate.model.zoo import mobilenet_v2
        >>> max(step.elements for step in by_layer(layers(mobilenet_v2(), 224, 224)))
        1505280
    """
    return tuple(Step(layer.name, layer.in_elements, layer.out_elements) for layer in ops if layer.kind not in IN_PLACE)


def by_block(ops: Sequence[Layer]) -> tuple[Step, ...]:
    """Every block as one operation, what goes in and what comes out of it; stem, head and the rest layer by layer.

    Example:
        >>> from ablate.model.layers import layers
        >>> from ablate.model.zoo import mobilenet_v2
        >>> max(step.elements for step in by_block(layers(mobilenet_v2(), 224, 224)))
        602112
    """
    steps: list[Step] = []
    for block, group in groupby(ops, key=lambda layer: layer.block):
        inside = list(group)
        if block is None:
            steps += by_layer(inside)
        else:
            steps.append(Step(f"blocks.{block}", inside[0].in_elements, inside[-1].out_elements))
    return tuple(steps)


@dataclass(frozen=True, kw_only=True)
class SplitCost:
    """What a block costs in parts, one image, activations only.

    Attributes:
        parts: into how many the inner tensor is split.
        peak_elements: numbers in memory at most: input, output, and one part before and after the 3x3 convolution.
        extra_elements: numbers that are read and written more often than in one part: each further part reads the
            input again, and reads and writes the output that it adds to.
        macs: multiply-adds; the split changes none.
    """

    parts: int
    peak_elements: int
    extra_elements: int
    macs: int


def split_cost(block: Sequence[Layer], parts: int) -> SplitCost:
    """The cost of one inverted block in ``parts`` parts, by arithmetic.

    Args:
        block: the layers of the block, as ``layers`` lists them; it has an expansion and a depthwise convolution.
        parts: a divisor of its wide channels; 1 is the block in one piece.

    Raises:
        SplitError: the block cannot be split, or ``parts`` does not divide.
    """
    convs = {layer.name.split(".")[-2]: layer for layer in block if layer.kind == "conv"}
    wide = [convs[name] for name in ("expand", "spatial", "project") if name in convs]
    if len(wide) < 3 or convs["expand"].in_channels > convs["expand"].out_channels:
        raise SplitError(f"{_name(block)} cannot be split: it has no inner tensor wider than its input")
    if any(layer.kind == "scale" for layer in block):
        raise SplitError(f"{_name(block)} cannot be split: squeeze-and-excitation needs all wide channels at once")
    expand, spatial, project = wide
    check_parts(_name(block), parts, expand.out_channels, spatial.groups)
    inner = (spatial.in_elements + spatial.out_elements) // parts
    return SplitCost(
        parts=parts,
        peak_elements=expand.in_elements + project.out_elements + inner,
        extra_elements=(parts - 1) * (expand.in_elements + 2 * project.out_elements),
        macs=sum(layer.macs for layer in block),
    )


def _name(block: Sequence[Layer]) -> str:
    return ".".join(block[0].name.split(".")[:2])


def check_parts(name: str, parts: int, channels: int, groups: int) -> None:
    """Refuses a split that would not give the same numbers.

    Raises:
        SplitError: a convolution that mixes the wide channels, or a number of parts that does not divide them.
    """
    if groups != channels:
        raise SplitError(f"{name} cannot be split: its 3x3 convolution mixes the wide channels (groups {groups})")
    if parts < 1 or channels % parts:
        near = [n for n in range(1, min(channels, 64) + 1) if channels % n == 0]
        allowed = ", ".join(map(str, near))
        raise SplitError(f"{name}: parts must divide its {channels} wide channels ({allowed}, ...), got {parts}")


def can_split(block: Sequence[Layer]) -> bool:
    """Whether ``split_cost`` takes the block: an expansion, then a depthwise convolution on the wide tensor."""
    convs = {layer.name.split(".")[-2]: layer for layer in block if layer.kind == "conv"}
    if not {"expand", "spatial", "project"} <= convs.keys():
        return False
    return convs["spatial"].groups == convs["expand"].out_channels > convs["expand"].in_channels


def split_net_cost(ops: Sequence[Layer], parts: int) -> SplitCost | None:
    """The cost of a whole net with every block in ``parts`` parts that can be split; None where none can.

    The peak is the largest over those blocks and over the layers of everything else.

    Raises:
        SplitError: ``parts`` does not divide the wide channels of a block.
    """
    split, rest = [], []
    for _, group in groupby(ops, key=lambda layer: layer.block):
        inside = list(group)
        if can_split(inside):
            split.append(split_cost(inside, parts))
        else:
            rest += [step.elements for step in by_layer(inside)]
    if not split:
        return None
    return SplitCost(
        parts=parts,
        peak_elements=max(rest + [one.peak_elements for one in split]),
        extra_elements=sum(one.extra_elements for one in split),
        macs=sum(layer.macs for layer in ops),
    )
