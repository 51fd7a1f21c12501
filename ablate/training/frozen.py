"""The part of a net that is not trained: no gradients, and batch norm by its running statistics."""

from __future__ import annotations

from torch import nn

from ablate.design.study import FEATURES
from ablate.model.nets import Net


def frozen(net: nn.Module, freeze: int | str) -> list[nn.Module]:
    """The modules that ``recipe.freeze`` names: nothing, the stem with the blocks of so many stages, or all features.

    Example:
        >>> from ablate.model.nets import build
        >>> from ablate.model.zoo import mobilenet_v2_mnist
        >>> net = build(mobilenet_v2_mnist())
        >>> len(frozen(net, 2))  # the stem, one block of the first stage, two of the second
        4
    """
    if not freeze or not isinstance(net, Net):  # only nets of ours have stages; a plan refuses it for others
        return []
    if freeze == FEATURES:
        return [net.stem, net.blocks, net.head]
    blocks = sum(stage.repeats for stage in net.spec.stages[: int(freeze)])
    return [net.stem, *net.blocks[:blocks]]


def stop_gradients(net: nn.Module, freeze: int | str) -> None:
    """Takes the frozen parameters out of the training."""
    for module in frozen(net, freeze):
        module.requires_grad_(requires_grad=False)


def train_mode(net: nn.Module, freeze: int | str) -> None:
    """Puts the net into training mode, its frozen part into that of evaluation."""
    net.train()
    for module in frozen(net, freeze):
        module.eval()
