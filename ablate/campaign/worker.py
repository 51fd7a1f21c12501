"""What runs in a worker: one attempt at one trial, its record written whole at the end."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import fcntl
import functools
import gc
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
from typing import TYPE_CHECKING

from ablate.campaign.executors import Job, OnEpoch, Trainer, TrialContext
from ablate.campaign.outbox import OUTPUT, Outbox
from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.design.study import DataSpec
from ablate.paths import default_data_root

if TYPE_CHECKING:
    from ablate.training.data import Images

LOCK = ".lock"
DONE = "done"  # what a worker says when the job that it was given has its record
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Fault:
    """Why a trainer did not return, as its worker tells it."""

    reason: str
    disk_full: bool


def train_trial(trial: Trial, context: TrialContext) -> Record:
    """Trains one trial on its prepared images."""
    from ablate.training.fit import fit, warm_up

    warm_up(context.device, context.threads)
    images = _images(trial.data, context.data_root or default_data_root(), context.cache, context.data_file)
    return fit(
        trial,
        images,
        device=context.device,
        threads=context.threads,
        folder=context.folder,
        on_epoch=context.on_epoch,
    )


@functools.lru_cache(maxsize=1)
def _images(data: DataSpec, root: Path, cache: Path, file: Path | None) -> Images:
    """Kept for the worker's next trial, which as a rule has the same."""
    from ablate.training.data import load_images

    return load_images(data, root, cache, download=False, file=file)


def run_job(job: Job, train: Trainer, on_epoch: OnEpoch) -> Record:
    """One attempt: trains, and leaves the record in the job's folder.

    Two processes never work in one folder: a worker that outlives its dispatcher for a moment is waited for.
    """
    outbox = Outbox(job.folder.parent)
    with _held(job.folder / LOCK):
        # the dispatcher removed what record there was, so this one is of the worker that was waited for
        found = outbox.get(job.key)
        if found is not None and found.status != "failed":
            return found
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


def serve(train: Trainer, pipe: Connection) -> None:
    """The whole life of a worker process of this machine.

    ``pipe`` brings jobs, and carries their progress to the dispatcher, then ``DONE``. A trainer that fails ends the
    process: what it left behind is in nobody's way.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the dispatcher's, which then ends its workers
    _end_with_dispatcher()

    def on_epoch(key: str, point: EpochPoint, images_per_s: float) -> None:
        try:
            pipe.send((key, point, images_per_s))
        except OSError:  # nobody listens any more
            os._exit(1)

    while (job := _next(pipe)) is not None:
        job.folder.mkdir(parents=True, exist_ok=True)
        _redirect(job.folder / OUTPUT)
        try:
            run_job(job, train, functools.partial(on_epoch, job.key))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this trial's and becomes its record
            traceback.print_exc()
            sys.stderr.flush()
            with contextlib.suppress(OSError):
                pipe.send(describe_fault(error))
            os._exit(1)
        _redirect(Path(os.devnull))  # the folder may go
        _give_back()
        with contextlib.suppress(OSError):
            pipe.send(DONE)


def _give_back() -> None:
    """Memory of a GPU that this process keeps for itself, which others may need while it waits."""
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _next(pipe: Connection) -> Job | None:
    """None: there will be no more."""
    try:
        job: Job = pipe.recv()
    except (EOFError, OSError):
        return None
    return job


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
    sys.stdout.flush(), sys.stderr.flush()
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
