"""Processes of this machine: workers that train one trial after another, and functions called in a subprocess.

All are forked from a server that has torch loaded and has done nothing with it, so that a start takes milliseconds. A
worker that dies takes only its trial along; another one is forked in its place.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, TypeVar

from ablate.campaign.executor import Event, Finished, Job, Lost, Progress, Trainer
from ablate.campaign.worker import DONE, TrainerError, serve, train_trial
from ablate.design.own_training import OwnTraining
from ablate.design.source import look_in, places
from ablate.errors import AblateError

TRAINING = ("ablate.training.preload",)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
ADDRESS_GB = 6  # torch with torchvision takes 3.6 of them on Linux as soon as they are loaded
_NAMED_SIGNALS = frozenset(signal.Signals)
SERVER_LOST = 255  # multiprocessing's exit code of a child whose fork server is gone

T = TypeVar("T")
Say = Callable[[str], None]


@dataclass(eq=False)
class _Worker:
    process: ForkServerProcess
    pipe: Connection
    job: Job | None = None  # None while it waits for more
    deadline: float | None = None
    fault: TrainerError | None = None
    open: bool = True

    def take(self, job: Job) -> None:
        """Sends it to work; OSError if it is not there any more."""
        self.pipe.send(job)
        self.job, self.fault = job, None
        self.deadline = None if job.time_limit_s is None else time.monotonic() + job.time_limit_s


class LocalExecutor:
    """Runs ``jobs`` processes at a time, each at one trial.

    Args:
        jobs: how many processes.
        threads: threads of each.
        train: what trains a trial.
        preload: modules that the fork server loads once for all workers.
    """

    def __init__(
        self, jobs: int, *, threads: int = 1, train: Trainer = train_trial, preload: Sequence[str] = TRAINING
    ) -> None:
        self.capacity = jobs
        self._train = train
        self._threads = threads
        self._preload = preload
        self._workers: list[_Worker] = []
        self._early: list[Event] = []

    def submit(self, job: Job) -> None:
        """Gives the job to a worker that waits, or to a new one.

        Raises:
            pickle.PicklingError: the trainer cannot be named from another process.
        """
        for worker in [worker for worker in self._workers if worker.job is None]:
            try:
                if worker.process.exitcode is None:
                    return worker.take(job)
            except OSError:
                pass
            self._stop(worker)  # it died while it waited, or its fork server did
        try:
            process, pipe = start(serve, self._train, threads=self._threads, preload=self._preload)
            self._workers.append(_Worker(process, pipe))
            self._workers[-1].take(job)
        except (OSError, EOFError) as error:
            self._early.append(Lost(job.key, _not_started(error)))
        return None

    def events(self, timeout_s: float) -> list[Event]:
        """See ``Executor.events``; time limits are kept in here too."""
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
                assert running.job is not None
                self._stop(running)
                found.append(_outcome(running, f"time limit of {running.job.time_limit_s:g} s"))
        return found

    def cancel(self, key: str) -> None:
        """Kills the job's process. The trial's last checkpoint stays."""
        for running in self._running():
            if running.job is not None and running.job.key == key:
                self._stop(running)

    def close(self) -> None:
        """Kills every process, whether it is at work or waits for more."""
        for worker in self._workers:
            _kill(worker.process)
        for worker in list(self._workers):
            self._stop(worker)

    def _running(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.job is not None]

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
            if isinstance(message, TrainerError):
                running.fault = message
            elif message == DONE:
                found.append(_outcome(running, "ended without a record"))
                if running.job is not None and isinstance(running.job.trial.spec, OwnTraining):
                    self._stop(running)  # nothing that the user's code left behind reaches another trial
                running.job = None
                return found
            else:
                found.append(Progress(*message))
        if ended:
            code = running.process.exitcode
            self._stop(running)
            found.append(_outcome(running, _ending(code)))
        return found

    def _stop(self, worker: _Worker) -> None:
        _kill(worker.process)  # where it only seems to have ended, because its fork server has, it ends now
        worker.process.join()
        worker.pipe.close()
        worker.process.close()
        self._workers.remove(worker)


def _kill(process: ForkServerProcess) -> None:
    """Kills a worker and whatever it has started, which is in its process group."""
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _outcome(running: _Worker, ending: str) -> Finished | Lost:
    job = running.job
    assert job is not None
    record, damage = job.store.take(job.key)
    if record is not None:
        return Finished(job.key, record)
    output = job.store.output(job.key)
    if running.fault is not None:
        return Lost(job.key, running.fault.reason, output, running.fault.disk_full)
    return Lost(job.key, damage or ending, output)


def _ending(code: int | None) -> str:
    if code is None or code == 0:
        return "ended without a record"
    if code == SERVER_LOST:
        return "killed together with its fork server"
    if code < 0:
        name = signal.Signals(-code).name if -code in _NAMED_SIGNALS else f"signal {-code}"  # a real-time one
        return f"killed by {name}" + (" (memory may have run out)" if name == "SIGKILL" else "")
    return f"ended with exit code {code}"


def start(
    target: Callable[..., object], *arguments: Any, threads: int, preload: Sequence[str] = TRAINING
) -> tuple[ForkServerProcess, Connection]:
    """Forks a process that calls ``target(*arguments, pipe)``; returns it with this end of the pipe.

    Raises:
        OSError, EOFError: no process could be started.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ablate.campaign.worker", *preload])
    ours, theirs = context.Pipe()
    process = context.Process(target=_with_places, args=(places(), target, *arguments, theirs), daemon=True)
    try:
        with _quiet_server(threads), _without_main(arguments[0] if arguments else target):
            process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def _with_places(folders: Sequence[Path], target: Callable[..., object], *arguments: Any) -> None:
    """Calls the target where code of the user's own is looked for in the same folders as in the dispatcher."""
    for folder in folders:
        look_in(folder)
    target(*arguments)


