"""Which tensors a forward pass keeps for the backward pass, by arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ablate.model.layers import TINY_MAP, Layer

# They work in place and keep their output; the others keep their input and write a tensor of their own.
_IN_PLACE = ("relu", "relu6")
_WORDS_OF_AN_INDEX = 2  # max pooling keeps an int64 for each output


def _keeps_padded(layer: Layer) -> int:
    """Numbers of the padded copy that a depthwise convolution keeps in place of a tiny map."""
    if layer.kernel == 3 and layer.groups == layer.in_channels > 1 and max(layer.in_hw) <= TINY_MAP:
        return layer.in_channels * (layer.in_hw[0] + 2) * (layer.in_hw[1] + 2)
    return 0


def _kept(layer: Layer, following: Layer) -> int:
    """Numbers that one layer keeps and no other layer before it did."""
    takes_entry = layer.name.endswith("shortcut.conv")  # kept by the block's first convolution already
    if layer.kind == "conv":
        return 0 if takes_entry else _keeps_padded(layer) or layer.in_elements
    if layer.kind == "activation" and layer.activation not in _IN_PLACE:
        return layer.in_elements
    if layer.kind == "activation":
        feeds_conv = following.kind == "conv" and not following.name.endswith("shortcut.conv")
        return 0 if feeds_conv and not _keeps_padded(following) else layer.out_elements
    if layer.kind == "scale":
        kept_before = layer.activation in _IN_PLACE
        return layer.in_channels + (0 if kept_before else layer.in_elements)
    if layer.name.endswith("drop_path"):
        return 1  # what the image's residual is multiplied by
    if layer.kind == "max_pool":
        return _WORDS_OF_AN_INDEX * layer.out_elements
    return layer.in_elements if layer.kind in ("norm", "linear", "dropout") else 0


def saved_elements(ops: Sequence[Layer]) -> int:
    """Numbers that the forward pass of one training image keeps for the backward pass, each tensor counted once.

    The input of every convolution, norm and linear layer; the output of an activation that works in place (as a rule
    the next convolution's input), the input of one that does not; what squeeze-and-excitation scales, and by what;
    dropout's mask; max pooling's indices. The means and variances of the norms, two numbers a channel and batch, are
    left out.
    """
    return sum(_kept(layer, following) for layer, following in pairwise([*ops, ops[-1]]))
