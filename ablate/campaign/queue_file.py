"""The queue's sqlite file among the dispatchers that share it: made whole, set aside only where nobody else uses it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ablate.campaign.result import CampaignStopped
from ablate.campaign.server import causes, is_full, sentence
from ablate.campaign.spool import holding
from ablate.errors import AblateError
from ablate.files import make_whole

T = TypeVar("T")
FULL = "the disk with the queue is full; make space and run the same command to go on, nothing finished is lost"


def opening(path: Path) -> contextlib.AbstractContextManager[None]:
    """One process at a time opens the file, or finds it damaged."""
    return holding(path.with_name(f".{path.name}.opening"))


class FileUse:
    """That this process uses the file; the system lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path.with_name(f".{path.name}.used"), os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._handle, fcntl.LOCK_SH)

    def alone(self) -> bool:
        """Whether no other process uses it; within ``opening``, none begins to."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_SH)  # trying for more lets go of what was held
        return True

    def release(self) -> None:
        """Uses it no longer."""
        os.close(self._handle)


def open_file(path: Path, make: Callable[[Path], object], use: Callable[[FileUse], T]) -> tuple[T, str]:
    """What ``use`` makes of the file, and a sentence about what was wrong with the file.

    Args:
        path: the file; it is made where it is not there, and set aside and made anew where ``use`` finds it damaged.
        make: makes an empty one.
        use: opens one, and sees to it that it is no longer used in the end.

    Raises:
        AblateError: it is out of reach, or damaged while another process uses it.
        CampaignStopped: the disk is full.
    """
    try:
        with opening(path), contextlib.ExitStack() as undo:
            mark = FileUse(path)
            undo.callback(mark.release)
            opened = _open(path, make, lambda: use(mark), mark)
            undo.pop_all()
            return opened
    except OSError as error:
        raise _out_of_reach(path, error) from error


def _open(path: Path, make: Callable[[Path], object], use: Callable[[], T], mark: FileUse) -> tuple[T, str]:
    try:
        if not path.exists():
            make_whole(path, make)
        return use(), ""
    except Exception as error:
        if is_full(error):
            raise CampaignStopped(FULL) from error
        if not path.exists() or _is_access(error):
            raise _out_of_reach(path, error) from error
        reason = sentence(error)
        if not mark.alone():
            raise AblateError(
                f"{path}: the queue is damaged ({reason}), and another study that runs uses it; "
                f"run this command again when that one has ended"
            ) from error
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    path.replace(aside)
    for suffix in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    make_whole(path, make)
    return use(), f"{path} could not be read ({reason}); it is kept as {aside.name} and the queue was rebuilt."


def _out_of_reach(path: Path, error: Exception) -> AblateError:
    return AblateError(f"{path}: the queue cannot be opened: {sentence(error)}")


def _is_access(error: BaseException) -> bool:
    """Whether the file is sound as far as one can tell, and only out of reach."""
    words = ("locked", "readonly", "read-only", "unable to open", "disk i/o")
    return any(
        isinstance(link, PermissionError) or any(word in str(link).lower() for word in words) for link in causes(error)
    )
