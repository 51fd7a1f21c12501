"""A second implementation of every net: the list of layers, run one by one in NCHW by torch's plain functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ablate.model.layers import layers
from ablate.model.spec import BlockSpec, NetSpec, StageSpec

PLAIN_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu6": lambda x: x.clamp(0, 6),
    "relu": lambda x: x.clamp(min=0),
    "hardswish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "silu": lambda x: x * torch.sigmoid(x),
    "sigmoid": torch.sigmoid,
    "hardsigmoid": lambda x: (x + 3).clamp(0, 6) / 6,
}
TOGGLES = [
    dict(zip(("residual", "bottleneck", "activation", "conv"), levels, strict=True))
    for levels in product(("inverted", "classic"), ("linear", "relu"), ("relu6", "relu"), ("depthwise", "full"))
]


def run_layers(  # noqa: C901 - one branch a kind of layer
    spec: NetSpec, weights: Mapping[str, Tensor], images: Tensor
) -> Tensor:
    """Logits in train mode (batch statistics) without dropout."""
    x = entry = main = wide = images
    block = None
    for layer in layers(spec, *images.shape[2:]):
        if layer.block != block:
            entry, block = x, layer.block
        if layer.kind == "conv":
            if layer.name.endswith("shortcut.conv"):
                main, x = x, entry
            if layer.name.endswith("spatial.conv"):
                wide = x
            bias = weights[f"{layer.name}.bias"] if layer.bias else None
            x = F.conv2d(x, weights[f"{layer.name}.weight"], bias, layer.stride, layer.kernel // 2, 1, layer.groups)
        elif layer.kind == "norm":
            x = plain_norm(spec, x, weights[f"{layer.name}.weight"], weights[f"{layer.name}.bias"])
            main = main if "shortcut" in layer.name else x
        elif layer.kind == "activation":
            x = main = PLAIN_ACTIVATIONS[str(layer.activation)](x)
        elif layer.name.endswith("spatial.add"):
            x = main = x + wide
        elif layer.kind == "add":
            x = main + (x if x is not main else entry)
        elif layer.kind == "scale":
            x = main = wide * x
        elif layer.kind == "max_pool":
            x = F.max_pool2d(x, 3, 2, 1)
        elif layer.kind == "mean_pool":
            wide, x = x, x.mean((2, 3), keepdim=layer.block is not None)
        elif layer.kind == "linear":
            x = F.linear(x, weights[f"{layer.name}.weight"], weights[f"{layer.name}.bias"])
    return x


def plain_norm(spec: NetSpec, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """By hand: group and layer norm are means and variances over pixels and a share of the channels of an image."""
    if spec.norm == "batch":
        return F.batch_norm(x, None, None, scale, shift, training=True, eps=spec.norm_eps)
    groups = 1 if spec.norm == "layer" else math.gcd(32, x.shape[1])
    parts = x.reshape(len(x), groups, -1)
    normed = (parts - parts.mean(2, keepdim=True)) / (parts.var(2, keepdim=True, correction=0) + spec.norm_eps).sqrt()
    return normed.reshape(x.shape) * scale[:, None, None] + shift[:, None, None]


@pytest.fixture(scope="session")
def reference() -> Callable[[NetSpec, Mapping[str, Tensor], Tensor], Tensor]:
    return run_layers


@pytest.fixture(scope="session")
def tiny() -> Callable[..., NetSpec]:
    """A net of two stages and few, odd widths, with a stride, a shortcut and a projection in it."""

    def make(**toggles: object) -> NetSpec:
        net_fields = {name: toggles.pop(name) for name in list(toggles) if name in NetSpec.__dataclass_fields__}
        block = BlockSpec(**{"expand_ratio": 2, "shortcut": "projection", **toggles})  # type: ignore[arg-type]
        stages = (StageSpec(block=block, channels=4, repeats=2), StageSpec(block=block, channels=6, stride=2))
        plain = {"stem_channels": 3, "stem_stride": 1, "head_channels": 5, "divisor": 1, "num_classes": 4, "dropout": 0}
        spec = NetSpec(stages=stages, **{**plain, **net_fields})  # type: ignore[arg-type]
        return spec.with_blocks(activation=toggles.get("activation", "relu6"))

    return make


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "toggles" in metafunc.fixturenames:
        metafunc.parametrize("toggles", TOGGLES, ids=["-".join(t.values()) for t in TOGGLES])


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


def relative_error(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """Of the parameters' gradients, relative to their own size or to the typical one where that is larger.

    What a norm takes away (a shift before it; the scale of a 1x1 convolution of one channel) has no gradient but noise.
    """
    typical = torch.stack([gradient.norm() for gradient in theirs.values()]).mean()
    return max(
        float((ours[name].double() - gradient).norm() / torch.maximum(gradient.norm(), typical))
        for name, gradient in theirs.items()
    )


@pytest.fixture(scope="session")
def largest_error() -> Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], float]:
    """See ``relative_error``."""
    return relative_error
