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


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Holds the lock file ``path``; the system lets go of it when this process ends, however it ends.

    Args:
        path: the lock file; it stays.
        what: what is held, for the error.

    Raises:
        AblateError: another process holds it; the message says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AblateError(f"{what} is being run by {_holder(file.read())}; wait for it, or end it first") from None
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
        since = time.strftime("%H:%M:%S", time.localtime(plain["since"]))
        return f"process {plain['pid']} on {plain['host']} since {since}"
    except (ValueError, KeyError, TypeError):
        return "another process"
