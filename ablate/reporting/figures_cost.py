"""Finished frames to figures about cost: accuracy against cost, the roadmap, matched beside unmatched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ablate.design.plan import CONTROL
from ablate.reporting.canvas import ROW_INCHES, frame_of, lines_of, name_rows, page, right_column, right_title
from ablate.reporting.labels import column_labels, point_labels, short
from ablate.reporting.style import BAND_COLOUR, CONTROL_COLOUR, Unit, number
from ablate.verdicts.explored import pareto

FEW = 7  # arms that are named beside the panels
SAME_COST = 0.01  # costs that differ by less draw no panel
MOST_NAMED = 24  # arms that a key of one panel holds
# column of the frame -> (what it is on the axis, what it is divided by)
COST_AXES = {
    "macs": ("MACs (millions)", 1e6),
    "params": ("parameters (thousands)", 1e3),
    "inference_peak_bytes": ("inference memory (KB)", 1e3),
}


def trade_off(
    points: pd.DataFrame,
    unit: Unit,
    palette: Mapping[str, str],
    markers: Mapping[str, str] | None = None,
    shown: Sequence[str] = (),
    *,
    higher_is_better: bool = True,
) -> Figure:
    """The metric against MACs, parameters and memory, a panel each, cost on a log scale; left is cheaper.

    Few arms are named beside the last panel. Many are numbered, with the key in a panel of its own; beyond
    ``MOST_NAMED`` only those are that no other arm beats in both the metric and one of the costs.

    Args:
        points: arm, mean, low, high and the columns of ``COST_AXES``; a row an arm.
        unit: of the metric.
        palette: a colour an arm.
        markers: a marker an arm; None: dots.
        shown: which of ``COST_AXES`` have a panel; none: all.
        higher_is_better: the metric's direction.
    """
    panels = list(shown or COST_AXES)
    looks = _Looks(palette, markers or dict.fromkeys(palette, "o"), 1 if higher_is_better else -1)
    if len(points) <= FEW:
        return _named_trade_off(points, panels, unit, looks)
    return _numbered_trade_off(points, panels, unit, looks)


def telling_costs(points: pd.DataFrame) -> list[str]:
    """Those of ``COST_AXES`` in which the arms differ by more than ``SAME_COST``."""
    known = {name: points[name].dropna() for name in COST_AXES}
    return [name for name, cost in known.items() if len(cost) and cost.max() > (1 + SAME_COST) * cost.min()]


@dataclass(frozen=True)
class _Looks:
    """How each arm is drawn."""

    palette: Mapping[str, str]
    markers: Mapping[str, str]
    good: int  # 1: a higher mean is better; -1: a lower one


def _named_trade_off(points: pd.DataFrame, shown: list[str], unit: Unit, looks: _Looks) -> Figure:
    with page(2.9, 1, len(shown), shared="y") as (figure, panels):
        for axes, name in zip(panels, shown, strict=True):
            _cost_panel(axes, points, name, looks)
        _limit_height(panels[0], points)
        panels[0].set_ylabel(f"mean {unit.axis}")
        figure.draw_without_rendering()
        last = points.dropna(subset=shown[-1])
        x = list(last[shown[-1]] / COST_AXES[shown[-1]][1])
        names = [short(arm) for arm in last["arm"]]
        column_labels(panels[-1], x, list(last["mean"]), names, [looks.palette[arm] for arm in last["arm"]])
        return figure


def _numbered_trade_off(points: pd.DataFrame, shown: list[str], unit: Unit, looks: _Looks) -> Figure:
    named = points if len(points) <= MOST_NAMED else points[_unbeaten(points, shown, looks.good)]
    numbers = {arm: str(i + 1) for i, arm in enumerate(named["arm"])}
    with page(6.0, 2, 2, shared="y") as (figure, panels):
        for axes, name in zip(panels, shown, strict=False):
            _cost_panel(axes, points, name, looks)
        _limit_height(panels[0], points)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        key = [f"{number}  {short(arm, 50)}" for arm, number in numbers.items()]
        panels[-1].text(0, 1, "\n".join(key[:MOST_NAMED]), transform=panels[-1].transAxes, va="top", fontsize=7.5)
        figure.supylabel(f"mean {unit.axis}", fontsize=9)
        figure.draw_without_rendering()
        for axes, name in zip(panels, shown, strict=False):
            drawn = named.dropna(subset=name)
            x = list(drawn[name] / COST_AXES[name][1])
            point_labels(axes, x, list(drawn["mean"]), [numbers[arm] for arm in drawn["arm"]])
        return figure


def _limit_height(axes: Axes, points: pd.DataFrame) -> None:
    limits = frame_of(points["mean"], points)
    if limits is not None:
        axes.set_ylim(*limits)


def _unbeaten(points: pd.DataFrame, shown: list[str], good: int) -> pd.Series:
    """Which arms are the control, or reach the best mean among those that cost as little, by any of the costs."""
    kept = points["arm"] == CONTROL
    for name in shown:
        ordered = (good * points.sort_values([name, "mean"], ascending=[True, good < 0])["mean"]).cummax()
        kept |= ordered.eq(good * points["mean"])
    return kept


def _cost_panel(axes: Axes, points: pd.DataFrame, name: str, looks: _Looks) -> None:
    words, divisor = COST_AXES[name]
    drawn = points.dropna(subset=name).assign(cost=lambda frame: frame[name] / divisor)
    for line in lines_of(drawn):
        colour = looks.palette[str(line.arm)]
        axes.plot([line.cost, line.cost], [line.low, line.high], color=colour, linewidth=1.2, alpha=0.6)
    sns.scatterplot(
        data=drawn,
        x="cost",
        y="mean",
        hue="arm",
        style="arm",
        palette=dict(looks.palette),
        markers=dict(looks.markers),
        legend=False,
        s=40,
        edgecolor="white",
        zorder=3,
        ax=axes,
    )
    axes.set_xscale("log")
    low, high = (float(drawn["cost"].min()), float(drawn["cost"].max())) if len(drawn) else (1.0, 10.0)
    axes.set_xlim(low / 1.3, high * 1.3 * (high / low) ** 0.08)
    front = drawn.iloc[pareto(list(zip(looks.good * drawn["mean"], drawn["cost"], strict=True)))[::-1]]
    front = pd.concat([front, front.tail(1).assign(cost=axes.get_xlim()[1])])  # on to the edge
    axes.step(front["cost"], front["mean"], where="post", color=CONTROL_COLOUR, linewidth=0.9, linestyle=(0, (3, 2)))
    axes.xaxis.set_major_locator(FixedLocator(log_ticks(*axes.get_xlim())))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=words, ylabel="")


def log_ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers within the limits, as many as possible but not more than ``most``."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    best: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        best = ticks if len(best) < len(ticks) <= most else best
    if len(best) > 1 or not math.isfinite(low * high):
        return best
    decades_apart = max(1, -(-len(decades) // most))
    return best or [10.0**decade for decade in decades[::decades_apart]]


def roadmap(steps: pd.DataFrame, unit: Unit, palette: Mapping[str, str]) -> Figure:
    """Step by step from one net to another: accuracy as a bar a step, MACs as a bar beside it (after ConvNeXt, fig. 2).

    Args:
        steps: arm, mean, low, high, macs, params, step (what changed, in words); in the order of the steps.
        unit: of the metric.
        palette: a colour an arm.
    """
    with page(1.0 + 0.42 * len(steps), 1, 2, shared="y") as (figure, (left, right)):
        rows = list(range(len(steps)))
        floor = _bar_floor(steps)
        colours = [palette[arm] for arm in steps["arm"]]
        left.barh(rows, steps["mean"] - floor, left=floor, color=colours, height=0.62, alpha=0.85)
        right.barh(rows, steps["macs"] / 1e6, color=BAND_COLOUR, height=0.62)
        for row, line in enumerate(lines_of(steps)):
            left.plot([line.low, line.high], [row, row], color="#222222", linewidth=1.4)
            end = line.mean if math.isnan(line.high) else line.high
            _behind(left, end, row, number(line.mean, unit.digits), weight="bold", fontsize=8.5)
            macs = f"{number(line.macs, 1, 1e-6)} M, {number(line.params, 0, 1e-3)} K params"
            _behind(right, 0, row, macs, fontsize=8)
        name_rows(left, ["\n".join(short(line, 40) for line in step.split("; ")) for step in steps["step"]])
        highest = float(steps[["mean", "high"]].max().max())
        left.set_xlim(floor, highest + 0.2 * (highest - floor))  # room for the number behind the longest bar
        left.set_xlabel(f"{unit.axis}\n(axis starts at {floor:g})")
        right.set_xlabel("MACs (millions)")
        right.margins(x=0.12)
        right.grid(visible=False, axis="y")
        return figure


def _behind(axes: Axes, end: float, row: float, text: str, **letters: Any) -> None:
    """Text a little to the right of a bar's end; not by spaces, which SVG leaves out."""
    axes.annotate(text, (end, row), xytext=(5, 0), textcoords="offset points", va="center", **letters)


