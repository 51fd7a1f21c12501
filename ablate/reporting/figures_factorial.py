"""Finished frames to figures of a factorial study: main effects, and how two factors act together."""

from __future__ import annotations

import itertools

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.reporting.canvas import ROW_INCHES, lines_of, name_rows, page, right_column, right_title
from ablate.reporting.figures import seed_interval
from ablate.reporting.style import BAND_COLOUR, COLOURS, CONTROL_COLOUR, Unit, number, p_text


def effects(table: pd.DataFrame, margin: float, unit: Unit) -> Figure:
    """A row an effect, main effects above interactions: estimate, 95 % interval, the margin as a band, the adjusted p.

    Args:
        table: label, contrast, order (1 or 2), mean, low, high, adjusted_p, in the order to draw.
        margin: half the band's width, in the unit of the effects.
        unit: of the metric.
    """
    rows = table.sort_values("order", kind="stable")
    with page(0.95 + ROW_INCHES * len(rows)) as (figure, (axes,)):
        axes.axvspan(-margin, margin, color=BAND_COLOUR, alpha=0.6, linewidth=0)
        axes.axvline(0, color=CONTROL_COLOUR, linewidth=1)
        for row, line in enumerate(lines_of(rows)):
            colour = COLOURS[0] if line.order == 1 else COLOURS[1]
            if not pd.isna(line.low):
                axes.plot([line.low, line.high], [row, row], color=colour, linewidth=2.2)
            axes.plot([line.mean], [row], "o" if line.order == 1 else "D", color=colour, markersize=6.5, zorder=5)
            text = f"{number(line.mean, unit.digits, signed=True)}  (p {p_text(line.adjusted_p)})"
            right_column(axes, row, text)
        right_title(axes, "effect (adjusted p)")
        several = rows["label"].duplicated(keep=False)  # of a factor with more than two levels
        told = rows["label"].where((rows["order"] > 1) & ~several, rows["label"] + ": " + rows["contrast"])
        name_rows(axes, list(told.str.replace(r": (?=\()", "\n", regex=True)))
        words = unit.axis.split(" (")[0]
        axes.set_xlabel(f"effect on {words}{unit.behind}\ngrey: within the margin of {unit.told(format(margin, 'g'))}")
        return figure


def interactions(cells: pd.DataFrame, factors: list[str], unit: Unit) -> Figure:
    """A panel for each two factors: mean at each level of the one, a line for each level of the other.

    Parallel lines: the two do not interact.

    Args:
        cells: seed, value and a column for each factor; a row a finished trial.
        factors: their names.
        unit: of the metric.
    """
    couples = list(itertools.combinations(factors, 2))
    columns = min(3, len(couples))
    rows = -(-len(couples) // columns)
    with page(0.5 + 2.35 * rows, rows, columns, shared="y") as (figure, panels):
        for (first, second), axes in zip(couples, panels, strict=False):
            _couple(axes, cells, first, second)
        for axes in panels[len(couples) :]:
            axes.set_visible(False)
        figure.supylabel(f"mean {unit.axis}", fontsize=9)
        return figure


def _couple(axes: Axes, cells: pd.DataFrame, first: str, second: str) -> None:
    levels = list(dict.fromkeys(cells[second]))
    means = cells.groupby([first, second, "seed"], sort=False)["value"].mean().reset_index()
    sns.pointplot(
        data=means, x=first, y="value", hue=second, hue_order=levels, palette=list(COLOURS[: len(levels)]),
        markers=["o", "s", "^", "D", "v", "P", "X"][: len(levels)], errorbar=seed_interval, dodge=0.12, linewidth=1.8,
        err_kws={"linewidth": 1.2}, markersize=5, ax=axes,
    )  # fmt: skip
    axes.set(xlabel=first, ylabel="")
    axes.margins(y=0.15)
    axes.legend(
        title=second, loc="lower left", bbox_to_anchor=(0, 1), ncols=min(3, len(levels)), fontsize=7,
        title_fontsize=7.5, alignment="left", frameon=False, borderpad=0,
    )  # fmt: skip
