"""What several commands share: options of the command line, what they set, output, and the exit status."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import io
import os
import signal
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from ablate.errors import AblateError, Problem, StudyError
from ablate.paths import default_data_root, default_runs, redact

EXIT_WRONG_INPUT = 2
EXIT_INTERRUPTED = 130
STANDARD_ERROR = 2


def add_fields(group: argparse._ActionsContainer) -> None:
    """What is studied: ``--budget``, and the fields that are changed last."""
    group.add_argument(
        "--budget", default="quick", metavar="NAME", help="quick (default) or a [budget.NAME] of the file"
    )
    group.add_argument("--seeds", type=int, metavar="N", help="plan.seeds: paired seeds for each arm")
    group.add_argument("--epochs", type=int, metavar="N", help="recipe.epochs")
    group.add_argument("--data", metavar="NAME", help="data.name: a data set, or the path of an .npz file")
    group.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other field: recipe.lr=0.01"
    )


def add_folders(parser: argparse.ArgumentParser) -> None:
    """``--runs`` and ``--data-root``."""
    parser.add_argument(
        "--runs", type=Path, default=default_runs(), metavar="DIR", help="the runs folder (%(default)s)"
    )
    parser.add_argument(
        "--data-root", type=Path, default=default_data_root(), metavar="DIR", help="folder of data sets (%(default)s)"
    )


def overrides(options: argparse.Namespace) -> dict[str, object]:
    """The fields that the command line sets, by dotted key.

    Raises:
        StudyError: a --set that is not KEY=VALUE.
    """
    named = {"plan.seeds": options.seeds, "recipe.epochs": options.epochs, "data.name": options.data}
    found: dict[str, object] = {key: value for key, value in named.items() if value is not None}
    for text in options.set:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise StudyError([Problem("--set", "", f"takes KEY=VALUE, such as recipe.lr=0.01; got {text!r}")])
        found[key.strip()] = _value(value.strip())
    return found


def _value(text: str) -> object:
    """A value as a study file would write it; text may go without its quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return text


def exit_status(
    command: str, action: Callable[[], int | None], *, interrupted: str = "interrupted", resume: str = ""
) -> int:
    """The status that the action returned, or a sentence for what stopped it and 2; after Ctrl-C 130.

    Args:
        command: its name, for the sentence.
        action: what it does; returns its exit status, or None for 0.
        interrupted: what is said after Ctrl-C.
        resume: the command that resumes; said where the action was stopped and can be resumed.
    """
    ours = signal.getsignal(signal.SIGINT) is signal.SIG_DFL  # of a command, since its imports (ablate/__init__.py)
    try:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status = _status(command, action)
    except KeyboardInterrupt:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends it at once
        _say(command, interrupted)
        status = EXIT_INTERRUPTED
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    if resume and status == EXIT_INTERRUPTED:
        with contextlib.suppress(OSError):
            print(f"To resume: {resume}", file=sys.stderr)  # noqa: T201
    return status


def _status(command: str, action: Callable[[], int | None]) -> int:
    try:
        _open_streams()
        status = action()
        sys.stdout.flush()
        return status or 0
    except AblateError as error:
        _say(command, str(error))
        return EXIT_INTERRUPTED if error.resumable else EXIT_WRONG_INPUT
    except OSError as error:
        _say(command, f"{redact(error.filename or 'files')}: cannot be read or written ({error.strerror or error})")
        return EXIT_WRONG_INPUT
    except MemoryError:
        _say(command, "memory ran out")
        return EXIT_WRONG_INPUT


def _say(command: str, message: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody listens there any more
        if sys.flags.dev_mode:  # PYTHONDEVMODE=1: a sentence may hide a bug
            import traceback

            traceback.print_exc()
        print(f"ablate {command}: {message}", file=sys.stderr)  # noqa: T201
        sys.stderr.flush()


def _open_streams() -> None:
    """Gives the command streams that cannot stop it: closed ones, a reader that has left, another encoding."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        pass  # else the next file that is opened would be taken for standard output
    os.close(handle)
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _stream(1, sys.stdout)
    if sys.stderr is None:
        sys.stderr = _stream(STANDARD_ERROR, None)
    atexit.unregister(_leave_streams)
    atexit.register(_leave_streams)


def _leave_streams() -> None:
    """Python aborts if it meets, at its very end, a stream that a thread of a view is still writing to."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None  # type: ignore[misc]


def _stream(handle: int, before: TextIO | None) -> TextIO:
    buffered = before is not None and not before.line_buffering
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(handle, "w", closefd=False)),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",  # a character that the encoding lacks is written as its escape
        line_buffering=not buffered,
    )


class _Lasting(io.FileIO):
    """A stream whose reader may leave, as ``head`` does: what is written after that is dropped."""

    def write(self, content: Any, /) -> int:
        """Writes, until nobody reads or nothing more can be written; of the latter the caller is told once."""
        try:
            return super().write(content)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError):
                raise
            return len(content)
