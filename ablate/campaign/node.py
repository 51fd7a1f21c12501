"""One attempt at a trial on a node of a cluster, which shares no disk with the dispatcher.

It runs as it would on the dispatcher's own machine, in a process of its own; what differs is where its files lie, and
that progress and outcome are yielded, to travel back.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.campaign.executors import Finished, Job, Lost, Progress, Trainer
from ablate.campaign.local import LocalExecutor
from ablate.campaign.outbox import Outbox
from ablate.errors import AblateError
from ablate.files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LISTEN_S = 1.0


@dataclass(frozen=True)
class End:
    """How an attempt ended, with the weights where the trial keeps them."""

    event: Finished | Lost
    weights: bytes | None


def owner_of(trials: Path) -> str:
    """A name for a dispatcher's folder of trials that no other machine's or campaign's has."""
    return hashlib.sha256(f"{socket.gethostname()}:{trials.resolve()}".encode()).hexdigest()[:12]


def scratch(owner: str) -> Path:
    """The folder on this node for what a dispatcher's trials need and leave.

    Raises:
        AblateError: somebody else made a folder of its name.
    """
    home = Path(tempfile.gettempdir()) / f"ablate-{os.getuid()}"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = home.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise AblateError(f"{home}: belongs to another user of this node; set TMPDIR to a folder of your own there")
    return home / owner


def run_attempt(
    job: Job, train: Trainer, preload: Sequence[str], content: NDArray[np.uint8] | None, digest: str, owner: str
) -> Iterator[Progress | End]:
    """Trains a job on this node; its end comes last.

    What an earlier attempt left here is gone on with; a record leaves nothing behind but the data.

    Args:
        job: its paths are the dispatcher's, and are not touched.
        train: what trains a trial.
        preload: modules that the fork server loads once.
        content: the bytes of the data file; None where the trainer needs none.
        digest: of the content.
        owner: as ``owner_of`` names the dispatcher.
    """
    home = scratch(owner)
    outbox = Outbox(home / "trials")
    data = _unpacked(home / "data" / f"{digest}.npz", content)
    here = replace(job, folder=outbox.folder(job.key), cache=home / "data", data_root=None, data_file=data)
    outbox.forget(job.key)
    executor = LocalExecutor(1, threads=job.threads, train=train, preload=preload)
    try:
        executor.submit(here)
        while True:
            for event in executor.events(LISTEN_S):
                if isinstance(event, Progress):
                    yield event
                    continue
                if isinstance(event, Lost) and event.disk_full:
                    event = replace(event, place=f"{home} on {socket.gethostname()}")
                weights = outbox.weights(job.key)
                yield End(event, weights.read_bytes() if weights and isinstance(event, Finished) else None)
                if isinstance(event, Finished):
                    outbox.settle(job.key)
                return
    finally:
        executor.close()


def _unpacked(path: Path, content: NDArray[np.uint8] | None) -> Path | None:
    if content is None:
        return None
    if not (path.is_file() and path.stat().st_size == content.nbytes):
        write_whole(path, content.tobytes())
    return path
