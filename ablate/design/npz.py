"""Reads an .npz of labelled images and says exactly what is wrong with one that cannot be used."""

from __future__ import annotations

import functools
import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
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
CLASS_NAMES = "class_names"  # read where it holds a text a class
# What Keras calls them in its own files.
KERAS = {"train_images": "x_train", "train_labels": "y_train", "test_images": "x_test", "test_labels": "y_test"}
MAX_CLASSES = 65_536
MOST_NAMED = 12  # arrays of a file, in an error
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
    found, names = _read_members(path)
    if missing := [name for name in REQUIRED if name not in found]:
        raise _error(path, f"lacks {', '.join(missing)}; it holds {_told(names)}{_renaming(missing, names)}")
    problems = ["holds only one of val_images and val_labels"] * (len(found.keys() & set(OPTIONAL)) == 1)
    parts = [part for part in ("train", "test", "val") if {f"{part}_images", f"{part}_labels"} <= found.keys()]
    for part in parts:
        problems += _part_problems(part, found)
    if problems:
        raise _error(path, "; ".join(problems))
    made = {name: _part(name, found) for name in parts}
    arrays = Arrays(made["train"], made["test"], made.get("val"))
    if problems := _disagreements(made):
        raise _error(path, "; ".join(problems))
    return arrays


def _told(names: Iterable[str]) -> str:
    """Names on one line, whatever they are; of many the first few."""
    shown = [name if name.isprintable() else repr(name) for name in sorted(names)]
    return ", ".join(shown[:MOST_NAMED] + ["..."] * (len(shown) > MOST_NAMED)) or "nothing"


def _renaming(missing: Sequence[str], names: Sequence[str]) -> str:
    """``"; save x_train as train_images, ..."`` of arrays that are there under the names that Keras gives them."""
    there = [f"{KERAS[name]} as {name}" for name in missing if KERAS[name] in names]
    return f"; save {', '.join(there)}" if there else nearest(missing[0], names)


@dataclass(frozen=True)
class Summary:
    """What a plan needs to know of a file."""

    image_shape: tuple[int, int, int]  # H W C
    num_classes: int
    num_train: int
    num_val: int  # 0: the file has no validation part of its own
    num_test: int
    digest: str
    class_names: tuple[str, ...] = ()


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
        class_names=_class_names(path, arrays.num_classes),
    )


def _class_names(path: Path, num_classes: int) -> tuple[str, ...]:
    """The texts of the array ``class_names`` where there is one a class; else none, since the name is anybody's."""
    import numpy as np

    with np.load(path, allow_pickle=False) as content:
        try:
            names = content[CLASS_NAMES]
        except (KeyError, ValueError):  # ValueError: objects, which would be unpickled
            return ()
    found = [str(name)[:40] for name in names.ravel()] if names.dtype.kind == "U" else []
    return tuple(name if name.isprintable() else repr(name) for name in found) if len(found) == num_classes else ()


def _error(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}; expected {EXPECTED}")


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return _error(path, "is missing")
    return _error(path, f"cannot be read ({getattr(error, 'strerror', None) or _line(error)})")


def _line(error: Exception) -> str:
    """What an error says, cut to what fits a line: numpy's may quote the whole header of an array."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _read_members(path: Path) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """The arrays of the names that are read, and the names of all."""
    import numpy as np

    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise _error(path, "cannot be read (it is not a file)")
        with path.open("rb") as file:  # opened here, so that it is closed whatever numpy makes of it
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise _error(path, "is a single array, not an .npz")
            assert content.zip is not None
            _check_size(path, content.zip)
            return {name: content[name] for name in content.files if name in REQUIRED + OPTIONAL}, tuple(content.files)
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


def _check_size(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuses a file whose arrays are larger than the memory: a small one may unpack to any size."""
    read = {f"{name}.npy" for name in (*REQUIRED, *OPTIONAL, CLASS_NAMES)}
    size = sum(member.file_size for member in archive.infolist() if member.filename in read)
    if size > memory_bytes():
        raise _error(path, f"holds arrays of {size / 1e9:,.0f} GB, and this machine has {memory_bytes() / 1e9:,.0f} GB")


def memory_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _part_problems(name: str, found: Mapping[str, NDArray[Any]]) -> list[str]:
    """What is wrong with images and labels of a part."""
    images, labels = found[f"{name}_images"], found[f"{name}_labels"]
    problems = [
        *([f"have dtype {images.dtype}, not uint8 (0 black to 255 white)"] if images.dtype != "uint8" else []),
        *_shape_problems(images.shape),
    ]
    told = [f"{name}_images {problem}" for problem in problems]
    count = len(images) if images.shape else 0
    if labels.dtype.kind not in "iu":
        told.append(f"{name}_labels have dtype {labels.dtype}, not whole numbers")
    elif labels.shape not in ((count,), (count, 1)):
        told.append(f"{name}_labels have shape {_shape(labels.shape)}, but there are {count} {name}_images")
    elif labels.size and (labels.min() < 0 or labels.max() >= MAX_CLASSES):
        told.append(f"{name}_labels go from {labels.min()} to {labels.max()}, not from 0 to {MAX_CLASSES - 1}")
    return told


def _shape_problems(shape: tuple[int, ...]) -> list[str]:
    if len(shape) not in (3, 4) or 0 in shape:
        return [f"have shape {_shape(shape)}, not N H W or N H W C"]
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] > 4:
        return [f"have shape {_shape(shape)}, which looks like N C H W, not N H W C"]
    return []


def _part(name: str, found: Mapping[str, NDArray[Any]]) -> Part:
    import numpy as np

    images, labels = found[f"{name}_images"], found[f"{name}_labels"]
    images = images[..., None] if images.ndim == 3 else images
    return Part(images, labels.reshape(-1).astype(np.int64))


def _disagreements(parts: Mapping[str, Part]) -> list[str]:
    """Labels without training images, and images of other sizes than the training images."""
    import numpy as np

    train = parts["train"]
    counts = np.bincount(train.labels)
    problems = []
    if len(counts) < 2:
        problems.append("train_labels hold a single class, where at least two are needed")
    elif not counts.all():
        empty = int(np.flatnonzero(counts == 0)[0])
        problems.append(f"train_labels go up to {len(counts) - 1}, but no training image has label {empty}")
    size = train.images.shape[1:]
    for name, part in parts.items():
        if part.labels.max() >= len(counts):
            problems.append(f"{name}_labels go up to {part.labels.max()}, but train_labels to {len(counts) - 1}")
        if part.images.shape[1:] != size:
            own = _shape(part.images.shape[1:])
            problems.append(f"{name}_images are {own}, but train_images are {_shape(size)}")
    return problems


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "none (a single number)"
