"""Reads an .npz of labelled images and says exactly what is wrong with one that cannot be used."""

from __future__ import annotations

import functools
import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import DataError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The key names that MedMNIST files use.
REQUIRED = ("train_images", "train_labels", "test_images", "test_labels")
OPTIONAL = ("val_images", "val_labels")
MAX_CLASSES = 65_536
EXPECTED = (
    "an .npz file with train_images, train_labels, test_images and test_labels (val_images and val_labels if there is "
    "a validation part): images uint8 of shape N H W or N H W C, labels whole numbers from 0 of shape N or N 1; "
    "numpy.savez(path, train_images=..., train_labels=..., test_images=..., test_labels=...) writes one"
)


@dataclass(frozen=True)
class Part:
    """Images uint8 N H W C and their labels int64 N."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Arrays:
    """A whole data set as it stands in a file; every class from 0 to ``num_classes - 1`` has a training image."""

    train: Part
    test: Part
    val: Part | None

    @property
    def num_classes(self) -> int:
        return int(self.train.labels.max()) + 1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """H W C."""
        height, width, channels = self.train.images.shape[1:]
        return int(height), int(width), int(channels)

    def digest(self) -> str:
        """sha256 over images and labels of train, test and (if there) val, labels as bytes where they fit."""
        import numpy as np

        sha = hashlib.sha256()
        label_type = np.uint8 if self.num_classes <= 256 else np.dtype("<u2")
        for part in (self.train, self.test, *([self.val] if self.val else [])):
            sha.update(np.ascontiguousarray(part.images).data)
            sha.update(part.labels.astype(label_type).data)
        return sha.hexdigest()


def read_npz(path: Path) -> Arrays:
    """The images of an .npz file, checked; pickled objects are never loaded.

    Raises:
        DataError: the file is missing, damaged, or does not hold what ``EXPECTED`` says.
    """
    found = _read_members(path)
    if missing := [name for name in REQUIRED if name not in found]:
        there = ", ".join(sorted(found)) or "nothing"
        raise _error(path, f"lacks {', '.join(missing)}; it holds {there}{nearest(missing[0], found)}")
    if len(found.keys() & set(OPTIONAL)) == 1:
        raise _error(path, "holds only one of val_images and val_labels")
    parts = {name: _part(path, name, found) for name in ("train", "test", "val") if f"{name}_images" in found}
    arrays = Arrays(parts["train"], parts["test"], parts.get("val"))
    _check_labels(path, arrays)
    for name, part in parts.items():
        if part.images.shape[1:] != arrays.train.images.shape[1:]:
            raise _error(
                path,
                f"{name}_images are {_shape(part.images.shape[1:])}, "
                f"but train_images are {_shape(arrays.train.images.shape[1:])}",
            )
    return arrays


@dataclass(frozen=True)
class Summary:
    """What a plan needs to know of a file."""

    image_shape: tuple[int, int, int]  # H W C
    num_classes: int
    num_train: int
    num_val: int  # 0: the file has no validation part of its own
    num_test: int
    digest: str


def summarise(path: Path) -> Summary:
    """The file's shapes, counts and digest; a file that has not changed is read once a process.

    Raises:
        DataError: as ``read_npz``.
    """
    try:
        stat, whole = path.stat(), path.resolve()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(path, error) from error
    return _summarise(whole, (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=8)
def _summarise(path: Path, _version: tuple[int, int]) -> Summary:  # a changed file is another key of the cache
    arrays = read_npz(path)
    return Summary(
        image_shape=arrays.image_shape,
        num_classes=arrays.num_classes,
        num_train=len(arrays.train),
        num_val=len(arrays.val) if arrays.val else 0,
        num_test=len(arrays.test),
        digest=arrays.digest(),
    )


def _error(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}; expected {EXPECTED}")


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return _error(path, "is missing")
    return _error(path, f"cannot be read ({getattr(error, 'strerror', None) or _line(error)})")


def _line(error: Exception) -> str:
    """What an error says, cut to what fits a line: numpy's may quote the whole header of an array."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _read_members(path: Path) -> dict[str, NDArray[Any]]:
    import numpy as np

    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise _error(path, "cannot be read (it is not a file)")
        with path.open("rb") as file:  # opened here, so that it is closed whatever numpy makes of it
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise _error(path, "is a single array, not an .npz")
            return {name: content[name] for name in content.files if name in REQUIRED + OPTIONAL}
    except DataError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise _error(path, f"is truncated or damaged ({_line(error)})") from error
    except Exception as error:  # zipfile and numpy raise almost anything, given the wrong bytes
        if not zipfile.is_zipfile(path):  # numpy takes any bytes for a pickle
            raise _error(path, "is truncated, or no .npz file at all") from error
        raise _error(path, f"does not hold plain arrays ({_line(error)})") from error


def _part(path: Path, name: str, found: dict[str, NDArray[Any]]) -> Part:
    import numpy as np

    images, labels = found[f"{name}_images"], found[f"{name}_labels"]
    if images.dtype != np.uint8:
        raise _error(path, f"{name}_images have dtype {images.dtype}, not uint8 (0 black to 255 white)")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise _error(path, f"{name}_images have shape {_shape(images.shape)}, not N H W or N H W C")
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] > 4:
        raise _error(path, f"{name}_images have shape {_shape(images.shape)}, which looks like N C H W, not N H W C")
    if labels.dtype.kind not in "iu":
        raise _error(path, f"{name}_labels have dtype {labels.dtype}, not whole numbers")
    count = len(images)
    if labels.shape not in ((count,), (count, 1)):
        raise _error(path, f"{name}_labels have shape {_shape(labels.shape)}, but there are {count} {name}_images")
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise _error(path, f"{name}_labels go from {labels.min()} to {labels.max()}, not from 0 to {MAX_CLASSES - 1}")
    images = images[..., None] if images.ndim == 3 else images
    return Part(images, labels.reshape(-1).astype(np.int64))


def _check_labels(path: Path, arrays: Arrays) -> None:
    import numpy as np

    counts = np.bincount(arrays.train.labels)
    if len(counts) < 2:
        raise _error(path, "train_labels hold a single class, where at least two are needed")
    if not counts.all():
        empty = int(np.flatnonzero(counts == 0)[0])
        raise _error(path, f"train_labels go up to {len(counts) - 1}, but no training image has label {empty}")
    for name, part in (("test", arrays.test), ("val", arrays.val)):
        if part is not None and part.labels.max() >= len(counts):
            raise _error(path, f"{name}_labels go up to {part.labels.max()}, but train_labels to {len(counts) - 1}")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "none (a single number)"
