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

# arXiv:1807.11626, figure 7a, after its first block: t, c, n, s, kernel
_MNASNET = (
    (3, 24, 3, 2, 3),
    (3, 40, 3, 2, 5),
    (6, 80, 3, 2, 5),
    (6, 96, 2, 1, 3),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
Bneck = tuple[int, int, int, int, bool, str, int]
# arXiv:1905.02244, tables 1 and 2: input channels, kernel, expanded channels, output channels, SE, activation, stride
_V3_LARGE: tuple[Bneck, ...] = (
    (16, 3, 16, 16, False, "relu", 1),
    (16, 3, 64, 24, False, "relu", 2),
    (24, 3, 72, 24, False, "relu", 1),
    (24, 5, 72, 40, True, "relu", 2),
    (40, 5, 120, 40, True, "relu", 1),
    (40, 5, 120, 40, True, "relu", 1),
    (40, 3, 240, 80, False, "hardswish", 2),
    (80, 3, 200, 80, False, "hardswish", 1),
    (80, 3, 184, 80, False, "hardswish", 1),
    (80, 3, 184, 80, False, "hardswish", 1),
    (80, 3, 480, 112, True, "hardswish", 1),
    (112, 3, 672, 112, True, "hardswish", 1),
    (112, 5, 672, 160, True, "hardswish", 2),
    (160, 5, 960, 160, True, "hardswish", 1),
    (160, 5, 960, 160, True, "hardswish", 1),
)
_V3_SMALL: tuple[Bneck, ...] = (
    (16, 3, 16, 16, True, "relu", 2),
    (16, 3, 72, 24, False, "relu", 2),
    (24, 3, 88, 24, False, "relu", 1),
    (24, 5, 96, 40, True, "hardswish", 2),
    (40, 5, 240, 40, True, "hardswish", 1),
    (40, 5, 240, 40, True, "hardswish", 1),
    (40, 5, 120, 48, True, "hardswish", 1),
    (48, 5, 144, 48, True, "hardswish", 1),
    (48, 5, 288, 96, True, "hardswish", 2),
    (96, 5, 576, 96, True, "hardswish", 1),
    (96, 5, 576, 96, True, "hardswish", 1),
)
MBConv = tuple[bool, int, int, int, int, int]  # fused, t, kernel, stride, c, n
# arXiv:1905.11946, table 1
_EFFICIENTNET_B0: tuple[MBConv, ...] = (
    (False, 1, 3, 1, 16, 1),
    (False, 6, 3, 2, 24, 2),
    (False, 6, 5, 2, 40, 2),
    (False, 6, 3, 2, 80, 3),
    (False, 6, 5, 1, 112, 3),
    (False, 6, 5, 2, 192, 4),
    (False, 6, 3, 1, 320, 1),
)
# arXiv:2104.00298, table 4
_EFFICIENTNET_V2_S: tuple[MBConv, ...] = (
    (True, 1, 3, 1, 24, 2),
    (True, 4, 3, 2, 48, 4),
    (True, 4, 3, 2, 64, 4),
    (False, 4, 3, 2, 128, 6),
    (False, 6, 3, 1, 160, 9),
    (False, 6, 3, 2, 256, 15),
)


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


def resnext50_32x4d(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 1000) -> NetSpec:
    """ResNeXt-50, 32x4d (arXiv:1611.05431, table 1): ResNet-50 with wider 3x3 convolutions in 32 groups."""
    net = resnet50(width_mult=width_mult, in_channels=in_channels, num_classes=num_classes)
    block = replace(net.stages[0].block, groups=32)
    return replace(net, stages=_stages(((2, 2 * c, n, s) for _, c, n, s in _RESNET50), block))


def _mnasnet(width_mult: float, in_channels: int, num_classes: int) -> NetSpec:
    first = StageSpec(block=BlockSpec(activation="relu", expand_ratio=1), channels=16)
    stages = (
        StageSpec(block=BlockSpec(activation="relu", expand_ratio=t, kernel_size=k), channels=c, repeats=n, stride=s)
        for t, c, n, s, k in _MNASNET
    )
    return NetSpec(
        stages=(first, *stages),
        activation="relu",
        width_mult=width_mult,
        in_channels=in_channels,
        num_classes=num_classes,
    )


def mnasnet1_0(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 1000) -> NetSpec:
    """MnasNet-B1 (arXiv:1807.11626, figure 7), as torchvision has it."""
    return _mnasnet(width_mult, in_channels, num_classes)


def mnasnet0_5(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 1000) -> NetSpec:
    """MnasNet-B1 of half the width; ``width_mult`` multiplies that."""
    return _mnasnet(0.5 * width_mult, in_channels, num_classes)


def _mobilenet_v3(rows: Iterable[Bneck], head: tuple[int, int], width_mult: float, data: tuple[int, int]) -> NetSpec:
    stages = (
        StageSpec(
            block=BlockSpec(
                activation=act,
                kernel_size=kernel,
                expand_ratio=expanded / entry,
                se_ratio=0.25 if se else 0,
                se_gate="hardsigmoid" if se else "sigmoid",
            ),
            channels=out,
            stride=stride,
        )
        for entry, kernel, expanded, out, se, act, stride in rows
    )
    return NetSpec(
        stages=tuple(stages),
        stem_channels=16,
        activation="hardswish",
        head_channels=head[0],
        head_hidden=head[1],
        norm_eps=1e-3,
        width_mult=width_mult,
        in_channels=data[0],
        num_classes=data[1],
    )


def mobilenet_v3_large(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 1000) -> NetSpec:
    """MobileNetV3-Large (arXiv:1905.02244, table 1)."""
    return _mobilenet_v3(_V3_LARGE, (960, 1280), width_mult, (in_channels, num_classes))


def mobilenet_v3_small(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 1000) -> NetSpec:
    """MobileNetV3-Small (arXiv:1905.02244, table 2)."""
    return _mobilenet_v3(_V3_SMALL, (576, 1024), width_mult, (in_channels, num_classes))


def _efficientnet(rows: Iterable[MBConv], net: NetSpec) -> NetSpec:
    stages = (
        StageSpec(
            block=BlockSpec(
                activation="silu",
                conv="fused" if fused else "depthwise",
                kernel_size=kernel,
                expand_ratio=t,
                se_ratio=0 if fused else 0.25 / t,
            ),
            channels=c,
            repeats=n,
            stride=s,
        )
        for fused, t, kernel, s, c, n in rows
    )
    return replace(net, stages=tuple(stages), activation="silu")


def efficientnet_b0(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 1000) -> NetSpec:
    """EfficientNet-B0 (arXiv:1905.11946, table 1)."""
    net = NetSpec(
        stages=(StageSpec(channels=16),),
        drop_path=0.2,
        width_mult=width_mult,
        in_channels=in_channels,
        num_classes=num_classes,
    )
    return _efficientnet(_EFFICIENTNET_B0, net)


def efficientnet_v2_s(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 1000) -> NetSpec:
    """EfficientNetV2-S (arXiv:2104.00298, table 4), its last stage of 256 channels as torchvision has it."""
    net = NetSpec(
        stages=(StageSpec(channels=24),),
        stem_channels=24,
        norm_eps=1e-3,
        drop_path=0.2,
        width_mult=width_mult,
        in_channels=in_channels,
        num_classes=num_classes,
    )
    return _efficientnet(_EFFICIENTNET_V2_S, net)


NETS: dict[str, Callable[..., NetSpec]] = {
    net.__name__: net
    for net in (
        mobilenet_v2,
        mobilenet_v2_cifar,
        mobilenet_v2_mnist,
        mobilenet_v1,
        mobilenet_v3_small,
        mobilenet_v3_large,
        mnasnet0_5,
        mnasnet1_0,
        efficientnet_b0,
        efficientnet_v2_s,
        resnet50,
        resnext50_32x4d,
    )
}
