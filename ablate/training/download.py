"""Known data sets through torchvision: from its own folder layout, or downloaded with a time-out and progress."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ablate.design.npz import Arrays, Part
from ablate.errors import DataError

CLASSES = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
TIMEOUT_S = 20.0  # how long a mirror may take to answer, or stall
REPORT_EVERY_S = 2.0
_UNREADABLE = (OSError, EOFError, ValueError, AssertionError)  # what torchvision's readers do on damaged files


@dataclass(frozen=True)
class Remote:
    """One file of a data set: where it may be had, where it belongs, and its md5 by torchvision's own table."""

    urls: tuple[str, ...]
    target: Path
    md5: str


def through_torchvision(
    name: str, root: Path, *, download: bool = True, report: Callable[[str], None] | None = None
) -> Arrays:
    """A known set as torchvision reads it below ``root``, fetched first where it is missing.

    Raises:
        DataError: torchvision is missing or broken, the files are missing and cannot be had, or are damaged.
    """
    dataset = _dataset_class(name, root)
    try:
        return _load(dataset, root)
    except RuntimeError:  # torchvision's word for "not found or corrupted"
        if not download:
            raise DataError(f"{name}: not found below {root}; {ways_out(name, root)}") from None
    except _UNREADABLE as error:
        raise _damaged(name, root, error) from error
    for remote in _remotes(dataset, root):
        if not _is_whole(remote):
            fetch(remote, name=name, root=root, report=report or _silent)
    try:
        for train in (True, False):
            dataset(root, train=train, download=True)  # finds the verified archives and unpacks them
        return _load(dataset, root)
    except (RuntimeError, *_UNREADABLE) as error:
        raise _damaged(name, root, error) from error


def ways_out(name: str, root: Path) -> str:
    """What to do without a connection."""
    return (
        f"put the file {root / f'{name}.npz'} in place (uint8 train_images and test_images N H W or N H W C, "
        "train_labels, test_labels), or use the embedded digits with --data mnist5k"
    )


def fetch(
    remote: Remote,
    *,
    name: str,
    root: Path,
    report: Callable[[str], None],
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Downloads one file from the first mirror that has it; it appears under its name only when whole and checked.

    Raises:
        DataError: no mirror answers, stays silent for less than ``timeout_s``, and sends the file with the right md5.
    """
    import pooch

    logging.getLogger("pooch").setLevel(logging.ERROR)
    problems = []
    for url in remote.urls:
        downloader = pooch.HTTPDownloader(timeout=timeout_s, progressbar=Progress(f"{name}: {url}", report))
        try:
            pooch.retrieve(
                url, known_hash=f"md5:{remote.md5}", fname=remote.target.name, path=remote.target.parent,
                downloader=downloader,
            )  # fmt: skip
            return
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong md5 is a ValueError
            problems.append(f"{url}: {error}")
    raise DataError(f"{name}: cannot be downloaded ({'; '.join(problems)}); {ways_out(name, root)}")


class Progress:
    """A progress bar as pooch takes one: a line every few seconds."""

    def __init__(self, title: str, report: Callable[[str], None]) -> None:
        self.total = 0
        self._title = title
        self._report = report
        self._done, self._said = 0, time.monotonic()

    def reset(self) -> None:
        """The transfer begins, or its count is checked at the end."""

    def update(self, size: int) -> None:
        """So many bytes more have arrived."""
        self._done += size
        if time.monotonic() - self._said >= REPORT_EVERY_S:
            self._said = time.monotonic()
            total = f" of {self.total / 1e6:.1f} MB" if self.total else ""
            self._report(f"{self._title}: {self._done / 1e6:.1f} MB{total}")

    def close(self) -> None:
        """The transfer is over."""
        self._report(f"{self._title}: {self.total / 1e6:.1f} MB, done")


def _damaged(name: str, root: Path, error: Exception) -> DataError:
    return DataError(
        f"{name}: torchvision's files below {root} are damaged ({error or type(error).__name__}); move them away to "
        f"have them fetched again, or {ways_out(name, root)}"
    )


def _silent(_line: str) -> None:
    pass


def _dataset_class(name: str, root: Path) -> Any:
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError, OSError) as error:  # RuntimeError: operator torchvision::nms does not exist
        raise DataError(
            f"{name}: {root / f'{name}.npz'} is missing, and torchvision, which would get it, cannot be imported "
            f"({error}); install the torchvision made for this torch (python -m pip install --force-reinstall torch "
            f"torchvision takes both from one place), or {ways_out(name, root)}"
        ) from error
    return getattr(datasets, CLASSES[name])


def _load(dataset: Any, root: Path) -> Arrays:
    parts = []
    for train in (True, False):
        loaded = dataset(root, train=train, download=False)
        images = np.asarray(loaded.data, np.uint8)
        parts.append(Part(images if images.ndim == 4 else images[..., None], np.asarray(loaded.targets, np.int64)))
    return Arrays(train=parts[0], test=parts[1], val=None)


def _remotes(dataset: Any, root: Path) -> list[Remote]:
    if hasattr(dataset, "resources"):  # the MNIST family: four files, from a list of mirrors
        folder = root / dataset.__name__ / "raw"
        return [
            Remote(tuple(f"{mirror.rstrip('/')}/{file}" for mirror in dataset.mirrors), folder / file, md5)
            for file, md5 in dataset.resources
        ]
    return [Remote((dataset.url,), root / dataset.filename, dataset.tgz_md5)]


def _is_whole(remote: Remote) -> bool:
    if not remote.target.is_file():
        return False
    with remote.target.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == remote.md5
