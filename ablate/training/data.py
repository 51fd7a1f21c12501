"""Images in memory: found, made or downloaded once, checked, split, and kept as uint8 tensors."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.design.datasets import DIGESTS, EMBEDDED, KNOWN, DataInfo, prepared_file
from ablate.design.npz import MAX_CLASSES, Arrays, Part, read_npz
from ablate.design.study import DataSpec
from ablate.errors import DataError
from ablate.files import write_whole
from ablate.training.download import through_torchvision
from ablate.training.embedded import MAKERS
from ablate.training.split import shuffled, stratified

Report = Callable[[str], None]
_FRACTION, _NOISE = 1, 2  # the draws after that of the validation images


@dataclass(frozen=True, eq=False)
class Images:
    """A data set ready to train on.

    Attributes:
        train, val, test: uint8 N C H W, from 0 black to 255 white, channels_last in memory.
        train_labels, val_labels, test_labels: int64 N.
        info: what the data set holds.
        mean, std: of ``train``, a number a channel, in the images' own unit (0 to 255).
    """

    train: Tensor
    train_labels: Tensor
    val: Tensor
    val_labels: Tensor
    test: Tensor
    test_labels: Tensor
    info: DataInfo
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to(self, device: str | torch.device) -> Images:
        """The same data on another device, channels_last kept."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("train", "train_labels", "val", "val_labels", "test", "test_labels")
        }
        return replace(self, **moved)


def prepare(spec: DataSpec, root: Path, cache: Path, *, download: bool = True, report: Report | None = None) -> Path:
    """Makes sure that the data set's .npz exists and is sound, so that trials need only read it.

    Args:
        spec: which data.
        root: where NAME.npz, torchvision's own layout, and downloads lie.
        cache: where the embedded sets are kept, since unpacking them takes seconds.
        download: whether a missing set may be fetched.
        report: called with a line of text about what is being done, such as the progress of a download.

    Raises:
        DataError: which file, what was found, what was expected, how to get it.
    """
    path, arrays = _prepared(spec, root, cache, download, report)
    if spec.name not in KNOWN:
        _training_parts(path, arrays, spec)
    return path


def load_images(
    spec: DataSpec,
    root: Path,
    cache: Path,
    *,
    download: bool = True,
    report: Report | None = None,
    file: Path | None = None,
) -> Images:
    """The images of a study, its validation part split off the training images; arguments and errors as ``prepare``.

    ``file`` is the prepared file where it lies elsewhere than its name leads to, as on another machine.
    """
    path, arrays = _prepared(spec, root, cache, download, report, file)
    train, val = _training_parts(path, arrays, spec)
    mean, std = _statistics(train.images)
    return Images(
        *_tensors(train), *_tensors(val), *_tensors(arrays.test), info=_info(spec, arrays), mean=mean, std=std
    )


def _training_parts(path: Path, arrays: Arrays, spec: DataSpec) -> tuple[Part, Part]:
    """What is trained on, and what validates.

    Raises:
        DataError: there are too few images for both.
    """
    train, val = arrays.train, arrays.val
    if val is None:
        held_back = stratified(train.labels, spec.validation, spec.split_seed)
        if not held_back.any() or held_back.all():
            raise DataError(
                f"{path}: {len(train)} training images are too few to hold {spec.validation:g} of them back"
            )
        val = Part(train.images[held_back], train.labels[held_back])
        train = Part(train.images[~held_back], train.labels[~held_back])
    train = _reduced(_with_label_noise(train, spec), spec)
    if len(train) < 2:
        raise DataError(f"{path}: {len(train)} training image is too few for batch norm, at least two are needed")
    return train, val


def _with_label_noise(train: Part, spec: DataSpec) -> Part:
    """The training images with ``label_noise`` of each class under another label, every other one as likely."""
    if spec.label_noise == 0:
        return train
    wrong = stratified(train.labels, spec.label_noise, spec.split_seed, draw=_NOISE)
    num_classes = int(train.labels.max()) + 1
    steps = 1 + shuffled(len(train), spec.split_seed, _NOISE * MAX_CLASSES + MAX_CLASSES) % (num_classes - 1)
    return Part(train.images, np.where(wrong, (train.labels + steps) % num_classes, train.labels))


