"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from ablate.errors import AblateError

MOST_BYTES = 2**30  # of a file that is read whole
READABLE = 0o644  # a temporary file is its owner's alone, a report is for others too
LEFT_S = 3600  # what nobody has written to for so long is nobody's any more


def write_whole(path: Path, content: bytes) -> None:
    """Writes ``content`` to ``path`` through a temporary file beside it, fsync and rename.

    Killed at any instant, it leaves the old file or the new one, never a part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path, ".part")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, READABLE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_whole(path: Path) -> bytes:
    """The content of a file; a pipe would be waited for, and a device never ends.

    Raises:
        AblateError: it is no regular file, or one of more than 1 GiB.
        OSError: it is missing or cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise AblateError(f"{path}: is not a file")
        if found.st_size > MOST_BYTES:
            raise AblateError(f"{path}: must have at most {MOST_BYTES >> 30} GiB, got {found.st_size >> 30}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def make_whole(path: Path, make: Callable[[Path], object]) -> None:
    """Has ``make`` make a file beside ``path``, which then gets that name, unless another process was faster.

    For files that a library makes in many steps. Killed at any instant, it leaves no ``path``, or a whole one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path, ".making")
    own = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.making")
    try:
        make(own)
        try:
            os.link(own, path)  # unlike a rename, it never replaces
        except FileExistsError:
            return
        except OSError:  # a file system without links
            own.replace(path)
    finally:
        own.unlink(missing_ok=True)


class Locked(Exception):  # noqa: N818 - a state, not a mistake
    """Another process holds the lock; ``content`` is what it wrote into the file."""

    def __init__(self, content: str) -> None:
        self.content = content
        super().__init__(content)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[TextIO]:
    """Holds the lock file ``path``, which stays. The system lets go when this process ends, however it ends.

    Args:
        path: the lock file.
        wait: whether to wait for another process that holds it.

    Raises:
        Locked: another process holds it, and ``wait`` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise Locked(file.read()) from None
        yield file


def _clear(path: Path, suffix: str) -> None:
    """Removes what a process that was killed left with ``path``, journals of sqlite included."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{suffix}*"):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - LEFT_S:
                left.unlink()
