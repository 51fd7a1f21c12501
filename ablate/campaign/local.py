"""Processes of this machine: a fresh one for every trial.

They are forked from a server that has torch loaded and has done nothing with it, so that a start takes milliseconds,
memory is measured from a clean state, and a worker that dies takes only its own trial along.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from ablate.campaign.executors import Event, Finished, Job, Lost, Progress, Trainer
from ablate.campaign.outbox import Outbox
from ablate.campaign.worker import Fault, run_in_process, train_trial

TRAINING = ("ablate.training.preload",)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SERVER_LOST = 255  # multiprocessing's exit code of a child whose fork server is gone


@dataclass(eq=False)
class _Running:
    job: Job
    process: ForkServerProcess
    pipe: Connection
    deadline: float | None
    fault: Fault | None = None
    open: bool = True
    messages: list[Event] = field(default_factory=list)


class LocalExecutor:
    """Runs ``jobs`` trials at a time, each in a process of its own.

    Args:
        jobs: how many at a time.
        threads: of each worker.
        train: what trains a trial.
        preload: modules that the fork server loads once for all workers.
    """

    def __init__(
        self, jobs: int, *, threads: int = 1, train: Trainer = train_trial, preload: Sequence[str] = TRAINING
    ) -> None:
        self.capacity = jobs
        self._train = train
        self._threads = threads
        self._running: dict[str, _Running] = {}
        self._early: list[Event] = []
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["ablate.campaign.worker", *preload])

    def submit(self, job: Job) -> None:
        """Starts the job's process.

        Raises:
            pickle.PicklingError: the trainer cannot be named from another process.
        """
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=run_in_process, args=(job, self._train, theirs), daemon=True)
        try:
            with quiet_server(self._threads), without_main(self._train):
                process.start()
        except (OSError, EOFError) as error:
            ours.close()
            self._early.append(Lost(job.key, f"no process could be started: {error}"))
            return
        finally:
            theirs.close()
        deadline = None if job.time_limit_s is None else time.monotonic() + job.time_limit_s
        self._running[job.key] = _Running(job, process, ours, deadline)

    def events(self, timeout_s: float) -> list[Event]:
        """See ``Executor.events``; time limits are kept in here too."""
        found, self._early = self._early, []
        sources: dict[Connection | int, _Running] = {}
        for running in self._running.values():
            sources[running.process.sentinel] = running
            if running.open:
                sources[running.pipe] = running
        if sources:
            ready = wait(list(sources), self._patience(found, timeout_s))
            for running in {sources[source] for source in sources if source in ready}:
                found += self._hear(running)
        elif not found:
            time.sleep(timeout_s)
        for running in list(self._running.values()):
            if running.deadline is not None and time.monotonic() > running.deadline:
                self._stop(running)
                found.append(self._outcome(running, f"time limit of {running.job.time_limit_s:g} s"))
        return found

    def cancel(self, key: str) -> None:
        """Kills the job's process; nothing is lost that its last checkpoint holds."""
        if key in self._running:
            self._stop(self._running[key])

    def close(self) -> None:
        """Kills every process that runs."""
        for running in self._running.values():
            running.process.kill()
        for key in list(self._running):
            self.cancel(key)

    def _patience(self, found: list[Event], timeout_s: float) -> float:
        deadlines = [running.deadline for running in self._running.values() if running.deadline is not None]
        until = min(deadlines, default=float("inf")) - time.monotonic()
        return 0.0 if found else max(0.0, min(timeout_s, until))

    def _hear(self, running: _Running) -> list[Event]:
        ended = running.process.exitcode is not None  # asked first: what was sent before the end is all in the pipe
        found: list[Event] = []
        while running.open:
            try:
                if not running.pipe.poll():
                    break
                message = running.pipe.recv()
            except (EOFError, OSError, pickle.UnpicklingError):  # closed, or cut off in the middle of a message
                running.open = False
                break
            if isinstance(message, Fault):
                running.fault = message
            else:
                found.append(Progress(running.job.key, *message))
        if ended:
            code = running.process.exitcode
            self._stop(running)
            found.append(self._outcome(running, _ending(code)))
        return found

    def _stop(self, running: _Running) -> None:
        running.process.kill()  # where it only seems to have ended, because its fork server has, it ends now
        running.process.join()
        running.pipe.close()
        running.process.close()
        del self._running[running.job.key]

    def _outcome(self, running: _Running, ending: str) -> Event:
        key, outbox = running.job.key, Outbox(running.job.folder.parent)
        record = outbox.get(key)
        if record is not None:
            return Finished(key, record)
        if running.fault is not None:
            return Lost(key, running.fault.reason, outbox.tail(key), running.fault.disk_full)
        return Lost(key, ending, outbox.tail(key))


def _ending(code: int | None) -> str:
    if code is None or code == 0:
        return "ended without a record"
    if code == SERVER_LOST:
        return "killed together with its fork server"
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (memory may have run out)" if name == "SIGKILL" else "")
    return f"ended with exit code {code}"


@contextlib.contextmanager
def quiet_server(threads: int) -> Iterator[None]:
    """What the fork server, if it is started in here, and so every worker inherits: threads, and no SIGINT.

    Without the mask, Ctrl-C would print a traceback for each worker that has not yet got round to ignoring it.
    """
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        forkserver.ensure_running()
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def without_main(function: Callable[..., object]) -> Iterator[None]:
    """Hides ``__main__``: a worker would run the command's module, or a user's script, again to no purpose."""
    if getattr(function, "__module__", "") == "__main__":
        yield
        return
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