def _reduced(train: Part, spec: DataSpec) -> Part:
    """The share of the training images that is trained on: of each class alike, at least one."""
    if spec.fraction == 1:
        return train
    dropped = stratified(train.labels, 1 - spec.fraction, spec.split_seed, draw=_FRACTION)
    return Part(train.images[~dropped], train.labels[~dropped])


def _prepared(
    spec: DataSpec, root: Path, cache: Path, download: bool, report: Report | None, file: Path | None = None
) -> tuple[Path, Arrays]:
    path = file or prepared_file(spec, root, cache)
    if spec.name not in KNOWN:
        return path, read_npz(path)
    if path.exists():
        try:
            arrays = read_npz(path)
        except DataError as error:
            raise DataError(f"{error}; {_remedy(spec.name)}") from error
    else:
        make = MAKERS.get(spec.name)
        arrays = make() if make else through_torchvision(spec.name, root, download=download, report=report)
        _keep(arrays, path)
    _check_known(arrays, KNOWN[spec.name], path)
    return path, arrays


def _keep(arrays: Arrays, path: Path) -> None:
    content = io.BytesIO()
    label_type = np.uint8 if arrays.num_classes <= 256 else np.uint16
    np.savez(
        content,
        train_images=arrays.train.images,
        train_labels=arrays.train.labels.astype(label_type),
        test_images=arrays.test.images,
        test_labels=arrays.test.labels.astype(label_type),
    )
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def _check_known(arrays: Arrays, info: DataInfo, path: Path) -> None:
    remedy = _remedy(info.name)
    height, width, channels = arrays.image_shape
    facts = (channels, height, width, arrays.num_classes, len(arrays.train), len(arrays.test))
    expected = (info.channels, info.height, info.width, info.num_classes, info.num_train, info.num_test)
    if facts != expected:
        raise DataError(f"{path}: holds {_words(facts)}; expected {_words(expected)}; {remedy}")
    digest = DIGESTS.get(info.name)
    if digest and (found := arrays.digest()) != digest:
        raise DataError(f"{path}: does not hold {info.name} (sha256 {found}, expected {digest}); {remedy}")


def _remedy(name: str) -> str:
    if name in EMBEDDED:
        return f"move it away to have {name} made again"
    return f"move it away to have {name} downloaded again, or name the file by its path to use it as your own"


def _words(facts: tuple[int, int, int, int, int, int]) -> str:
    channels, height, width, classes, train, test = facts
    return f"{train} training and {test} test images of {channels}x{height}x{width} in {classes} classes"


def _info(spec: DataSpec, arrays: Arrays) -> DataInfo:
    if spec.name in KNOWN:
        return KNOWN[spec.name]
    height, width, channels = arrays.image_shape
    return DataInfo(
        name=spec.name,
        channels=channels,
        height=height,
        width=width,
        num_classes=arrays.num_classes,
        num_train=len(arrays.train),
        num_val=len(arrays.val) if arrays.val else 0,
        num_test=len(arrays.test),
        digest=arrays.digest()[:16],
    )


def _tensors(part: Part) -> tuple[Tensor, Tensor]:
    # N H W C in memory is what torch calls channels_last, so the images are not copied
    images = torch.from_numpy(np.ascontiguousarray(part.images)).permute(0, 3, 1, 2)
    return images, torch.from_numpy(part.labels)


def _statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, exact, in little memory; a constant channel has deviation 1."""
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), 1024):
        for channel in range(channels):
            counts[channel] += np.bincount(images[start : start + 1024, ..., channel].ravel(), minlength=256)
    levels = np.arange(256)
    mean = counts @ levels / counts.sum(1)
    variance = counts @ levels**2 / counts.sum(1) - mean**2
    std = np.sqrt(np.where(variance > 1e-6, variance, 1.0))
    return tuple(mean.tolist()), tuple(std.tolist())
