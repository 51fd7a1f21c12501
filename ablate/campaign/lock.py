"""One dispatcher a study and runs folder: the second is told who the first is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from ablate.errors import AblateError

WAIT = "wait for it, or end it first"


class Held(AblateError):  # noqa: N818 - a state, not a mistake
    """Another process holds it."""

    def __init__(self, what: str, holder: str, advice: str = WAIT) -> None:
        self.what = what
        self.holder = holder
        super().__init__(f"{what} is being run by {holder}; {advice}")


@contextlib.contextmanager
def held(path: Path, what: str, advice: str = WAIT) -> Iterator[None]:
    """Holds the lock file ``path``; the system lets go of it when this process ends, however it ends.

    Args:
        path: the lock file; it stays.
        what: what is held, for the error.
        advice: what one can do where it is, for the error.

    Raises:
        Held: another process holds it; the message says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Held(what, _holder(file.read()), advice) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _holder(text: str) -> str:
    try:
        plain = json.loads(text)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(plain["since"]))
        return f"process {plain['pid']} on {plain['host']} since {since}"
    except (ValueError, KeyError, TypeError):
        return "another process"
