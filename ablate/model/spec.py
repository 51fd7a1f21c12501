"""An architecture as data: frozen, hashable, comparable, and free of torch.

Words and letters are those of MobileNetV2 (arXiv:1801.04381): t expansion, c output channels, n repeats,
s stride. ``narrow`` is a stage's table width c, ``wide`` is t * narrow.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from ablate.errors import SpecConflictError, SpecError, nearest, one_of
from ablate.formats import build

LEVELS: dict[str, tuple[str, ...]] = {  # of each field whose values have names
    "residual": ("inverted", "classic", "sandglass"),
    "bottleneck": ("linear", "relu"),
    "activation": ("relu6", "relu", "hardswish", "silu"),
    "conv": ("depthwise", "full", "fused"),
    "shortcut": ("identity", "projection", "none", "expansions"),
    "se_gate": ("sigmoid", "hardsigmoid"),
    "norm": ("batch", "group", "layer"),
}
KERNEL_SIZES = (3, 5, 7)


def round_width(width: float, divisor: int) -> int:
    """``width`` to the nearest multiple of ``divisor``, never down by more than 10 % (MobileNetV2's rule)."""
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def _check_level(spec: object, name: str) -> None:
    value: Any = getattr(spec, name)
    if value not in LEVELS[name]:
        raise SpecError(name, one_of(value, LEVELS[name]))


def _check_number(spec: object, name: str, low: float, high: float, *, whole: bool = False) -> None:
    value: Any = getattr(spec, name)
    kinds = (int, int) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise SpecError(name, f"must be {'a whole number' if whole else 'a number'}, got {value!r}")
    if not low <= value <= high:  # false for nan too
        raise SpecError(name, f"must be from {low:g} to {high:g}, got {value!r}")
    if not whole and float(value).is_integer():  # 6.0 and 6 are one architecture, so they are written alike
        object.__setattr__(spec, name, int(value))


@dataclass(frozen=True, kw_only=True)
class BlockSpec:
    """One residual block; every field is a toggle that an arm can move.

    Attributes:
        residual: ``inverted``: narrow -> wide -> narrow, the shortcut joins narrow tensors (arXiv:1801.04381,
            figure 3b). ``classic``: wide -> narrow -> wide, the shortcut joins wide tensors, with the
            activation after the addition (arXiv:1512.03385, figure 5). ``sandglass``: wide -> narrow -> wide between
            two spatial convolutions of wide tensors, which the shortcut joins (arXiv:2007.02269, figure 3).
            ``PACKAGE.MODULE:CLASS``: a block of the user's own, which only workers import.
        bottleneck: whether the 1x1 convolution that narrows is followed by the activation.
        activation: the non-linearity.
        conv: the spatial convolution: ``depthwise`` (groups = channels), ``full`` (mixes channels), or ``fused``: a
            full one in place of the 1x1 expansion and the depthwise one (arXiv:2104.00298, figure 2).
        shortcut: ``identity`` where stride is 1 and the widths agree; ``projection``: besides, a 1x1
            convolution where they do not; ``none``: never; ``expansions``: between the wide tensors before and after
            the spatial convolution of an inverted block, where stride is 1 (arXiv:1801.04381, figure 6b, which
            leaves open where such a shortcut begins and ends).
        expand_ratio: t, wide over narrow, from 1 to 64; 1 drops the 1x1 expansion.
        kernel_size: of the spatial convolution: 3, 5 or 7.
        groups: of a ``full`` spatial convolution (ResNeXt, arXiv:1611.05431); its channels are rounded to a multiple.
        se_ratio: squeeze-and-excitation (arXiv:1709.01507): the channels of its bottleneck over those that it weighs;
            0 leaves it out. It follows the spatial convolution, in a classic block the last one.
        se_gate: ``sigmoid``, with the block's activation inside (EfficientNet); ``hardsigmoid``, with ReLU inside and
            a bottleneck of a multiple of 8 channels (MobileNetV3).
        source: of a block of the user's own, 16 hex digits over its source; no arm writes it.
        place: the folder that such a block was found in; "" for an installed one. It decides no result.

    Raises:
        SpecError: a field has a value that is not allowed.
    """

    residual: str = "inverted"
    bottleneck: str = "linear"
    activation: str = "relu6"
    conv: str = "depthwise"
    shortcut: str = "identity"
    expand_ratio: float = 6
    kernel_size: int = 3
    groups: int = 1
    se_ratio: float = 0
    se_gate: str = "sigmoid"
    source: str = ""
    place: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.is_own:
            _check_level(self, "residual")
        _check_level(self, "bottleneck")
        _check_level(self, "activation")
        _check_level(self, "conv")
        _check_level(self, "shortcut")
        _check_number(self, "expand_ratio", 1, 64)
        _check_number(self, "kernel_size", 3, 7, whole=True)
        if self.kernel_size not in KERNEL_SIZES:
            raise SpecError("kernel_size", f"must be 3, 5 or 7, got {self.kernel_size}")
        _check_number(self, "groups", 1, 1024, whole=True)
        _check_number(self, "se_ratio", 0, 1)
        _check_level(self, "se_gate")
        self._check_together()

    @property
    def is_own(self) -> bool:
        """Whether ``residual`` is the import path of a block of the user's own."""
        return isinstance(self.residual, str) and ":" in self.residual

    def _check_together(self) -> None:
        """Refuses what another field leaves without meaning; a block of the user's own reads what it likes."""
        if self.is_own:
            return
        if self.residual != "inverted":
            if self.shortcut == "expansions":
                raise SpecConflictError(
                    "shortcut", "'expansions' is of inverted blocks; 'identity' joins wide tensors elsewhere"
                )
            if self.conv == "fused":
                raise SpecConflictError("conv", "'fused' is of inverted blocks, which expand before the 3x3")
        if self.shortcut == "expansions" and self.conv == "fused":
            raise SpecConflictError(
                "shortcut", "'expansions' needs a separate expansion, which conv = 'fused' does not have"
            )
        if self.groups > 1 and self.conv != "full":
            raise SpecConflictError("groups", f"above 1 goes with conv = 'full', got conv = {self.conv!r}")
        if self.se_ratio and self.residual == "sandglass":
            raise SpecConflictError("se_ratio", "goes with residual = 'inverted' or 'classic', got 'sandglass'")
        if self.se_gate != "sigmoid" and not self.se_ratio:
            raise SpecConflictError("se_gate", f"= {self.se_gate!r} needs an se_ratio above 0")


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """A row of the paper's table 2: ``repeats`` blocks of ``channels`` (c) narrow channels, the first of ``stride``."""

    block: BlockSpec = field(default_factory=BlockSpec)
    channels: int
    repeats: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        _check_number(self, "channels", 1, 65536, whole=True)
        _check_number(self, "repeats", 1, 1000, whole=True)
        _check_number(self, "stride", 1, 8, whole=True)


@dataclass(frozen=True, kw_only=True)
class NetSpec:
    """A whole image classifier: stem convolution, stages of blocks, head, pooling, dropout, linear.

    Attributes:
        stages: the table of stages, widths before ``width_mult``.
        stem_channels, stem_kernel, stem_stride: the first convolution.
        stem_pool: a 3x3 max pooling of stride 2 after the stem (ResNet).
        head_channels: the 1x1 convolution after the last stage; 0 leaves it out (MobileNetV1, ResNet).
            It grows with ``width_mult`` but never shrinks (arXiv:1801.04381, section 5.2).
        activation: the non-linearity of the stem and the head; ``with_blocks(activation=...)`` moves it along.
        norm: every norm of the net: ``batch``; ``group`` (arXiv:1803.08494) in 32 groups of channels, or the most that
            divide both; ``layer``: over all channels and pixels of an image.
        norm_eps: what every norm adds to a variance.
        head_hidden: features of a further linear layer and activation before the dropout (MobileNetV3); 0: none.
        drop_path: stochastic depth (arXiv:1603.09382): the probability that an image goes by the shortcut alone,
            growing in even steps from 0 at the first block towards this.
        width_mult, divisor: every width is ``round_width(c * width_mult, divisor)``.
        dropout: probability before the classifier.
        in_channels, num_classes: of the data.

    Raises:
        SpecError: a field has a value that is not allowed.
    """

    stages: tuple[StageSpec, ...]
    stem_channels: int = 32
    stem_kernel: int = 3
    stem_stride: int = 2
    stem_pool: bool = False
    head_channels: int = 1280
    activation: str = "relu6"
    width_mult: float = 1
    divisor: int = 8
    dropout: float = 0.2
    norm: str = "batch"
    norm_eps: float = 1e-5
    head_hidden: int = 0
    drop_path: float = 0
    in_channels: int = 3
    num_classes: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        if not self.stages:
            raise SpecError("stages", "must hold at least one stage, got none")
        _check_number(self, "stem_channels", 1, 65536, whole=True)
        _check_number(self, "stem_kernel", 1, 11, whole=True)
        if self.stem_kernel % 2 == 0:
            raise SpecError("stem_kernel", f"must be odd, got {self.stem_kernel}")
        _check_number(self, "stem_stride", 1, 8, whole=True)
        if not isinstance(self.stem_pool, bool):
            raise SpecError("stem_pool", f"must be true or false, got {self.stem_pool!r}")
        _check_number(self, "head_channels", 0, 65536, whole=True)
        _check_level(self, "activation")
        _check_number(self, "width_mult", 0.01, 64)
        _check_number(self, "divisor", 1, 64, whole=True)
        _check_number(self, "dropout", 0, 0.99)
        _check_level(self, "norm")
        _check_number(self, "norm_eps", 1e-12, 1)
        _check_number(self, "head_hidden", 0, 65536, whole=True)
        _check_number(self, "drop_path", 0, 0.99)
        if self.drop_path and self.has_own_block:
            raise SpecConflictError("drop_path", "does not reach a block of your own: leave it 0 with such a residual")
        _check_number(self, "in_channels", 1, 65536, whole=True)
        _check_number(self, "num_classes", 2, 65536, whole=True)

    def width(self, channels: int) -> int:
        """A table width as built: times ``width_mult``, rounded."""
        return round_width(channels * self.width_mult, self.divisor)

    @property
    def has_own_block(self) -> bool:
        """Whether a stage has a block of the user's own, so that the net cannot be counted without importing it."""
        return any(stage.block.is_own for stage in self.stages)

    @property
    def head_width(self) -> int:
        """Channels of the last 1x1 convolution as built; 0 where there is none."""
        if not self.head_channels:
            return 0
        return round_width(self.head_channels * max(1.0, self.width_mult), self.divisor)

    def with_blocks(self, **toggles: Any) -> Self:
        """The same net with these fields of every BlockSpec moved; ``activation`` moves the stem's and head's too."""
        for name in toggles:
            if name not in BLOCK_FIELDS:
                raise SpecError(name, one_of(name, BLOCK_FIELDS))
        moved = {block: replace(block, **toggles) for block in {stage.block for stage in self.stages}}
        stages = tuple(replace(stage, block=moved[stage.block]) for stage in self.stages)
        return replace(self, stages=stages, activation=toggles.get("activation", self.activation))

    def with_changes(self, changes: dict[str, Any]) -> Self:
        """The same net with block toggles and net fields moved: what an arm of a study is.

        Args:
            changes: names from ``CHANGEABLE`` to values.

        Raises:
            SpecError: an unknown name, or a value that is not allowed.
        """
        for name in changes:
            if name not in CHANGEABLE:
                raise SpecError(
                    name, f"is not a field of a net{nearest(name, CHANGEABLE)} (allowed: {', '.join(CHANGEABLE)})"
                )
        toggles = {name: value for name, value in changes.items() if name in BLOCK_FIELDS}
        others = {name: value for name, value in changes.items() if name not in BLOCK_FIELDS}
        moved = self.with_blocks(**toggles) if toggles else self
        return replace(moved, **others) if others else moved

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings, ready for JSON."""
        plain = dataclasses.asdict(self)
        plain["stages"] = list(plain["stages"])
        for stage in plain["stages"]:
            del stage["block"]["place"]
            if not stage["block"]["source"]:
                del stage["block"]["source"]  # as every version wrote it
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any], what: str = "net") -> Self:
        """The inverse of ``to_dict``; a field that an older version did not write has its default.

        Raises:
            AblateError: a field that only a newer version knows; the message says of ``what``.
        """
        stages = tuple(
            build(StageSpec, {**stage, "block": build(BlockSpec, stage["block"], what)}, what)
            for stage in plain["stages"]
        )
        return build(cls, {**plain, "stages": stages}, what)


BLOCK_FIELDS = tuple(f.name for f in fields(BlockSpec) if f.name not in {"source", "place"})
# `stages` is not written in an arm, and the data decide the last two.
CHANGEABLE = BLOCK_FIELDS + tuple(
    f.name for f in fields(NetSpec) if f.name not in {*BLOCK_FIELDS, "stages", "in_channels", "num_classes"}
)


@dataclass(frozen=True)
class Change:
    """One field in which two nets differ."""

    field: str  # "bottleneck", or "stages[2].bottleneck" where the stages differ among themselves
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.field}: {self.before} -> {self.after}"


def diff(before: NetSpec, after: NetSpec) -> tuple[Change, ...]:
    """What changed between two nets, in one line a field; empty where they are the same.

    A block toggle that moves alike in every stage is one Change under its own name. The stem's and head's
    activation is not named apart where it moved along with the blocks'.
    """
    changes: list[Change] = []
    if len(before.stages) != len(after.stages):
        changes.append(Change("stages", f"{len(before.stages)} stages", f"{len(after.stages)} stages"))
        pairs: list[tuple[StageSpec, StageSpec]] = []
    else:
        pairs = list(zip(before.stages, after.stages, strict=True))
    for name in BLOCK_FIELDS:
        moved = [
            (i, getattr(a.block, name), getattr(b.block, name))
            for i, (a, b) in enumerate(pairs)
            if getattr(a.block, name) != getattr(b.block, name)
        ]
        if moved and len({(a, b) for _, a, b in moved}) == 1 and len({getattr(b.block, name) for _, b in pairs}) == 1:
            changes.append(Change(name, moved[0][1], moved[0][2]))
        else:
            changes += [Change(f"stages[{i}].{name}", a, b) for i, a, b in moved]
    for name in ("channels", "repeats", "stride"):
        changes += [
            Change(f"stages[{i}].{name}", getattr(a, name), getattr(b, name))
            for i, (a, b) in enumerate(pairs)
            if getattr(a, name) != getattr(b, name)
        ]
    named = {(change.field, change.after) for change in changes}
    for f in fields(NetSpec):
        old, new = getattr(before, f.name), getattr(after, f.name)
        if f.name != "stages" and old != new and (f.name, new) not in named:
            changes.append(Change(f.name, old, new))
    return tuple(changes)
