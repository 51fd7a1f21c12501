"""Stratified parts of a labelled set, the same on every machine and with every version of numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ablate.design.npz import MAX_CLASSES


def shuffled(count: int, seed: int, stream: int = 0) -> NDArray[np.intp]:
    """A permutation of ``count`` numbers; the raw bit stream, unlike numpy's shuffles, is fixed for good."""
    bits = np.random.PCG64(np.random.SeedSequence([seed, stream])).random_raw(count)
    return np.argsort(bits, kind="stable")


def stratified(labels: NDArray[np.int64], fraction: float, seed: int, *, draw: int = 0) -> NDArray[np.bool_]:
    """Marks about ``fraction`` of every class.

    Args:
        labels: N, from 0.
        fraction: between 0 and 1; a class of n images gives the nearest whole number to ``fraction * n``, but at
            least one and never its last one.
        seed: which images are drawn.
        draw: numbers the draws that are to be independent of each other under one seed.

    Returns:
        N, true for the images that are drawn; those of a larger fraction hold those of a smaller one.
    """
    drawn = np.zeros(len(labels), bool)
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label)
        size = min(max(1, int(fraction * len(members) + 0.5)), len(members) - 1)
        drawn[members[shuffled(len(members), seed, label + draw * MAX_CLASSES)[: max(size, 0)]]] = True
    return drawn
