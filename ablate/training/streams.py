"""The independent streams of random numbers that a trial's seed feeds."""

from __future__ import annotations

import hashlib
import random
from typing import Literal

import numpy as np
import torch

from ablate.design.study import Source
from ablate.design.trial import Seeds

Stream = Literal["weights", "order", "augmentation", "dropout", "drop_path", "rand_augment", "erasing", "mixing"]

# Dropout and dropped paths perturb an image's way through the net, as augmentation does the image.
_SOURCES: dict[Stream, Source] = {"weights": "weights", "order": "order"}


def stream_seed(seed: int | Seeds, stream: Stream, epoch: int = 0) -> int:
    """The seed of one stream in one epoch.

    Every epoch starts its streams anew, so a trial that is resumed at an epoch needs no generator's state; and
    what one stream consumes (an arm without dropout, a recipe without crops) never moves another.
    """
    start = seed if isinstance(seed, int) else seed.of(_SOURCES.get(stream, "augmentation"))
    name = f"{start}/{stream}/{epoch}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "little") >> 1


def seed_globally(seed: int) -> None:
    """Starts the global random states of torch, numpy and Python, which only code of the user's own draws from."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the state that such code draws from


def generator(seed: int | Seeds, stream: Stream, epoch: int = 0) -> torch.Generator:
    """A generator on the CPU that starts at ``stream_seed``: the same numbers whatever device trains."""
    return torch.Generator().manual_seed(stream_seed(seed, stream, epoch))
