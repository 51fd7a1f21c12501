"""The answers of a trained net for image files or test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ablate.campaign.options import RunOptions
from ablate.campaign.trained import TrainedNet
from ablate.design.datasets import DataInfo, class_names
from ablate.errors import AblateError

if TYPE_CHECKING:
    from ablate.training.data import Images

DARK, LIGHT = 85, 170  # mean of training images that are mostly dark, and of a picture that is mostly light


@dataclass(frozen=True, eq=False)
class Answers:
    """A net's answers.

    Attributes:
        names: of the images: the file, or the index in the test part.
        images: uint8 N H W C, as the net saw them before they were normalised.
        probabilities: float N K, the softmax of the logits.
        truths: the class of each image; None: not known.
        classes: what the K classes are called.
    """

    names: tuple[str, ...]
    images: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    truths: tuple[int | None, ...]
    classes: tuple[str, ...]


def answers(
    trained: TrainedNet,
    options: RunOptions,
    *,
    files: Sequence[Path] = (),
    test: Sequence[int] = (),
    say: Callable[[str], None] = print,
) -> Answers:
    """Shows images to a net: the files, or the test images with these indices, or all test images.

    Args:
        trained: the net.
        options: for the folder of the data.
        files: PNG or JPEG files; another size or number of channels is converted and reported.
        test: indices from 0.
        say: called with a message about each conversion.

    Raises:
        AblateError: a file cannot be read, an index is out of range, or the data cannot be had.
    """
    import torch

    from ablate.training.data import load_images
    from ablate.training.feed import Feed

    check_asked(trained.plan.data, files, test)
    images = load_images(trained.trial.data, options.data_root, options.cache / "data", report=say)
    names, pictures, truths = _files(files, images, say) if files else _test_images(test, images)
    feed = Feed(images, trained.trial.recipe, trained.trial.seed)
    with torch.inference_mode():
        net = trained.load()
        batches = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(256)
        logits = torch.cat([net(feed.normalise(batch)).double() for batch in batches])
    return Answers(names, pictures, logits.softmax(1).numpy(), truths, class_names(images.info))


def check_asked(data: DataInfo, files: Sequence[Path], test: Sequence[int]) -> None:
    """Reads the files, and compares the indices with the number of test images: before anything is trained.

    Raises:
        AblateError: a file cannot be read, or an index is out of range.
    """
    from ablate.training.pictures import read_picture

    for path in files:
        read_picture(path, data)
    for index in test:
        if not 0 <= index < data.num_test:
            raise AblateError(f"--test must be from 0 to {data.num_test - 1}, as {data.name} has; got {index}")


Shown = tuple[tuple[str, ...], NDArray[np.uint8], tuple[int | None, ...]]


def _files(files: Sequence[Path], images: Images, say: Callable[[str], None]) -> Shown:
    from ablate.training.pictures import read_picture

    pictures = []
    for path in files:
        picture, said = read_picture(path, images.info)
        if said:
            say(said)
        if picture.mean() > LIGHT and np.mean(images.mean) < DARK:
            say(f"{path.name}: is mostly light, but the images of {images.info.name} are mostly dark: invert it")
        pictures.append(picture)
    return tuple(map(str, files)), np.stack(pictures), (None,) * len(files)


def _test_images(test: Sequence[int], images: Images) -> Shown:
    chosen = list(test) or list(range(len(images.test_labels)))
    pictures = images.test[chosen].permute(0, 2, 3, 1).contiguous().numpy()
    return tuple(map(str, chosen)), pictures, tuple(images.test_labels[chosen].tolist())
