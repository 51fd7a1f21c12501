"""What a record keeps of each test example."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def example_fields(
    predictions: NDArray[np.int64], right: NDArray[np.bool_], labels: NDArray[np.int64], *, wide: bool
) -> dict[str, Any]:
    """The fields of a record that say what was predicted, which of it is right, and what guessing reaches.

    Args:
        predictions: the predicted classes (examples,).
        right: whether each is right (examples,).
        labels: the true classes (examples,).
        wide: two bytes for each prediction, instead of one.
    """
    return {
        "predictions": predictions.astype("<u2" if wide else np.uint8).tobytes(),
        "test_labels": hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()[:16],
        "correct": np.packbits(right).tobytes(),
        "chance": float(np.bincount(labels).max() / len(labels)),
    }
