"""Random crops, flips, RandAugment and erasing, with draws of its own for each image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

RAND_AUGMENT_OPS = 2  # operations an image, the N of arXiv:1909.13719
ERASED_AREA = (0.02, 0.33)  # of the image, as torchvision has it
ERASED_RATIO = (0.3, 3.3)  # height over width, as torchvision has it
_ERASING_TRIES = 10  # as in torchvision, where a rectangle does not fit


@dataclass(frozen=True, eq=False)
class Draws:
    """What an epoch does to each of N images.

    Attributes:
        top, left: int64 N, where the crop begins in the padded image, from 0 to twice the padding.
        flips: bool N, whether the crop is mirrored left to right.
    """

    top: Tensor
    left: Tensor
    flips: Tensor

    @classmethod
    def sample(cls, count: int, *, padding: int, flip: bool, generator: torch.Generator) -> Draws:
        """Crops drawn evenly, flips for half of the images; without ``padding`` or ``flip`` that part does nothing.

        Both parts are drawn in any case: moving one setting leaves the other's numbers as they were.
        """
        corners = torch.rand(2, count, generator=generator, dtype=torch.float64)
        top, left = (corners * (2 * padding + 1)).long().unbind()
        flips = torch.rand(count, generator=generator) < 0.5
        return cls(top, left, flips if flip else torch.zeros_like(flips))

    def to(self, device: torch.device) -> Draws:
        """The same draws on another device."""
        return Draws(self.top.to(device), self.left.to(device), self.flips.to(device))


def pad(images: Tensor, padding: int) -> Tensor:
    """Images N C H W with a black frame of ``padding`` pixels, channels_last in memory."""
    last = images.permute(0, 2, 3, 1)
    return functional.pad(last, (0, 0, padding, padding, padding, padding)).contiguous().permute(0, 3, 1, 2)


def crop(padded: Tensor, index: Tensor, draws: Draws, *, padding: int) -> Tensor:
    """The crops of the images at ``index``.

    Args:
        padded: uint8 N C H+2p W+2p, from ``pad``.
        index: int64 B.
        draws: for all N images.
        padding: p.

    Returns:
        uint8 B C H W, channels_last in memory.
    """
    _, channels, tall, wide = padded.shape
    height, width = tall - 2 * padding, wide - 2 * padding
    rows = draws.top[index][:, None] + torch.arange(height, device=padded.device)
    columns = torch.arange(width, device=padded.device).expand(len(index), -1)
    columns = torch.where(draws.flips[index][:, None], width - 1 - columns, columns) + draws.left[index][:, None]
    # one whole pixel of all channels is one row of the flat table, so crop and flip are a single gather
    pixels = ((index[:, None] * tall + rows) * wide)[:, :, None] + columns[:, None, :]
    table = padded.permute(0, 2, 3, 1).reshape(-1, channels)
    return table.index_select(0, pixels.reshape(-1)).view(-1, height, width, channels).permute(0, 3, 1, 2)


def rand_augmented(batch: Tensor, magnitude: int, seed: int) -> Tensor:
    """Torchvision's RandAugment (arXiv:1909.13719) of each image by itself, ``RAND_AUGMENT_OPS`` operations each.

    Args:
        batch: uint8 B C H W.
        magnitude: of the operations, from 1 to 30.
        seed: of this batch.

    Returns:
        uint8 B C H W, channels_last in memory.
    """
    from torchvision.transforms.v2 import RandAugment  # a second of imports, for these recipes alone

    transform = RandAugment(num_ops=RAND_AUGMENT_OPS, magnitude=magnitude)
    with torch.random.fork_rng(devices=[]):  # it draws from torch's global stream
        torch.manual_seed(seed)
        changed = torch.stack([transform(image) for image in batch.contiguous().unbind()])
    return changed.contiguous(memory_format=torch.channels_last)


def erased(batch: Tensor, share: float, random: torch.Generator) -> Tensor:
    """A rectangle of black, or of whatever 0 is, in about ``share`` of the images (arXiv:1708.04896).

    Area and ratio of the sides are drawn for each image, the ratio evenly in its logarithm; an image for which no
    rectangle of ten fits is left as it is.

    Args:
        batch: float B C H W.
        share: probability from 0 to 1.
        random: a generator on the CPU.
    """
    count, _, height, width = batch.shape
    drawn = torch.rand(_ERASING_TRIES, 4, count, generator=random)
    chosen = torch.rand(count, generator=random) < share
    area = height * width * (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * drawn[:, 0])
    low, high = (math.log(ratio) for ratio in ERASED_RATIO)
    ratio = torch.exp(low + (high - low) * drawn[:, 1])
    tall, wide = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(0, keepdim=True)  # of the tries of an image
    chosen &= fits.any(0)
    tall, wide, down, right = (one.gather(0, first)[0] for one in (tall, wide, drawn[:, 2], drawn[:, 3]))
    top, left = (down * (height - tall + 1)).floor(), (right * (width - wide + 1)).floor()
    rows, columns = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    top, left, tall, wide = (one[:, None, None] for one in (top, left, tall, wide))
    inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
    return batch.masked_fill((inside & chosen[:, None, None])[:, None].to(batch.device), 0)
