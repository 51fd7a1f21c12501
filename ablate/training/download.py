"""Known data sets through torchvision: from its own folder layout, or downloaded with a time-out and progress."""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
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
CONNECT_S = 20.0  # for all mirrors together, name look-up included; a mirror's share is also how long it may stall
REPORT_EVERY_S = 2.0
CHUNK_BYTES = 1 << 18
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
    connect_s: float = CONNECT_S,
) -> None:
    """Downloads one file from the first mirror that answers; it appears under its name only when whole.

    Raises:
        DataError: no mirror answers within ``connect_s``, the transfer breaks off or stalls, or the md5 is wrong.
    """
    response, url = _connect(remote.urls, connect_s, name, root)
    part = remote.target.with_name(remote.target.name + ".part")
    try:
        remote.target.parent.mkdir(parents=True, exist_ok=True)
        with response, part.open("wb") as file:
            digest = _copy(response, file.write, f"{name}: {url}", report)
        if digest != remote.md5:
            raise DataError(f"{name}: {url} has md5 {digest}, expected {remote.md5}; {ways_out(name, root)}")
        part.replace(remote.target)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{name}: {url} broke off ({error or type(error).__name__}); {ways_out(name, root)}") from error
    finally:
        part.unlink(missing_ok=True)


def _connect(urls: Sequence[str], connect_s: float, name: str, root: Path) -> tuple[Any, str]:
    # The system's name look-up knows no time-out, so each mirror is tried in a thread that may be left behind.
    deadline = time.monotonic() + connect_s
    faults = []
    for position, url in enumerate(urls):
        share = (deadline - time.monotonic()) / (len(urls) - position)
        answers: list[Any] = []
        thread = threading.Thread(target=_open, args=(url, share, answers), daemon=True)
        thread.start()
        thread.join(share)
        answer = answers[0] if answers else TimeoutError(f"no answer within {share:.0f} s")
        if not isinstance(answer, Exception):
            return answer, url
        faults.append(f"{url}: {answer}")
    raise DataError(f"{name}: cannot be downloaded ({'; '.join(faults)}); {ways_out(name, root)}")


def _open(url: str, timeout_s: float, answers: list[Any]) -> None:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "ablate"})  # noqa: S310 - torchvision's addresses
        answers.append(urllib.request.urlopen(request, timeout=timeout_s))  # noqa: S310
    except (OSError, http.client.HTTPException, ValueError) as error:
        answers.append(error)


def _copy(response: Any, write: Callable[[bytes], int], title: str, report: Callable[[str], None]) -> str:
    total = int(response.headers.get("Content-Length") or 0)
    md5 = hashlib.md5(usedforsecurity=False)
    done, said = 0, time.monotonic()
    while chunk := response.read(CHUNK_BYTES):
        write(chunk)
        md5.update(chunk)
        done += len(chunk)
        if time.monotonic() - said >= REPORT_EVERY_S:
            said = time.monotonic()
            report(f"{title}: {done / 1e6:.1f} MB" + (f" of {total / 1e6:.1f} MB" if total else ""))
    if done < total:
        raise OSError(f"after {done} of {total} bytes")
    report(f"{title}: {done / 1e6:.1f} MB, done")
    return md5.hexdigest()


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
