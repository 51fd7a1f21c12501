"""Mixed training images with mixed labels: mixup and CutMix."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ablate.design.study import Recipe


def mix(
    batch: Tensor, labels: Tensor, recipe: Recipe, num_classes: int, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Each image mixed with the one after it in the batch, the last one with the first.

    mixup (arXiv:1710.09412): ``share * image + (1 - share) * other``. CutMix (arXiv:1905.04899): a rectangle of the
    other image in place of the image's own, whose area is ``1 - share`` of the image before it is cut off at the
    borders. ``share`` is drawn once a batch from Beta(a, a), with a from the recipe; a recipe with both draws one of
    them for each batch. The targets are mixed in the shares that the images then have.

    Args:
        batch: float B C H W.
        labels: int64 B.
        recipe: ``mixup`` and ``cutmix`` are the a of each; 0: never.
        num_classes: K.
        random: where the draws come from.

    Returns:
        Images like ``batch``, and targets float B K; the arguments as they are where the recipe mixes nothing.
    """
    if not recipe.mixup and not recipe.cutmix:
        return batch, labels
    cuts = random.random() < 0.5 if recipe.mixup and recipe.cutmix else bool(recipe.cutmix)
    a = recipe.cutmix if cuts else recipe.mixup
    share = float(random.beta(a, a))
    others = batch.roll(1, 0)
    if cuts:
        batch, share = _pasted(batch, others, share, random)
    else:
        batch = torch.lerp(others, batch, share)
    one_hot = functional.one_hot(labels, num_classes).to(batch.dtype)
    return batch, torch.lerp(one_hot.roll(1, 0), one_hot, share)


def hard(targets: Tensor) -> Tensor:
    """The class of each image: labels as they are, of mixed targets B K the larger share's."""
    return targets if targets.ndim == 1 else targets.argmax(1)


def _pasted(batch: Tensor, others: Tensor, share: float, random: np.random.Generator) -> tuple[Tensor, float]:
    """The batch with a rectangle of the others, and the share of each image that is still its own."""
    height, width = batch.shape[-2:]
    tall, wide = (round(size * (1 - share) ** 0.5) for size in (height, width))
    row, column = int(random.integers(height)), int(random.integers(width))
    top, left = max(0, row - tall // 2), max(0, column - wide // 2)
    bottom, right = min(height, row - tall // 2 + tall), min(width, column - wide // 2 + wide)
    pasted = batch.clone()
    pasted[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return pasted, 1 - (bottom - top) * (right - left) / (height * width)
