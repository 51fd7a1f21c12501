"""Makes an .npz of the user's own data: of what a function returns, or of a folder of images."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.design.imported import imported, is_path
from ablate.design.npz import CLASS_NAMES, OPTIONAL, REQUIRED, read_npz
from ablate.design.own_data import PARTS, image_files, image_folder
from ablate.errors import AblateError, DataError
from ablate.files import write_whole
from ablate.training.split import stratified
from ablate.training.user_code import load_function, told

TEST_SHARE = 0.2  # of a folder without a part of its own for the test, drawn from every class alike
SPLIT_SEED = 0
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # of Pillow: those of the names that are looked for
_RETURNS = (
    "must return a dict of arrays named as in an .npz (train_images, train_labels, test_images, test_labels), or two "
    "torch Datasets (train, test) or three (train, val, test)"
)


def make_own(name: str, path: Path, root: Path, say: Callable[[str], None]) -> None:
    """Writes the .npz of ``data.name``.

    Args:
        name: ``my_package.data:load``, or ``photos/``.
        path: of the .npz.
        root: the folder of data sets.
        say: told in a line what is being done.

    Raises:
        DataError: the function fails or returns something else, or the folder cannot be used.
    """
    say(f"preparing {name} (once; kept as {path})")
    arrays = _from_function(name) if is_path(name) else _from_folder(image_folder(name, root))
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
    try:
        read_npz(path)
    except DataError as error:
        path.unlink()
        raise DataError(f"{name}: {error}") from error


def _from_function(name: str) -> dict[str, NDArray[Any]]:
    function = load_function(imported(name))
    try:
        returned = function()
    except AblateError:
        raise
    except Exception as error:
        raise DataError(f"{name}() failed: {told(error)}") from error
    if isinstance(returned, Mapping):
        return _arrays(name, returned)
    sized = isinstance(returned, tuple | list) and all(hasattr(one, "__getitem__") for one in returned)
    if not sized or len(returned) not in (2, 3):
        raise DataError(f"{name} {_RETURNS}; got {type(returned).__name__}")
    parts = PARTS if len(returned) == 3 else ("train", "test")
    found: dict[str, NDArray[Any]] = {}
    for part, dataset in zip(parts, returned, strict=True):
        try:
            pairs = [dataset[index] for index in range(len(dataset))]
            found[f"{part}_images"] = _stacked(name, [_bytes(pair[0]) for pair in pairs])
            found[f"{part}_labels"] = np.array([int(pair[1]) for pair in pairs], np.int64)
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"{name}: the Dataset of {part} must hold pairs of image and label: {told(error)}"
            ) from error
    if classes := getattr(returned[0], "classes", None):
        found[CLASS_NAMES] = np.array([str(one) for one in classes])
    return found


def _arrays(name: str, returned: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    known = (*REQUIRED, *OPTIONAL, CLASS_NAMES)
    if missing := [key for key in REQUIRED if key not in returned]:
        raise DataError(f"{name} {_RETURNS}; it lacks {', '.join(missing)}")
    if unknown := [str(key) for key in returned if key not in known]:
        raise DataError(f"{name} {_RETURNS}; it also holds {', '.join(unknown)} (allowed: {', '.join(known)})")
    return {key: np.asarray(value) for key, value in returned.items()}


def _bytes(image: Any) -> NDArray[np.uint8]:
    """An image as uint8 H W C, of a PIL image, an array H W (C), or a tensor C H W, in bytes or from 0 to 1."""
    is_tensor = hasattr(image, "detach")
    array = np.asarray(image.detach().cpu() if is_tensor else image)
    if array.dtype.kind == "f":
        if array.size and not (array.min() >= 0 and array.max() <= 1):
            raise DataError("images of floats must be from 0 to 1, as torchvision's ToTensor gives them, unnormalised")
        array = np.rint(array * 255).astype(np.uint8)
    if is_tensor and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    return array[..., None] if array.ndim == 2 else array


def _stacked(name: str, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    sizes = {image.shape for image in images}
    if len(sizes) != 1:
        told_sizes = " and ".join("x".join(map(str, size)) for size in sorted(sizes)[:2]) or "none"
        raise DataError(f"{name}: all images must have one size, got {told_sizes}")
    return np.stack(images)


def _from_folder(folder: Path) -> dict[str, NDArray[Any]]:
    """``folder/train/CLASS/`` and ``folder/test/CLASS/`` (``val`` if there), or ``folder/CLASS/`` alone."""
    inside = sorted(path.name for path in folder.iterdir() if path.is_dir())
    parts = [part for part in PARTS if part in inside] if {"train", "test"} <= set(inside) else []
    first = folder / "train" if parts else folder
    classes = sorted(path.name for path in first.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise DataError(f"{first}: must hold a folder a class, at least two; it holds {', '.join(classes) or 'none'}")
    found: dict[str, NDArray[Any]] = {CLASS_NAMES: np.array(classes)}
    for part in parts or ["train"]:
        images, labels = _of_part(folder / part if parts else folder, classes)
        found |= {f"{part}_images": images, f"{part}_labels": labels}
    if lacking := sorted(set(range(len(classes))) - set(found["train_labels"].tolist())):
        raise DataError(f"{first / classes[lacking[0]]}: holds no image; each folder must be a class")
    if not parts:
        test = stratified(found["train_labels"], TEST_SHARE, SPLIT_SEED)
        if not test.any():
            raise DataError(
                f"{folder}: {len(test)} images are too few to hold {TEST_SHARE:g} of them back for the test; "
                f"add images, or put them into {folder / 'train'} and {folder / 'test'}"
            )
        for what in ("images", "labels"):
            whole = found[f"train_{what}"]
            found |= {f"train_{what}": whole[~test], f"test_{what}": whole[test]}
    return found


def _of_part(folder: Path, classes: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        from ablate.training.pictures import open_picture
    except ImportError as error:
        raise DataError(f"{folder}: images are read by the package pillow: python -m pip install pillow") from error
    images, labels = [], []
    grey = True
    for label, name in enumerate(classes):
        for path in image_files(folder / name):
            image = open_picture(path, FORMATS, turn=False)
            grey = grey and image.mode in ("L", "1", "I;16")
            images.append(np.asarray(image.convert("RGB")))
            labels.append(label)
            if images[-1].shape != images[0].shape:
                first, own = (f"{one.shape[1]}x{one.shape[0]}" for one in (images[0], images[-1]))
                raise DataError(f"{path}: is {own} pixels, the first image is {first}; all must have one size")
    if not images:
        raise DataError(f"{folder}: holds no image")
    stacked = np.stack(images)
    return stacked[..., :1] if grey else stacked, np.array(labels, np.int64)
