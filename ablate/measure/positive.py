"""How many channels are positive after each activation of a net (arXiv:1801.04381, appendix A and figure 7).

A ReLU layer can be inverted at an input where at least as many channels are positive as the input has dimensions. For a
block that expands k channels t times, that is the share 1/t of its wide channels: 1/6 in MobileNetV2.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ablate.errors import AblateError
from ablate.model.kernels import ReLU6
from ablate.model.layers import layers
from ablate.model.spec import NetSpec

ACTIVATIONS = (ReLU6, nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU, nn.GELU, nn.LeakyReLU, nn.Hardtanh)


class PositiveError(AblateError):
    """A net without activations, or without images to show it."""


@dataclass(frozen=True, kw_only=True)
class PositiveChannels:
    """The channels that are positive after one activation, over all images and positions.

    Attributes:
        layer: the activation's name in the net, such as "blocks.3.expand.activation".
        channels: how many there are.
        mean, sd: of the share that is positive, from 0 to 1.
        least, most: the smallest and the largest share at any position of any image.
        threshold: the share that is needed to invert the layer; None where it is not known.
        below: share of the positions with fewer positive channels than the threshold; None without one.
    """

    layer: str
    channels: int
    mean: float
    sd: float
    least: float
    most: float
    threshold: float | None = None
    below: float | None = None


def thresholds(spec: NetSpec) -> dict[str, float]:
    """For each activation inside a block, the block's input channels over the activation's own.

    Above 1 the layer has fewer channels than the block's input and can never be inverted.

    Example:
        >>> from ablate.model.zoo import mobilenet_v2
        >>> round(thresholds(mobilenet_v2())["blocks.1.expand.activation"], 4)
        0.1667
    """
    found: dict[str, float] = {}
    entry: dict[int, int] = {}
    for layer in layers(spec, 32, 32):
        if layer.block is not None:
            entry.setdefault(layer.block, layer.in_channels)
            if layer.kind == "activation":
                found[layer.name] = entry[layer.block] / layer.out_channels
    return found


def positive_channels(
    net: nn.Module, images: Tensor, needed: Mapping[str, float] | None = None
) -> tuple[PositiveChannels, ...]:
    """Shows the images to a copy of the net and counts, activation by activation, in the order of execution.

    Args:
        net: any module whose activations are modules. It stays as it is; the copy runs in the same mode: in train
            mode batch norm uses the statistics of these images, in eval mode its running ones.
        images: N C H W, normalised as in training.
        needed: thresholds by the activation's name; None: those of ``net.spec`` where the net has one, else none.

    Raises:
        PositiveError: there are no images, or the net has no activation.
    """
    if not len(images):
        raise PositiveError("positive channels: at least one image is needed, got none")
    if needed is None:
        spec = getattr(net, "spec", None)
        needed = thresholds(spec) if isinstance(spec, NetSpec) and not spec.has_own_block else {}
    copied = copy.deepcopy(net)
    found: list[PositiveChannels] = []
    for name, module in copied.named_modules():
        if isinstance(module, ACTIVATIONS):
            module.register_forward_hook(_counter(name, needed.get(name), found))
    with torch.no_grad():
        copied(images)
    if not found:
        raise PositiveError("positive channels: the net has no activation that is a module of its own")
    return tuple(found)


def _counter(name: str, threshold: float | None, found: list[PositiveChannels]) -> Any:
    def count(_module: nn.Module, _inputs: Any, out: Tensor) -> None:
        channels = out.shape[1]
        share = (out > 0).sum(1).double() / channels
        below = None if threshold is None else float((share < threshold).double().mean())
        found.append(
            PositiveChannels(
                layer=name,
                channels=channels,
                mean=float(share.mean()),
                sd=float(share.std(correction=0)),
                least=float(share.min()),
                most=float(share.max()),
                threshold=threshold,
                below=below,
            )
        )

    return count
