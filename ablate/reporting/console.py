"""The terminal that everything is printed on: its width, its encoding, and texts that cannot command it."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.reporting.words import plain

if TYPE_CHECKING:
    import pandas as pd

WIDTH_WITHOUT_TERMINAL = 120
_NUMERIC = "0123456789−+–[<"


def screen(width: int = WIDTH_WITHOUT_TERMINAL, file: TextIO | None = None) -> Console:
    """A console on ``file`` (default: standard output).

    A character that the output's encoding lacks is written as its escape instead of ending the command.

    Args:
        width: columns, where the output is no terminal.
        file: where to print.
    """
    out = file or sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.errors == "strict":
        out.reconfigure(errors="backslashreplace")
    console = Console(file=out, highlight=False)
    return console if console.is_terminal else Console(file=out, highlight=False, width=width)


def text(content: object, style: str = "") -> Text:
    """Text for a console: no markup is read, no control character obeyed."""
    return Text(plain(str(content)), style)


def print_frame(frame: pd.DataFrame) -> None:
    """Prints the frame; columns in which every cell starts like a number are aligned to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for name in frame.columns:
        numeric = all(str(cell).startswith(tuple(_NUMERIC)) for cell in frame[name])
        table.add_column(text(name), justify="right" if numeric else "left", overflow="fold")
    for line in frame.itertuples(index=False):
        table.add_row(*map(text, line))
    screen().print(table)
