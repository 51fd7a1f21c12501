"""Every operation of a net as data: what `nets.build` will run, in order, with shapes; free of torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ablate.errors import SpecError
from ablate.model.parts import BlockPart, ConvPart, OwnPart, SqueezePart, parts
from ablate.model.spec import NetSpec

# Depthwise convolutions pad maps of at most this many pixels a side before they start (kernels.py says why).
TINY_MAP = 2
Kind = Literal["conv", "norm", "activation", "add", "scale", "max_pool", "mean_pool", "dropout", "linear"]


@dataclass(frozen=True)
class Layer:
    """One operation on one image.

    Attributes:
        name: the path of the module that runs it ("blocks.3.expand.conv"); what no module runs is "blocks.3.add" or
            "blocks.3.squeeze.scale".
        kind: conv, norm, activation, add, scale (each channel by a number), max_pool, mean_pool, dropout or linear.
        in_channels, out_channels, kernel, stride, groups: as in torch.nn.Conv2d; padding is kernel // 2.
        in_hw, out_hw: height and width in pixels of the map before and after.
        block: the block's number from 0; None for the stem, the head and what follows.
        bias: whether it has a bias (linear layers, and the convolutions of squeeze-and-excitation, do).
        activation: which one, for an activation; for a scale, the activation that made the map that it scales.
    """

    name: str
    kind: Kind
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    groups: int
    in_hw: tuple[int, int]
    out_hw: tuple[int, int]
    block: int | None
    bias: bool
    activation: str | None = None

    @property
    def params(self) -> int:
        """Learnt numbers: weights and bias of a convolution or linear layer, scale and shift of a norm."""
        if self.kind == "norm":
            return 2 * self.out_channels
        if self.kind not in ("conv", "linear"):
            return 0
        return self.out_channels * (self.in_channels // self.groups * self.kernel**2 + self.bias)

    @property
    def macs(self) -> int:
        """Multiply-adds of one image's forward pass; convolutions and linear layers only, the bias not counted."""
        if self.kind not in ("conv", "linear"):
            return 0
        return self.out_elements * (self.in_channels // self.groups) * self.kernel**2

    @property
    def in_elements(self) -> int:
        """Numbers read, without weights; an addition reads two tensors."""
        return self.in_channels * math.prod(self.in_hw) * (2 if self.kind == "add" else 1)

    @property
    def out_elements(self) -> int:
        """Numbers written."""
        return self.out_channels * math.prod(self.out_hw)


@dataclass
class _Walk:
    """Where an image stands on its way through the net, and what it has met."""

    channels: int
    hw: tuple[int, int]
    block: int | None = None
    met: list[Layer] = field(default_factory=list)

    def step(
        self,
        kind: Kind,
        name: str,
        out: int = 0,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        activation: str | None = None,
    ) -> None:
        height, width = self.hw
        out_hw = (1, 1) if kind == "mean_pool" else ((height - 1) // stride + 1, (width - 1) // stride + 1)
        full_name = name if self.block is None else f"blocks.{self.block}.{name}"
        out = out or self.channels
        shape = (self.channels, out, kernel, stride, groups, self.hw, out_hw)
        self.met.append(Layer(full_name, kind, *shape, self.block, bias, activation))
        self.channels, self.hw = out, out_hw

    def act(self, name: str, activation: str | None) -> None:
        if activation:
            self.step("activation", name, activation=activation)

    def conv(self, part: ConvPart) -> None:
        """A convolution, its norm and its activation."""
        name = part.name
        self.step("conv", f"{name}.conv", part.out_channels, kernel=part.kernel, stride=part.stride, groups=part.groups)
        self.step("norm", f"{name}.norm")
        self.act(f"{name}.activation", part.activation)

    def squeeze(self, part: SqueezePart) -> None:
        """Squeeze-and-excitation."""
        name, hw = part.name, self.hw
        self.step("mean_pool", f"{name}.pool")
        self.step("conv", f"{name}.fc1", part.squeezed, bias=True)
        self.act(f"{name}.activation", part.activation)
        self.step("conv", f"{name}.fc2", part.channels, bias=True)
        self.act(f"{name}.gate", part.gate)
        self.hw = hw
        self.step("scale", f"{name}.scale", activation=part.follows)

    def residual(self, part: BlockPart) -> None:
        """A block."""
        entry = self.channels, self.hw
        for one in part.body:
            self.conv(one) if isinstance(one, ConvPart) else self.squeeze(one)
            if part.inner and part.shortcut and one.name == "spatial":
                self.step("add", f"{one.name}.add")
        if part.drop_path:
            self.step("dropout", "drop_path")
        if isinstance(part.shortcut, ConvPart):
            self.channels, self.hw = entry
            self.conv(part.shortcut)
        if part.shortcut and not part.inner:
            self.step("add", "add")
        self.act("activation", part.activation)


def layers(spec: NetSpec, height: int, width: int) -> tuple[Layer, ...]:
    """Every operation of the net on one image of ``height`` x ``width`` pixels, in the order of execution.

    Padding keeps every map at one pixel or more, whatever the strides.

    Raises:
        SpecError: ``height`` or ``width`` is below 1, or a block is of the user's own, whose layers nothing lists.
    """
    for name, value in (("height", height), ("width", width)):
        if value < 1:
            raise SpecError(name, f"must be at least 1, got {value}")
    walk, whole = _Walk(spec.in_channels, (height, width)), parts(spec)
    walk.conv(whole.stem)
    if spec.stem_pool:
        walk.step("max_pool", "stem_pool", kernel=3, stride=2)
    for walk.block, part in enumerate(whole.blocks):
        if isinstance(part, OwnPart):
            raise SpecError("residual", f"= {part.spec.residual!r} is a block of your own: its layers are not known")
        walk.residual(part)
    walk.block = None
    if whole.head:
        walk.conv(whole.head)
    walk.step("mean_pool", "pool")
    if spec.head_hidden:
        walk.step("linear", "hidden", spec.head_hidden, bias=True)
        walk.act("hidden_activation", spec.activation)
    if spec.dropout:
        walk.step("dropout", "dropout")
    walk.step("linear", "classifier", spec.num_classes, bias=True)
    return tuple(walk.met)


def tiny_maps(ops: Iterable[Layer]) -> tuple[Layer, ...]:
    """The convolutions that see more padding than image: a kernel above 1x1 on a map of 1x1 or 2x2 pixels.

    Example:
        >>> from ablate.model.zoo import mobilenet_v2
        >>> [layer.name for layer in tiny_maps(layers(mobilenet_v2(), 64, 64))][0]
        'blocks.14.spatial.conv'
    """
    return tuple(op for op in ops if op.kind == "conv" and op.kernel > 1 and max(op.in_hw) <= TINY_MAP)
