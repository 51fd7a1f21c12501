"""Processes of this machine, each of which takes one trial, or seeds of an arm that train together, after another.

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
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from ablate.campaign.executors import Event, Finished, Job, Lost, Progress, SeedsTrainer, Trainer
from ablate.campaign.outbox import Outbox
from ablate.campaign.worker import DONE, Fault, serve, train_seeds, train_trial

TRAINING = ("ablate.training.preload",)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SERVER_LOST = 255  # multiprocessing's exit code of a child whose fork server is gone


@dataclass(eq=False)
class _Worker:
    process: ForkServerProcess
    pipe: Connection
    jobs: list[Job] = field(default_factory=list)  # what it is at; none while it waits for more
    deadline: float | None = None
    fault: Fault | None = None
    open: bool = True

    def take(self, jobs: list[Job]) -> None:
        """Sends it to work; OSError if it is not there any more."""
        limit = jobs[0].time_limit_s
        self.pipe.send(jobs)
        self.jobs, self.fault = jobs, None
        self.deadline = None if limit is None else time.monotonic() + limit * len(jobs)


class LocalExecutor:
    """Runs ``jobs`` processes at a time, each at one trial or at several seeds of an arm as one net.

    Args:
        jobs: how many processes.
        threads: of each.
        together: at most so many trials in one process; those that fit together wait for one another until ``events``
            is called. A trial that was lost before is tried again by itself.
        train: what trains a trial.
        train_seeds: what trains several.
        preload: modules that the fork server loads once for all workers.
    """

    def __init__(
        self,
        jobs: int,
        *,
        threads: int = 1,
        together: int = 1,
        train: Trainer = train_trial,
        train_seeds: SeedsTrainer = train_seeds,
        preload: Sequence[str] = TRAINING,
    ) -> None:
        self.capacity = jobs * together
        self._processes = jobs
        self._together = together
        self._train = train
        self._train_seeds = train_seeds
        self._threads = threads
        self._waiting: dict[str, list[Job]] = {}  # by what they have in common
        self._workers: list[_Worker] = []
        self._early: list[Event] = []
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["ablate.campaign.worker", *preload])

    def submit(self, job: Job) -> None:
        """Starts the job's process, or has it wait for others of its kind.

        Raises:
            pickle.PicklingError: the trainer cannot be named from another process.
        """
        kind = job.key if job.attempt > 1 else job.trial.kind
        self._waiting.setdefault(kind, []).append(job)
        if len(self._waiting[kind]) >= self._together or job.attempt > 1:
            self._start_waiting(kind)

    def _start_waiting(self, *kinds: str) -> None:
        """Starts what there is room for, of these kinds or of all that wait."""
        for kind in kinds or list(self._waiting):
            while kind in self._waiting and len(self._running()) < self._processes:
                jobs = self._waiting.pop(kind)
                if later := jobs[self._together :]:
                    self._waiting[kind] = later
                self._start(jobs[: self._together])

    def _running(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.jobs]

    def _start(self, jobs: list[Job]) -> None:
        for worker in [worker for worker in self._workers if not worker.jobs]:
            try:
                if worker.process.exitcode is None:
                    return worker.take(jobs)
            except OSError:
                pass
            self._stop(worker)  # it died while it waited, or its fork server did
        try:
            self._forked().take(jobs)
        except (OSError, EOFError) as error:
            self._early += [Lost(job.key, f"no process could be started: {error}") for job in jobs]

    def _forked(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(self._train, self._train_seeds, theirs), daemon=True)
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
                found += self._outcomes(running, f"time limit of {running.jobs[0].time_limit_s:g} s")
        return found

    def cancel(self, key: str) -> None:
        """Kills the job's process; nothing is lost that its last checkpoint holds. Those with it wait for another."""
        for kind, jobs in list(self._waiting.items()):
            self._waiting[kind] = [job for job in jobs if job.key != key]
        self._waiting = {kind: jobs for kind, jobs in self._waiting.items() if jobs}
        for running in [running for running in self._running() if key in [job.key for job in running.jobs]]:
            self._stop(running)
            if others := [job for job in running.jobs if job.key != key]:
                self._waiting[others[0].key] = others

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
                found += self._outcomes(running, "ended without a record")
                running.jobs = []
                return found
            else:
                found.append(Progress(*message))
        if ended:
            code = running.process.exitcode
            self._stop(running)
            found += self._outcomes(running, _ending(code))
        return found

    def _stop(self, worker: _Worker) -> None:
        worker.process.kill()  # where it only seems to have ended, because its fork server has, it ends now
        worker.process.join()
        worker.pipe.close()
        worker.process.close()
        self._workers.remove(worker)

    def _outcomes(self, running: _Worker, ending: str) -> list[Event]:
        outbox = Outbox(running.jobs[0].folder.parent)
        output = outbox.tail(running.jobs[0].key)
        found: list[Event] = []
        for job in running.jobs:
            if (record := outbox.get(job.key)) is not None:
                found.append(Finished(job.key, record))
            elif running.fault is not None:
                found.append(Lost(job.key, running.fault.reason, output, running.fault.disk_full))
            else:
                found.append(Lost(job.key, ending, output))
        return found


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
