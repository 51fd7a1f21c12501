"""The tables and figures of docs/paper.md.

    python benchmarks/paper.py

runs `ablate.information` and `ablate.memory` as a user would, with their figures in docs/paper/, and writes the tables
between the markers of the page.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ablate import information, memory
from ablate.measure.information import DIMS, reconstruct
from ablate.model.layers import layers
from ablate.model.zoo import NETS
from ablate.reporting.frames_depth import printed_peaks, printed_splits, steps
from ablate.reporting.frames_information import printed_reconstruction, summarise
from ablate.reporting.markdown import table

PAGE = Path(__file__).parents[1] / "docs" / "paper.md"
FIGURES = PAGE.with_suffix("")
BITS = 16


def tables() -> dict[str, str]:
    """The page's tables as markdown, by the name of their marker."""
    nets = {name: layers(NETS[name](), 224, 224) for name in memory.NETS}
    frames: dict[str, pd.DataFrame] = {
        "reconstruction": printed_reconstruction(summarise(reconstruct(DIMS))),
        "peaks": printed_peaks(steps(nets, BITS), BITS),
        "splits": printed_splits({"mobilenet_v2": nets["mobilenet_v2"]}, (1, 2, 3, 6), BITS),
    }
    return {name: table(frame) for name, frame in frames.items()}


def filled(page: str, made: dict[str, str]) -> str:
    """The page with the tables between their markers."""
    for name, text in made.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        page, found = re.subn(f"{begin}.*?{end}", lambda _, t=f"{begin}\n{text}\n{end}": t, page, flags=re.DOTALL)
        if found != 1:
            raise ValueError(f"{PAGE} must hold {begin} ... {end} once, it does {found} times")
    return page


def main() -> int:
    """Draws the figures and fills the page."""
    for call, arguments in (
        (information.main, []),
        (information.main, ["linear_bottleneck"]),
        (memory.main, []),
    ):
        if call([*arguments, "--out", str(FIGURES)]):
            return 1
    for kept in FIGURES.iterdir():
        if kept.suffix != ".png":
            kept.unlink()
    PAGE.write_text(filled(PAGE.read_text(), tables()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
