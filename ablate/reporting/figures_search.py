"""Figures of a search: score against cost with the front, parallel coordinates, and the search's lead as confirmed."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ablate.reporting.canvas import ROW_INCHES, lines_of, name_rows, page, right_column, right_title
from ablate.reporting.figures_cost import log_ticks
from ablate.reporting.labels import column_labels, short
from ablate.reporting.style import CONTROL_COLOUR, CONTROL_MARKER, number

COLOUR_MAP = "viridis"
MOST_TICKS = 7  # levels that an axis of the parallel coordinates names
TRIED_COLOUR = "#9A9A9A"


def front(table: pd.DataFrame, best: pd.DataFrame, cost: str, label: str, palette: Mapping[str, str]) -> Figure:
    """Score against cost: a grey dot a candidate, the confirmed ones named, the Pareto front as a dashed line.

    Args:
        table: value, cost, status, arm.
        best: of these, the front's members, the cheapest first.
        cost: what the cost is.
        label: what the value is.
        palette: a colour an arm.
    """
    with page(3.3) as (figure, (axes,)):
        tried = table[table["arm"] == ""]
        control = tried["status"] == "control"
        axes.scatter(tried["cost"][~control], tried["value"][~control], s=18, color=TRIED_COLOUR, alpha=0.7)
        axes.scatter(
            tried["cost"][control], tried["value"][control], s=40, color=CONTROL_COLOUR, marker=CONTROL_MARKER, zorder=4
        )
        named = table[table["arm"] != ""]
        colours = [palette[arm] for arm in named["arm"]]
        axes.scatter(named["cost"], named["value"], s=46, color=colours, edgecolor="white", zorder=5)
        axes.set_xscale("log")
        axes.set_xlim(table["cost"].min() / 1.2, table["cost"].max() * 1.2)
        way = [*best["cost"], axes.get_xlim()[1]], [*best["value"], best["value"].iloc[-1]]
        axes.step(*way, where="post", color=CONTROL_COLOUR, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.xaxis.set_major_locator(FixedLocator(log_ticks(*axes.get_xlim())))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel=cost, ylabel=label)
        figure.draw_without_rendering()
        shown = pd.concat([tried[control].assign(arm="control"), named])
        tints = [CONTROL_COLOUR] * int(control.sum()) + colours
        column_labels(axes, list(shown["cost"]), list(shown["value"]), [short(arm) for arm in shown["arm"]], tints)
        return figure


def parallel(table: pd.DataFrame, names: list[str], label: str) -> Figure:
    """Parallel coordinates: a line a candidate through its value on every axis, coloured by its score.

    Args:
        table: candidate, axis, place (0 to 1), text, value, arm.
        names: the axes from left to right.
        label: what the value is.
    """
    with page(3.6) as (figure, (axes,)):
        scores = table.groupby("candidate", sort=False)["value"].first()
        scale = Normalize(float(scores.min()), float(scores.max()) + 1e-12)
        colours = matplotlib.colormaps[COLOUR_MAP]
        for candidate in scores.sort_values().index:  # the best on top
            own = table[table["candidate"] == candidate].set_index("axis").reindex(names)
            confirmed = bool((own["arm"].fillna("") != "").any())
            axes.plot(
                range(len(names)), own["place"], color=colours(scale(scores[candidate])),
                linewidth=2.2 if confirmed else 1.0, alpha=1.0 if confirmed else 0.6, marker="o", markersize=3,
            )  # fmt: skip
        for place, name in enumerate(names):
            _name_axis(axes, place, table[table["axis"] == name])
        axes.set_xticks(range(len(names)), [short(name.split(".")[-1], 18) for name in names])
        axes.set_yticks([])
        axes.set(ylim=(-0.08, 1.08), xlim=(-0.15, len(names) - 0.6))
        axes.spines["left"].set_visible(False)
        figure.colorbar(ScalarMappable(norm=scale, cmap=colours), ax=axes, label=label, shrink=0.9)
        return figure


def _name_axis(axes: Axes, place: int, own: pd.DataFrame) -> None:
    """The values that were tried on an axis: each of a few, else the lowest and the highest."""
    axes.axvline(place, color="#888888", linewidth=0.8, zorder=0)
    ends = own.drop_duplicates("text").sort_values("place")
    if len(ends) > MOST_TICKS:
        ends = ends.iloc[[0, -1]]
    for line in lines_of(ends):
        text = axes.text(place + 0.04, float(line.place), str(line.text), fontsize=7.5, va="center", color="#333333")
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def lead(table: pd.DataFrame, unit: str, digits: int, palette: Mapping[str, str]) -> Figure:
    """The lead over the control in the search (hollow) and with fresh seeds (filled), a row an arm.

    Args:
        table: arm, search_lead, confirmed_lead, luck.
        unit: of the leads.
        digits: of the printed luck.
        palette: a colour an arm.
    """
    with page(1.0 + 1.2 * ROW_INCHES * len(table)) as (figure, (axes,)):
        axes.axvline(0, color=CONTROL_COLOUR, linewidth=1)
        for row, line in enumerate(lines_of(table)):
            colour = palette[line.arm]
            axes.plot([line.search_lead, line.confirmed_lead], [row, row], color=colour, linewidth=1.6, alpha=0.6)
            axes.plot([line.search_lead], [row], "o", markersize=7, color=colour, markerfacecolor="white", zorder=5)
            axes.plot([line.confirmed_lead], [row], "o", markersize=7, color=colour, zorder=6)
            right_column(axes, row, number(line.luck, digits, signed=True))
        right_title(axes, "luck")
        name_rows(axes, [short(arm) for arm in table["arm"]])
        ends = np.r_[0.0, table["search_lead"], table["confirmed_lead"]]
        room = 0.06 * (float(np.ptp(ends)) or 1.0)
        axes.set_xlim(float(ends.min()) - room, float(ends.max()) + room)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
        axes.set_xlabel(f"lead over the control ({unit}): in the search (hollow), confirmed (filled)")
        return figure
