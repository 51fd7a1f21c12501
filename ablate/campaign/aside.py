"""A function called in a process of its own, so that what it loads does not stay in the dispatcher."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from ablate.campaign.local import TRAINING, quiet_server, without_main
from ablate.errors import AblateError

T = TypeVar("T")
Say = Callable[[str], None]


def call_aside(function: Callable[..., T], *arguments: Any, say: Say, threads: int = 1) -> T:
    """``function(*arguments, say)`` in a fresh process; its messages are passed on.

    Raises:
        AblateError: what the function raised, or that its process ended without a result.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["ablate.campaign.worker", *TRAINING])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(function, arguments, theirs), daemon=True)
    with quiet_server(threads), without_main(function):
        process.start()
    theirs.close()
    try:
        while True:
            kind, value = ours.recv()
            if kind == "said":
                say(value)
            elif kind == "returned":
                return value  # type: ignore[no-any-return]
            else:
                raise value
    except EOFError:
        process.join()
        raise AblateError(f"{function.__name__} ended without a result (exit code {process.exitcode})") from None
    finally:
        process.kill()
        process.join()
        ours.close()


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
