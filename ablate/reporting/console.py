"""A frame of printed text as a table in the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 120
_NUMERIC = "0123456789−+–[<"


def print_frame(frame: pd.DataFrame) -> None:
    """Prints the frame; columns in which every cell starts like a number are aligned to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for name in frame.columns:
        numeric = all(str(cell).startswith(tuple(_NUMERIC)) for cell in frame[name])
        table.add_column(str(name), justify="right" if numeric else "left", overflow="fold")
    for line in frame.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in line))
    screen = Console(highlight=False)
    (screen if screen.is_terminal else Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)).print(table)
