"""What the figures share: a page-wide canvas, rows named by arm, dots thinned to a stated number."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ablate.reporting.style import PAGE_WIDTH, PHONE_WIDTH, RC

MAX_DOTS = 200  # an arm; beyond it dots hide each other and pages grow
MAX_LINES = 60  # an arm
MAX_PANELS = 32  # of learning curves: each takes half a second to draw, and nobody looks at more
ROW_INCHES = 0.34
LINE_INCHES = 0.15
PHONE_LETTERS = 36  # of a label in a line
PHONE_ROOM = 0.3  # the least part of a phone's width that is left for the drawing itself
WIDEST = 1.0  # an interval may reach beyond the values by so many times their range; further, it leaves the frame
Shared = Literal["", "y", "xy"]


@contextmanager
def page(height: float, rows: int = 1, columns: int = 1, *, shared: Shared = "") -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure as wide as the page and its axes row by row, drawn under the report's settings.

    Args:
        height: inches.
        rows: of panels.
        columns: of panels.
        shared: which axes the panels have in common: "", "y" or "xy".
    """
    with matplotlib.rc_context(RC):  # type: ignore[arg-type]
        figure = Figure(figsize=(PAGE_WIDTH, height))
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False, sharex="x" in shared, sharey="y" in shared)
        yield figure, list(grid.flat)


def lines_of(frame: pd.DataFrame) -> Iterator[Any]:
    """The frame's rows, each with its columns as attributes."""
    return iter(frame.itertuples(index=False))


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """One row a name, the first on top, and lines along the values only."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    axes.set_ylabel("")


def right_column(axes: Axes, row: float, text: str, *, colour: str = "#333333", weight: str = "normal") -> None:
    """Text to the right of a row, outside the frame of the axes."""
    axes.text(
        1.015, row, text, transform=axes.get_yaxis_transform(), va="center", color=colour, weight=weight, fontsize=8.5
    )


def right_title(axes: Axes, text: str) -> None:
    """The heading above what ``right_column`` writes."""
    axes.text(1.015, 1.0, text, transform=axes.transAxes, va="bottom", color="#777777", fontsize=8)


def thin(frame: pd.DataFrame, most: int, by: str = "arm") -> tuple[pd.DataFrame, str]:
    """At most ``most`` seeds an arm, evenly spaced in the order of the seeds, and a note that says so, or nothing."""
    seeds = frame.groupby(by, sort=False)["seed"].nunique()
    largest = int(seeds.max()) if len(seeds) else 0
    if largest <= most:
        return frame, ""
    ranks = frame.groupby(by, sort=False)["seed"].rank(method="dense").sub(1).astype(int)
    totals = frame[by].map(seeds).astype(int)
    chosen = (ranks * most // totals) != ((ranks - 1) * most // totals)
    note = f"drawn: {most} of {largest:,} seeds an arm; means and intervals are of all"
    return frame[chosen | (totals <= most)], note


def frame_of(values: pd.Series, summary: pd.DataFrame) -> tuple[float, float] | None:
    """Limits around the values alone where intervals (low, high) of few seeds reach ``WIDEST`` beyond; else None."""
    low, high = float(values.min()), float(values.max())
    width = high - low
    beyond = max(summary["high"].max() - high, low - summary["low"].min())
    if not (width > 0 and beyond > WIDEST * width):  # beyond is nan where no interval is drawn
        return None
    return low - 0.75 * width, high + 0.75 * width


def note_below(figure: Figure, text: str) -> None:
    """A small grey line under a figure; nothing where there is no text."""
    if text:
        figure.supxlabel(text, fontsize=7.5, color="#777777", x=0.01, ha="left")


def draw(figure: Figure, kind: Literal["svg", "png"]) -> bytes:
    """The figure as the content of a file.

    The same figure gives the same bytes: no date is written and ids are salted with a constant. The layout is worked
    out once.
    """
    content = io.BytesIO()
    settings: dict[str, object] = {**RC, "figure.constrained_layout.use": False}
    with matplotlib.rc_context(settings):  # type: ignore[arg-type]
        if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
            engine.execute(figure)
            figure.set_layout_engine(None)  # "none" would leave one that draws everything once more at each save
        options = {"metadata": {"Date": None, "Creator": None}, "transparent": True} if kind == "svg" else {"dpi": 160}
        figure.savefig(content, format=kind, **options)
    return content.getvalue()


def draw_for_phone(figure: Figure) -> bytes | None:
    """The figure as SVG for a phone: laid out narrow, its labels wrapped, its letters as large as on the wide page.

    None where there is no room for it: several panels, or names so long that little is left to draw in. The figure
    stays as it was. To be called before ``draw``, which does away with what lays it out.
    """
    engine, size = figure.get_layout_engine(), figure.get_size_inches().copy()
    if len(figure.axes) > 1 or not isinstance(engine, ConstrainedLayoutEngine):
        return None
    labels = [figure.axes[0].xaxis.label, *([figure._supxlabel] if figure._supxlabel else [])]  # type: ignore[attr-defined]  # noqa: SLF001
    texts = [label.get_text() for label in labels]
    for label, text in zip(labels, texts, strict=True):
        label.set_text("\n".join(textwrap.fill(line, PHONE_LETTERS) for line in text.splitlines()))
    lines = sum(label.get_text().count("\n") - text.count("\n") for label, text in zip(labels, texts, strict=True))
    figure.set_size_inches(PHONE_WIDTH, size[1] + LINE_INCHES * lines)
    fits = _fits(figure, engine)
    figure.set_layout_engine(None)
    drawn = draw(figure, "svg") if fits else None
    for label, text in zip(labels, texts, strict=True):
        label.set_text(text)
    figure.set_size_inches(*size)
    figure.set_layout_engine(engine)
    return drawn


def _fits(figure: Figure, engine: ConstrainedLayoutEngine) -> bool:
    """Lays the figure out; whether its names leave room for the drawing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied")
        try:
            engine.execute(figure)
        except UserWarning:
            return False
    return figure.axes[0].get_position().width > PHONE_ROOM
