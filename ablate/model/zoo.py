"""Named nets, each a corner of the same factory. ``NETS`` lists them by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ablate.model.spec import BlockSpec, NetSpec, StageSpec

Row = tuple[int, int, int, int]  # (t, c, n, s): expansion, channels, repeats, stride of the first

# arXiv:1801.04381, table 2
_MOBILENET_V2: tuple[Row, ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# arXiv:1704.04861, table 1
_MOBILENET_V1: tuple[Row, ...] = (
    (1, 64, 1, 1),
    (1, 128, 2, 2),
    (1, 256, 2, 2),
    (1, 512, 6, 2),
    (1, 1024, 2, 2),
)
# arXiv:1512.03385, table 1, 50 layers
_RESNET50: tuple[Row, ...] = ((4, 64, 3, 1), (4, 128, 4, 2), (4, 256, 6, 2), (4, 512, 3, 2))


def _stages(rows: Iterable[Row], block: BlockSpec) -> tuple[StageSpec, ...]:
    return tuple(
        StageSpec(block=replace(block, expand_ratio=t), channels=c, repeats=n, stride=s) for t, c, n, s in rows
    )


def mobilenet_v2(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 1000) -> NetSpec:
    """MobileNetV2 (arXiv:1801.04381, table 2)."""
    stages = _stages(_MOBILENET_V2, BlockSpec())
    return NetSpec(stages=stages, width_mult=width_mult, in_channels=in_channels, num_classes=num_classes)


def mobilenet_v2_cifar(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 10) -> NetSpec:
    """MobileNetV2 for images of 32x32: stride 1 in the stem and in the first stage that has stride 2."""
    rows = tuple((t, c, n, 1 if c == 24 else s) for t, c, n, s in _MOBILENET_V2)
    stages = _stages(rows, BlockSpec())
    return NetSpec(
        stages=stages, stem_stride=1, width_mult=width_mult, in_channels=in_channels, num_classes=num_classes
    )


def mobilenet_v2_mnist(*, width_mult: float = 1.0, in_channels: int = 1, num_classes: int = 10) -> NetSpec:
    """A small MobileNetV2 for images of 28x28: the first four stages of table 2 and a head of 64 channels."""
    stages = _stages(_MOBILENET_V2[:4], BlockSpec())
    return NetSpec(
        stages=stages, head_channels=64, width_mult=width_mult, in_channels=in_channels, num_classes=num_classes
    )


def mobilenet_v1(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 1000) -> NetSpec:
    """MobileNetV1 (arXiv:1704.04861, table 1); dropout 0.001 as in its TensorFlow implementation."""
    block = BlockSpec(bottleneck="relu", activation="relu", shortcut="none")
    return NetSpec(
        stages=_stages(_MOBILENET_V1, block),
        head_channels=0,
        activation="relu",
        dropout=0.001,
        width_mult=width_mult,
        in_channels=in_channels,
        num_classes=num_classes,
    )


def resnet50(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 1000) -> NetSpec:
    """ResNet-50 (arXiv:1512.03385, table 1) with the stride in the 3x3 convolution, as torchvision has it."""
    block = BlockSpec(residual="classic", bottleneck="relu", activation="relu", conv="full", shortcut="projection")
    return NetSpec(
        stages=_stages(_RESNET50, block),
        stem_channels=64,
        stem_kernel=7,
        stem_pool=True,
        head_channels=0,
        activation="relu",
        dropout=0,
        width_mult=width_mult,
        in_channels=in_channels,
        num_classes=num_classes,
    )


NETS: dict[str, Callable[..., NetSpec]] = {
    net.__name__: net for net in (mobilenet_v2, mobilenet_v2_cifar, mobilenet_v2_mnist, mobilenet_v1, resnet50)
}