def _bar_floor(steps: pd.DataFrame) -> float:
    """A round number a little below the lowest bar, so that steps of a point can be seen."""
    lowest = float(steps[["mean", "low"]].min().min())
    width = float(steps[["mean", "high"]].max().max()) - lowest
    grain = 10.0 ** math.floor(math.log10(width)) if width > 0 else 1.0
    return max(0.0, (lowest - max(0.6 * width, 0.5 * grain)) // grain * grain)


def matched_pairs(table: pd.DataFrame, unit: Unit, palette: Mapping[str, str]) -> Figure:
    """The same change at its own cost (hollow) and at the control's cost (filled), as differences to the control.

    Args:
        table: change, matched (True, False), arm, mean, low, high (difference to the control, points), ratio (cost of
            the arm over the control's).
        unit: of the metric.
        palette: a colour an arm.
    """
    changes = list(dict.fromkeys(table["change"]))
    with page(0.9 + 1.6 * ROW_INCHES * len(changes)) as (figure, (axes,)):
        axes.axvline(0, color=CONTROL_COLOUR, linewidth=1)
        for line in lines_of(table):
            alone = (table["change"] == line.change).sum() == 1
            row = changes.index(line.change) + (0 if alone else 0.17 if line.matched else -0.17)
            colour = palette[line.arm]
            axes.plot([line.low, line.high], [row, row], color=colour, linewidth=2)
            face = colour if line.matched else "white"
            axes.plot([line.mean], [row], "o", markersize=7, color=colour, markerfacecolor=face, zorder=5)
            cost = "matched" if line.matched else "as it is"
            right_column(axes, row, f"{cost}: {number(line.mean, 2, signed=True)} at {number(line.ratio, 2)}×")
        right_title(axes, "difference at cost ratio")
        name_rows(axes, [short(change, 48) for change in changes])
        axes.set_xlabel(f"{unit.difference}, arm minus control")
        return figure
