"""Random crops and flips of uint8 batches, an own draw for each image, in one gather."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


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
