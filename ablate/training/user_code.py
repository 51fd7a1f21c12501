"""Imports a user's function: in worker processes only, since planning and reporting need only its name."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablate.design.imported import Imported
from ablate.design.source import SourceError, digest_of, find, in_library, own_places
from ablate.errors import AblateError, nearest


class UserCodeError(AblateError):
    """A function of the user's own that cannot be imported or called, or that returns something else than asked for."""


def load_function(imported: Imported) -> Callable[..., Any]:
    """The function at an import path, its module imported into this process.

    Args:
        imported: as planned; the folder that it was found in becomes a place to import from.

    Raises:
        UserCodeError: the import fails, there is no such function, or its source has changed since it was planned.
    """
    for place in (imported.place, *own_places()):
        if place and place not in sys.path:
            sys.path.append(place)
    _check_source(imported)
    try:
        module = importlib.import_module(imported.module)
    except (Exception, SystemExit) as error:  # a script that parses its command line as it is imported exits
        raise UserCodeError(f"{imported.path}: the import of {imported.module} failed: {told(error)}") from error
    function = getattr(module, imported.function, None)
    if function is None:
        raise UserCodeError(f"{imported.path}: {_where(module)} has no {imported.function!r}" + _near(module, imported))
    if not callable(function):
        raise UserCodeError(f"{imported.path}: must be a function, but is {type(function).__name__} {function!r:.80}")
    called: Callable[..., Any] = function
    return called


def _check_source(imported: Imported) -> None:
    if not imported.digest:
        return
    try:
        found = digest_of(find(imported.module))
    except SourceError as error:
        raise UserCodeError(f"{imported.path}: {error}") from error
    if found != imported.digest:
        raise UserCodeError(
            f"{imported.path}: its source was changed after the plan was made (digest {found}, planned "
            f"{imported.digest}); rerun the command: trials of changed code are new trials"
        )


def _where(module: Any) -> str:
    return str(getattr(module, "__file__", None) or module.__name__)


def _near(module: Any, imported: Imported) -> str:
    return nearest(imported.function, [name for name in vars(module) if not name.startswith("_")])


def told(error: BaseException) -> str:
    """``TypeError: message (file.py, line 12)``: in one line, with the last place in the user's own code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _foreign(frame.filename)]
    message = str(error).strip().splitlines()[:1]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError):
        place = f" ({error.filename}, line {error.lineno})"
    return ": ".join([type(error).__name__, *message]) + place


def _foreign(file: str) -> bool:
    """Whether a file is of ablate, of an installed package or of Python."""
    return file.startswith((str(Path(__file__).parents[1]), "<frozen")) or in_library(Path(file))
