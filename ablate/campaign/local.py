"""Processes of this machine, each of which takes one trial after another.

They are forked from a server that has torch loaded and has done nothing with it, so that a start takes milliseconds. A
worker that dies takes only the trial along that it was at; another one is forked in its place.
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
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from ablate.campaign.executors import Event, Finished, Job, Lost, Progress, Trainer
from ablate.campaign.outbox import Outbox
from ablate.campaign.worker import DONE, Fault, serve, train_trial

TRAINING = ("ablate.training.preload",)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SERVER_LOST = 255  # multiprocessing's exit code of a child whose fork server is gone


@dataclass(eq=False)
class _Worker:
    process: ForkServerProcess
    pipe: Connection
    job: Job | None = None  # what it is at; None while it waits for more
    deadline: float | None = None
    fault: Fault | None = None
    open: bool = True

    def take(self, job: Job) -> None:
        """Sends it to work; OSError if it is not there any more."""
        limit = job.time_limit_s
        self.pipe.send(job)
        self.job, self.fault = job, None
        self.deadline = None if limit is None else time.monotonic() + limit


class LocalExecutor:
    """Runs ``jobs`` processes at a time, each at one trial.

    Args:
        jobs: how many processes.
        threads: of each.
        train: what trains a trial.
        preload: modules that the fork server loads once for all workers.
    """

    def __init__(
        self,
        jobs: int,
        *,
        threads: int = 1,
        train: Trainer = train_trial,
        preload: Sequence[str] = TRAINING,
    ) -> None:
        self.capacity = jobs
        self._train = train
        self._threads = threads
        self._waiting: list[Job] = []
        self._workers: list[_Worker] = []
        self._early: list[Event] = []
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["ablate.campaign.worker", *preload])

    def submit(self, job: Job) -> None:
        """Starts the job, or has it wait until a process is free.

        Raises:
            pickle.PicklingError: the trainer cannot be named from another process.
        """
        self._waiting.append(job)
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running()) < self.capacity:
            self._start(self._waiting.pop(0))

    def _running(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.job]

    def _start(self, job: Job) -> None:
        for worker in [worker for worker in self._workers if not worker.job]:
            try:
                if worker.process.exitcode is None:
                    return worker.take(job)
            except OSError:
                pass
            self._stop(worker)  # it died while it waited, or its fork server did
        try:
            self._forked().take(job)
        except (OSError, EOFError) as error:
            self._early.append(Lost(job.key, f"no process could be started: {error}"))

    def _forked(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(self._train, theirs), daemon=True)
        try:
            with quiet_server(self._threads), without_main(self._train):
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def events(self, timeout_s: float) -> list[Event]:
        """See ``Executor.events``; time limits are kept in here too."""
        self._start_waiting()
        found, self._early = self._early, []
        sources: dict[Connection | int, _Worker] = {}
        for running in self._running():
            sources[running.process.sentinel] = running
            if running.open:
                sources[running.pipe] = running
        if sources:
            ready = wait(list(sources), self._patience(found, timeout_s))
            for running in {sources[source] for source in sources if source in ready}:
                found += self._hear(running)
        elif not found:
            time.sleep(timeout_s)
        for running in self._running():
            if running.deadline is not None and time.monotonic() > running.deadline:
                self._stop(running)
                limit = running.job.time_limit_s if running.job else 0
                found += self._outcome(running, f"time limit of {limit:g} s")
        return found

    def cancel(self, key: str) -> None:
        """Kills the job's process; nothing is lost that its last checkpoint holds."""
        self._waiting = [job for job in self._waiting if job.key != key]
        for running in [running for running in self._running() if running.job and running.job.key == key]:
            self._stop(running)

    def close(self) -> None:
        """Kills every process, whether it is at work or waits for more."""
        self._waiting.clear()
        for worker in self._workers:
            worker.process.kill()
        for worker in list(self._workers):
            self._stop(worker)

    def _patience(self, found: list[Event], timeout_s: float) -> float:
        deadlines = [running.deadline for running in self._running() if running.deadline is not None]
        until = min(deadlines, default=float("inf")) - time.monotonic()
        return 0.0 if found else max(0.0, min(timeout_s, until))

    def _hear(self, running: _Worker) -> list[Event]:
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
            elif message == DONE:
                found += self._outcome(running, "ended without a record")
                running.job = None
                return found
            else:
                found.append(Progress(*message))
        if ended:
            code = running.process.exitcode
            self._stop(running)
            found += self._outcome(running, _ending(code))
        return found

    def _stop(self, worker: _Worker) -> None:
        worker.process.kill()  # where it only seems to have ended, because its fork server has, it ends now
        worker.process.join()
        worker.pipe.close()
        worker.process.close()
        self._workers.remove(worker)

    def _outcome(self, running: _Worker, ending: str) -> list[Event]:
        if (job := running.job) is None:
            return []
        outbox = Outbox(job.folder.parent)
        output = outbox.tail(job.key)
        if (record := outbox.get(job.key)) is not None:
            return [Finished(job.key, record)]
        if running.fault is not None:
            return [Lost(job.key, running.fault.reason, output, running.fault.disk_full)]
        return [Lost(job.key, ending, output)]


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
