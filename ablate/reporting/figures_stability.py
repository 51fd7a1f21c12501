"""The figure of stability: each contrast's difference against the level of a field."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ablate.reporting.canvas import lines_of, page
from ablate.reporting.figures_levels import WIDE_RANGE
from ablate.reporting.labels import folded
from ablate.reporting.style import BAND_COLOUR, COLOURS, CONTROL_COLOUR, Unit

COLUMNS = 4
FILLED = ("better", "worse", "equivalent", "no worse")


def stability(table: pd.DataFrame, field: str, margin: float, unit: Unit) -> Figure:
    """A panel a contrast: its difference at every level with the interval, the margin as a band.

    A filled dot: something was shown at that level. The study's own level has a ring.

    Args:
        table: term, level, own, value, low, high, outcome.
        field: whose levels they are.
        margin: half the band's width, in the unit of the differences.
        unit: of the metric.
    """
    terms, levels = list(dict.fromkeys(table["term"])), list(dict.fromkeys(table["level"]))
    columns = min(COLUMNS, len(terms))
    rows = math.ceil(len(terms) / columns)
    with page(0.9 + 2.0 * rows, rows, columns, shared="xy") as (figure, panels):
        places = _places(panels[0], levels)
        for term, axes in zip(terms, panels, strict=False):
            _panel(axes, table[table["term"] == term], places, margin)
            axes.set_title(folded(str(term), 26), fontsize=8.5)
        for axes in panels[len(terms) :]:
            axes.set_visible(False)
        for axes in panels[max(0, len(terms) - columns) : len(terms)]:
            axes.tick_params(labelbottom=True)
        figure.supylabel(unit.difference, fontsize=9)
        figure.supxlabel(f"{field}\ngrey: within the margin of {margin:g} {unit.short}", fontsize=9)
        return figure


def _places(axes: Axes, levels: list[object]) -> dict[object, float]:
    """Where each level is on the x axis: numbers at their value, others one beside another."""
    if not all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels):
        axes.set_xticks(range(len(levels)), [folded(str(level), 14) for level in levels])
        axes.set_xlim(-0.5, len(levels) - 0.5)
        return {level: float(place) for place, level in enumerate(levels)}
    places = {level: float(level) for level in levels}  # type: ignore[arg-type]
    low, high = min(places.values()), max(places.values())
    if low > 0 and high / low >= WIDE_RANGE / 2:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(places.values())))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    return places


def _panel(axes: Axes, own: pd.DataFrame, places: dict[object, float], margin: float) -> None:
    axes.axhspan(-margin, margin, color=BAND_COLOUR, alpha=0.6, linewidth=0)
    axes.axhline(0, color=CONTROL_COLOUR, linewidth=1)
    if pd.api.types.is_numeric_dtype(own["level"].infer_objects()):  # nothing lies between two words
        axes.plot([places[level] for level in own["level"]], own["value"], color=COLOURS[0], linewidth=1.0, alpha=0.5)
    for line in lines_of(own):
        x = places[line.level]
        if not (pd.isna(line.low) or pd.isna(line.high)):
            axes.plot([x, x], [line.low, line.high], color=COLOURS[0], linewidth=1.9)
        filled = COLOURS[0] if line.outcome in FILLED else "white"
        axes.plot(x, line.value, marker="o", markersize=5.5, color=COLOURS[0], markerfacecolor=filled)
        if line.own:
            axes.plot(x, line.value, marker="o", markersize=11, color=CONTROL_COLOUR, markerfacecolor="none")
