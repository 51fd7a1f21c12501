"""What several commands share: options of the command line, output, and the exit status."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from ablate.errors import AblateError
from ablate.paths import default_data_root, default_runs, redact

EXIT_WRONG_INPUT = 2
EXIT_INTERRUPTED = 130
STANDARD_ERROR = 2


def add_budget(parser: argparse.ArgumentParser) -> None:
    """``--budget``."""
    parser.add_argument(
        "--budget", default="quick", metavar="NAME", help="quick (default) or a [budget.NAME] of the file"
    )


def add_folders(parser: argparse.ArgumentParser) -> None:
    """``--runs`` and ``--data-root``."""
    parser.add_argument(
        "--runs", type=Path, default=default_runs(), metavar="DIR", help="the runs folder (%(default)s)"
    )
    parser.add_argument(
        "--data-root", type=Path, default=default_data_root(), metavar="DIR", help="folder of data sets (%(default)s)"
    )


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
    _open_streams()
    try:
        status = action()
        sys.stdout.flush()
        return status or 0
    except AblateError as error:
        _say(command, str(error))
        if not error.resumable:
            return EXIT_WRONG_INPUT
    except OSError as error:
        _say(command, f"{redact(error.filename or 'files')}: cannot be read or written ({error.strerror or error})")
        return EXIT_WRONG_INPUT
    except MemoryError:
        _say(command, "memory ran out")
        return EXIT_WRONG_INPUT
    except KeyboardInterrupt:
        _say(command, interrupted)
    if resume:
        with contextlib.suppress(OSError):
            print(f"To resume: {resume}", file=sys.stderr)  # noqa: T201
    return EXIT_INTERRUPTED


def _say(command: str, message: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody listens there any more
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


def _stream(handle: int, before: TextIO | None) -> TextIO:
    buffered = before is not None and not before.line_buffering
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(handle, "w", closefd=False)),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",  # a character that the encoding lacks is written as its escape
        line_buffering=not buffered,
    )


class _Lasting(io.FileIO):
    """A stream whose reader may leave, as ``head`` does: what is written after that is dropped, and work goes on."""

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
