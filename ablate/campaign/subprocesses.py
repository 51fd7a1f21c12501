"""Functions called in processes of their own, so that what they load does not stay in the dispatcher."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any, TypeVar

from ablate.campaign.local import TRAINING, quiet_server, without_main
from ablate.errors import AblateError

T = TypeVar("T")
Say = Callable[[str], None]


def run_in_subprocess(function: Callable[..., T], *arguments: Any, say: Say, threads: int = 1) -> T:
    """``function(*arguments, say)`` in a fresh process; its messages are passed on.

    Raises:
        AblateError: what the function raised, or that its process ended without a result.
    """
    return run_in_subprocesses([function], *arguments, say=say, threads=threads)[0]


def run_in_subprocesses(functions: Sequence[Callable[..., T]], *arguments: Any, say: Say, threads: int = 1) -> list[T]:
    """The same with several functions at a time, each in a process of its own; the results in their order.

    Raises:
        AblateError: what the first function to fail raised, or that its process ended without a result; the others'
            processes are ended.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["ablate.campaign.worker", *TRAINING])
    running: dict[Connection, tuple[int, ForkServerProcess]] = {}
    results: dict[int, T] = {}
    try:
        for number, function in enumerate(functions):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_serve, args=(function, arguments, theirs), daemon=True)
            try:
                with quiet_server(threads), without_main(function):
                    process.start()
            except (OSError, EOFError) as error:  # its fork server was killed, or there is no room for a process
                ours.close()
                raise AblateError(f"no process could be started: {error}") from error
            finally:
                theirs.close()
            running[ours] = number, process
        while len(results) < len(functions):
            for pipe in wait([pipe for pipe, (number, _) in running.items() if number not in results]):
                assert isinstance(pipe, Connection)
                number, process = running[pipe]
                kind, value = _hear(pipe, process, functions[number])
                if kind == "said":
                    say(value)
                else:
                    results[number] = value
        return [results[number] for number in range(len(functions))]
    finally:
        for pipe, (_, process) in running.items():
            process.kill()
            process.join()
            pipe.close()


def _hear(pipe: Connection, process: ForkServerProcess, function: Callable[..., Any]) -> tuple[str, Any]:
    try:
        kind, value = pipe.recv()
    except EOFError:
        process.join()
        name = getattr(function, "__name__", type(function).__name__)
        raise AblateError(f"{name} ended without a result (exit code {process.exitcode})") from None
    if kind == "raised":
        raise value
    return kind, value


def _serve(function: Callable[..., Any], arguments: tuple[Any, ...], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result = function(*arguments, lambda message: pipe.send(("said", message)))
        pipe.send(("returned", result))
    except AblateError as error:
        pipe.send(("raised", AblateError(str(error))))
    except OSError as error:
        pipe.send(("raised", error))
    except Exception as error:  # noqa: BLE001 - it is raised again on the other side
        pipe.send(("raised", RuntimeError(f"{type(error).__name__}: {error}")))
    os._exit(0)