def run_in_subprocess(function: Callable[..., T], *arguments: Any, say: Say, threads: int = 1) -> T:
    """``function(*arguments, say)`` in a fresh process, so that what it loads does not stay in this one.

    Raises:
        AblateError: what the function raised, or that its process ended without a result.
    """
    try:
        process, pipe = start(_call, function, arguments, threads=threads)
    except (OSError, EOFError) as error:  # its fork server was killed, or there is no room for a process
        raise AblateError(_not_started(error)) from error
    try:
        while True:
            kind, value = pipe.recv()
            if kind == "said":
                say(value)
            elif kind == "raised":
                raise value
            else:
                result: T = value
                return result
    except EOFError:
        process.join()
        name = getattr(function, "__name__", type(function).__name__)
        raise AblateError(f"{name} ended without a result ({_ending(process.exitcode)})") from None
    finally:
        process.kill()
        process.join()
        pipe.close()


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):  # the dispatcher was killed, so nobody waits for the answer
        pipe.send(_answer(function, arguments, pipe))
    os._exit(0)


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...], pipe: Connection) -> tuple[str, Any]:
    """What the function returned, or the error to raise on the other side."""
    try:
        return "returned", function(*arguments, lambda message: pipe.send(("said", message)))
    except AblateError as error:
        return "raised", AblateError(str(error))
    except (ImportError, MemoryError) as error:
        return "raised", AblateError(cannot_load(error))
    except OSError as error:
        error.add_note(traceback.format_exc())  # the place in this process, for whoever looks for a bug
        return "raised", error
    except Exception as error:  # noqa: BLE001 - it is raised again on the other side
        return "raised", RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")


def _not_started(error: Exception) -> str:
    """A sentence for a fork server that does not answer: it died while it loaded torch, or there is no room for it."""
    if isinstance(error, EOFError):
        return (
            "no process could be started: the server that forks them ended as it loaded torch; a process that trains "
            f"needs {ADDRESS_GB} GB of address space (`ulimit -v`)"
        )
    return f"no process could be started: {error}"


def cannot_load(error: BaseException) -> str:
    """A sentence for libraries that do not load, which is mostly for want of memory."""
    return (
        f"torch and what it needs cannot be loaded here ({type(error).__name__}: {error}); a process that trains needs "
        f"{ADDRESS_GB} GB of address space (`ulimit -v`) and a complete installation"
    )


@contextlib.contextmanager
def _quiet_server(threads: int) -> Iterator[None]:
    """What the fork server, if it is started in here, and so every worker inherits: threads, and no SIGINT.

    Without the mask, Ctrl-C would print a traceback for each worker that does not ignore it yet.
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
def _without_main(function: object) -> Iterator[None]:
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
