"""What runs in a worker: one attempt at one trial, its record written whole at the end."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import fcntl
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from ablate.campaign.executors import Job, OnEpoch, Trainer, TrialContext
from ablate.campaign.outbox import OUTPUT, Outbox
from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.places import default_data_root

LOCK = ".lock"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Fault:
    """Why a trainer did not return, as its worker tells it."""

    reason: str
    disk_full: bool


def train_trial(trial: Trial, context: TrialContext) -> Record:
    """Trains one trial on its prepared images."""
    from ablate.training.data import load_images
    from ablate.training.fit import fit

    root = context.data_root or default_data_root()
    images = load_images(trial.data, root, context.cache, download=False, file=context.data_file)
    return fit(
        trial,
        images,
        device=context.device,
        threads=context.threads,
        folder=context.folder,
        on_epoch=context.on_epoch,
    )


def run_job(job: Job, train: Trainer, on_epoch: OnEpoch) -> Record:
    """One attempt: trains, and leaves the record in the job's folder.

    Two processes never work in one folder: a worker that outlives its dispatcher for a moment is waited for.
    """
    outbox = Outbox(job.folder.parent)
    with _held(job.folder / LOCK):
        record = outbox.get(job.key)  # the dispatcher removed what there was, so this is of the one waited for
        if record is not None and record.status != "failed":
            return record
        context = TrialContext(
            folder=job.folder,
            data_root=job.data_root,
            cache=job.cache,
            device=job.device,
            threads=job.threads,
            on_epoch=on_epoch,
            data_file=job.data_file,
        )
        record = train(job.trial, context)
        record = replace(record, measured=replace(record.measured, attempts=job.attempt))
        outbox.put(record)
    return record


def run_in_process(job: Job, train: Trainer, pipe: Connection) -> None:
    """The whole life of a worker process of this machine; ``pipe`` carries its progress to the dispatcher."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the dispatcher's, which then ends its workers
    _end_with_dispatcher()
    job.folder.mkdir(parents=True, exist_ok=True)
    _redirect(job.folder / OUTPUT)

    def on_epoch(point: EpochPoint, images_per_s: float) -> None:
        try:
            pipe.send((point, images_per_s))
        except OSError:  # nobody listens any more
            os._exit(1)

    try:
        run_job(job, train, on_epoch)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this trial's and becomes its record
        traceback.print_exc()
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            pipe.send(describe_fault(error))
        os._exit(1)


def describe_fault(error: BaseException) -> Fault:
    """``ValueError: ...``, in one line, and whether a full disk is behind it."""
    lines = str(error).strip().splitlines()
    full = False
    cause: BaseException | None = error
    while cause is not None:
        full = full or (isinstance(cause, OSError) and cause.errno in NO_SPACE)
        cause = cause.__cause__ or cause.__context__
    return Fault(": ".join([type(error).__name__, *lines[:1]]), full)


def _end_with_dispatcher() -> None:
    dispatcher = multiprocessing.parent_process()
    if dispatcher is None:
        return

    def watch() -> None:
        dispatcher.join()
        os._exit(1)

    threading.Thread(target=watch, name="end with the dispatcher", daemon=True).start()


def _redirect(path: Path) -> None:
    """Output of this process, C libraries' too, goes to ``path`` from here on, in place of an earlier attempt's."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    faulthandler.enable()


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
