"""A figure and the numbers behind it as files: SVG, PNG and CSV."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ablate.errors import AblateError
from ablate.files import write_whole
from ablate.reporting.canvas import draw


def write_figure(folder: Path, name: str, figure: Figure, frame: pd.DataFrame) -> Path:
    """Writes ``folder/NAME.svg``, ``NAME.png`` and ``NAME.csv`` and returns the path of the PNG.

    Raises:
        AblateError: the folder cannot be written.
    """
    try:
        write_whole(folder / f"{name}.svg", draw(figure, "svg"))
        write_whole(folder / f"{name}.png", draw(figure, "png"))
        write_whole(folder / f"{name}.csv", frame.to_csv(index=False).encode())
    except OSError as error:
        raise AblateError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return folder / f"{name}.png"
