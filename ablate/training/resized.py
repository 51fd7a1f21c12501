"""Test images at another size, for nets that take any."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_CHUNK = 256


def resized(images: Tensor, height: int, width: int) -> Tensor:
    """Images uint8 N C H W at another size: bilinear, with antialiasing where they get smaller."""
    if images.shape[2:] == (height, width):
        return images
    some = (
        functional.interpolate(part.float(), (height, width), mode="bilinear", antialias=True).round().clamp(0, 255)
        for part in images.split(_CHUNK)
    )
    return torch.cat([part.to(torch.uint8) for part in some]).contiguous(memory_format=torch.channels_last)
