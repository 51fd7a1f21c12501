"""What runs in a worker process: one attempt at one trial after another. The record is written whole at the end."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import functools
import gc
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.campaign.executor import Job, OnEpoch, Trainer, TrialContext, init_file_of
from ablate.campaign.records import LOCK, OUTPUT, WEIGHTS
from ablate.design.own_training import OwnTraining
from ablate.design.plan import Trial
from ablate.design.record import Point, Record
from ablate.design.study import DataSpec
from ablate.files import locked
from ablate.paths import default_data_root

if TYPE_CHECKING:
    from ablate.training.data import Images

DONE = "done"  # what a worker says when its job has its record
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class TrainerError:
    """Why a trainer did not return, as its worker tells it."""

    reason: str
    disk_full: bool


def train_trial(trial: Trial, context: TrialContext) -> Record:
    """Trains one trial: on its prepared images, or by training of the user's own."""
    if isinstance(trial.spec, OwnTraining):
        from ablate.training.own import train_own

        return train_own(
            trial,
            context.folder,
            device=context.device,
            threads=context.threads,
            on_point=lambda point: context.on_epoch(point, 0.0),
        )
    from ablate.training.fit import fit, warm_up

    warm_up(context.device, context.threads)
    images = _images(trial.data, context.data_root or default_data_root(), context.cache, context.data_file)
    return fit(
        trial,
        images,
        device=context.device,
        threads=context.threads,
        folder=context.folder,
        init_file=init_file_of(trial, context.init_file, context.data_root),
        on_epoch=context.on_epoch,
    )


@functools.lru_cache(maxsize=1)
def _images(data: DataSpec, root: Path, cache: Path, file: Path | None) -> Images:
    """Kept for the worker's next trial, which usually has the same data."""
    from ablate.training.data import load_images

    return load_images(data, root, cache, download=False, file=file)


def run_job(job: Job, train: Trainer, on_epoch: OnEpoch) -> Record:
    """One attempt: trains, and leaves the record in the job's store.

    Two processes never work in one folder: a worker that outlives its dispatcher for a moment is waited for.
    """
    with locked(job.folder / LOCK):
        # the dispatcher removed what record there was, so this one is of the worker that was waited for
        earlier, _ = job.store.take(job.key)
        if earlier is not None and earlier.status != "failed":
            return earlier
        record = train(job.trial, _context(job, on_epoch))
        record = replace(record, measured=replace(record.measured, attempts=job.attempt))
        _keep_weights(job)
        job.store.put(record)
    return record


def _keep_weights(job: Job) -> None:
    """Moves the weights that the trainer left beside the record, before the record exists."""
    kept = job.folder / WEIGHTS
    if kept.is_file():
        target = job.store.weights(job.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        kept.replace(target)


def _context(job: Job, on_epoch: OnEpoch) -> TrialContext:
    return TrialContext(
        folder=job.folder,
        data_root=job.data_root,
        cache=job.cache,
        device=job.device,
        threads=job.threads,
        on_epoch=on_epoch,
        data_file=job.data_file,
        init_file=job.init_file,
    )


def serve(train: Trainer, pipe: Connection) -> None:
    """The whole life of a worker process of this machine.

    ``pipe`` brings jobs and carries their progress to the dispatcher, then ``DONE``. A trainer that fails ends the
    process, so that nothing it left behind reaches another trial. The process leads a group of its own, so that it is
    killed with whatever it has started.
    """
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the dispatcher's, which then ends its workers
    _end_with_dispatcher()

    def on_epoch(key: str, point: Point, images_per_s: float) -> None:
        try:
            pipe.send((key, point, images_per_s))
        except OSError:  # nobody listens any more
            _end()

    while (job := _next(pipe)) is not None:
        try:
            job.folder.mkdir(parents=True, exist_ok=True)
            _redirect(job.folder / OUTPUT)
            run_job(job, train, functools.partial(on_epoch, job.key))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is this trial's and becomes its record
            with contextlib.suppress(OSError):
                pipe.send(describe(error))
            with contextlib.suppress(Exception):  # the trainer may have closed or replaced its streams
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(1)
        _redirect(Path(os.devnull))  # the folder may go
        _free_gpu_memory()
        with contextlib.suppress(OSError):
            pipe.send(DONE)


def _free_gpu_memory() -> None:
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


def describe(error: BaseException) -> TrainerError:
    """``ValueError: ...``, in one line, and whether a full disk is behind it."""
    lines = str(error).strip().splitlines()
    full = False
    cause: BaseException | None = error
    while cause is not None:
        full = full or (isinstance(cause, OSError) and cause.errno in NO_SPACE)
        cause = cause.__cause__ or cause.__context__
    return TrainerError(": ".join([type(error).__name__, *lines[:1]]), full)


def _end_with_dispatcher() -> None:
    dispatcher = multiprocessing.parent_process()
    if dispatcher is None:
        return

    def watch() -> None:
        dispatcher.join()
        _end()

    threading.Thread(target=watch, name="end with the dispatcher", daemon=True).start()


def _end() -> None:
    """Ends this process and whatever it has started."""
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _redirect(path: Path) -> None:
    """Sends output of this process, C libraries' too, to ``path`` from here on."""
    sys.stdout.flush(), sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    faulthandler.enable()
