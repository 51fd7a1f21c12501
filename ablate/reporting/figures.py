"""Finished frames to figures: accuracy by arm, paired differences, learning curves.

Every function takes frames of `frames.py`, already in printed units (percent, points), and returns a matplotlib
Figure without showing or saving it. Every seed is a dot or a line of its own, up to a stated number an arm.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ablate.reporting.canvas import (
    MAX_DOTS,
    MAX_LINES,
    MAX_PANELS,
    ROW_INCHES,
    frame_of,
    lines_of,
    name_rows,
    note_below,
    page,
    right_column,
    right_title,
    thin,
)
from ablate.reporting.labels import folded
from ablate.reporting.style import BAND_COLOUR, COLOURS, CONTROL_COLOUR, FEWEST_SEEDS, Unit, number

SPREAD = 0.3  # rows over which an arm's dots lie, above its interval so that none is hidden
MOST_JOINED = 8  # arms; beyond them the lines between the pairs hide what they join
LINE = 0.14  # rows that the interval lies below the middle


def seed_interval(values: pd.Series) -> tuple[float, float]:
    """Student's 95 % interval of a mean over seeds; of fewer than ``FEWEST_SEEDS`` the mean itself, without length."""
    from scipy import stats

    mean, n = float(values.mean()), len(values)
    if n < FEWEST_SEEDS:
        return mean, mean
    half = float(stats.t.ppf(0.975, n - 1) * values.std() / n**0.5)
    return mean - half, mean + half


def accuracy_by_arm(
    scores: pd.DataFrame,
    summary: pd.DataFrame,
    unit: Unit,
    palette: Mapping[str, str],
    confidence: str = "95 %",
    chance: float | None = None,
) -> Figure:
    """A row an arm: every seed a dot, its pairs joined, the mean with its interval, and the mean in figures.

    Args:
        scores: arm, seed, value.
        summary: arm, n, mean, low, high; a row an arm in the order to draw.
        unit: of the metric.
        palette: a colour an arm.
        confidence: of the intervals, in words.
        chance: what guessing reaches, drawn where it lies among the values.
    """
    arms = list(summary["arm"])
    with page(0.9 + ROW_INCHES * len(arms)) as (figure, (axes,)):
        note = _dots(axes, scores, arms, palette, joined=len(arms) <= MOST_JOINED)
        _intervals(axes, summary, palette)
        note_below(figure, "; ".join(filter(None, [note, _frame(axes, scores["value"], summary)])))
        if unit.symbol == "%":  # no accuracy lies beyond, though the interval of two seeds may
            low, high = axes.get_xlim()
            axes.set_xlim(max(low, -1), min(high, 101))
        if chance is not None and axes.get_xlim()[0] <= chance <= axes.get_xlim()[1]:
            axes.axvline(chance, color=CONTROL_COLOUR, linewidth=1, linestyle=(0, (1, 2)))
        for row, line in enumerate(lines_of(summary)):
            right_column(axes, row, f"{number(line.mean, unit.digits)} ({line.n})" if line.n else "no result")
        right_title(axes, "mean (seeds)")
        name_rows(axes, arms)
        axes.set_xlabel(f"{unit.axis}: every seed, mean and {confidence} interval")
        return figure


def differences(
    pairs: pd.DataFrame, contrasts: pd.DataFrame, margin: float, unit: Unit, palette: Mapping[str, str]
) -> Figure:
    """A row a contrast: each seed's difference to the control a dot, the mean, its interval, and the margin as a band.

    Args:
        pairs: arm, seed, value (arm minus control, same seed).
        contrasts: arm, mean, low, high, joint_low, joint_high, outcome; a row a contrast in the order to draw.
        margin: half the band's width, in the unit of the differences.
        unit: of the metric.
        palette: a colour an arm.
    """
    arms = list(contrasts["arm"])
    with page(0.95 + ROW_INCHES * len(arms)) as (figure, (axes,)):
        axes.axvspan(-margin, margin, color=BAND_COLOUR, alpha=0.6, linewidth=0)
        axes.axvline(0, color=CONTROL_COLOUR, linewidth=1)
        note = _dots(axes, pairs, arms, palette)
        _joint_intervals(axes, contrasts, palette)
        _intervals(axes, contrasts, palette)
        edges = pd.concat([pairs["value"], pd.Series([-margin, margin])])
        note_below(figure, "; ".join(filter(None, [note, _frame(axes, edges, contrasts)])))
        for row, line in enumerate(lines_of(contrasts)):
            right_column(axes, row, str(line.outcome), weight="bold")
        right_title(axes, "verdict")
        name_rows(axes, arms)
        axes.set_xlabel(
            f"{unit.difference}, arm minus control\ngrey: within the margin of {unit.told(format(margin, 'g'))}"
        )
        return figure


def _dots(
    axes: Axes, values: pd.DataFrame, arms: list[str], palette: Mapping[str, str], *, joined: bool = False
) -> str:
    """Draws the dots, spread over the row in the order of the seeds, and returns the note about those left out."""
    dots, note = thin(values[values["arm"].isin(arms)].dropna(subset="value"), MAX_DOTS)
    rows = dots["arm"].map({arm: row for row, arm in enumerate(arms)}).astype(float)
    seeds = dots.groupby("arm", sort=False)["seed"]
    place = (seeds.rank() - 0.5) / seeds.transform("size")
    dots = dots.assign(row=rows - 0.04 - SPREAD * place)
    sns.scatterplot(
        data=dots,
        x="value", y="row", hue="arm", palette=dict(palette), legend=False,
        s=16, alpha=0.55, linewidth=0, ax=axes,
    )  # fmt: skip
    if joined and dots["seed"].nunique() <= MAX_LINES:
        pairs = [group.sort_values("row")[["value", "row"]].to_numpy() for _, group in dots.groupby("seed")]
        lines = [line for line in pairs if len(line) > 1]
        axes.add_collection(LineCollection(lines, colors="#BBBBBB", linewidths=0.6, zorder=1))
    return note


def _intervals(axes: Axes, summary: pd.DataFrame, palette: Mapping[str, str]) -> None:
    for row, line in enumerate(lines_of(summary)):
        if pd.isna(line.mean):
            continue
        colour = palette[str(line.arm)]
        if not pd.isna(line.low):
            axes.plot(
                [line.low, line.high], [row + LINE] * 2, color=colour, linewidth=2.2, solid_capstyle="butt", zorder=4
            )
        axes.plot([line.mean], [row + LINE], "o", markersize=7, color=colour, markeredgecolor="white", zorder=5)


def _joint_intervals(axes: Axes, contrasts: pd.DataFrame, palette: Mapping[str, str]) -> None:
    """The intervals that hold together, thin, with ends that show where they are no wider than the others."""
    for row, line in enumerate(lines_of(contrasts)):
        if not (pd.isna(line.joint_low) or pd.isna(line.joint_high)):
            ends, places = [line.joint_low, line.joint_high], [row + LINE] * 2
            axes.plot(ends, places, "|-", color=palette[str(line.arm)], linewidth=0.9, markersize=6, zorder=3)


def _frame(axes: Axes, values: pd.Series, summary: pd.DataFrame) -> str:
    """Keeps intervals of very few seeds from shrinking all else to a point; returns a note where it did."""
    limits = frame_of(values, summary)
    if limits is None:
        return ""
    axes.set_xlim(*limits)
    return "intervals that leave the frame stand in the table"


def compared(table: pd.DataFrame, margin: float, unit: Unit) -> Figure:
    """A row an arm: its difference to the control in two campaigns, A above B, with the margin as a band.

    Args:
        table: campaign (A or B), arm, mean, low, high; the arms in the order to draw.
        margin: half the band's width, in the unit of the differences.
        unit: of the metric.
    """
    arms = list(dict.fromkeys(table["arm"]))
    with page(1.2 + 1.5 * ROW_INCHES * len(arms)) as (figure, (axes,)):
        axes.axvspan(-margin, margin, color=BAND_COLOUR, alpha=0.6, linewidth=0)
        axes.axvline(0, color=CONTROL_COLOUR, linewidth=1)
        looks = {"A": (COLOURS[0], "o", -0.15), "B": (COLOURS[1], "D", 0.15)}
        for line in lines_of(table):
            colour, marker, shift = looks[str(line.campaign)]
            row = arms.index(str(line.arm)) + shift
            axes.plot([line.low, line.high], [row, row], color=colour, linewidth=2)
            axes.plot([line.mean], [row], marker, markersize=7, color=colour, markeredgecolor="white", zorder=5)
            right_column(axes, row, f"{line.campaign}: {line.outcome}")
        name_rows(axes, arms)
        axes.set_xlabel(
            f"{unit.difference}, arm minus control\ngrey: within the margin of {unit.told(format(margin, 'g'))}"
        )
        return figure


def learning_curves(curves: pd.DataFrame, means: pd.DataFrame, label: str, palette: Mapping[str, str]) -> Figure:
    """A panel an arm, at most 32: every seed a thin line, the mean thick, and the control's mean in grey behind.

    Args:
        curves: arm, seed, epoch, value.
        means: arm, epoch, value; the arms in the order to draw, the control first.
        label: what the value is, with its unit.
        palette: a colour an arm.
    """
    every = list(dict.fromkeys(means["arm"]))
    arms = every[:MAX_PANELS]
    columns = min(4, max(2, len(arms)))
    rows = -(-len(arms) // columns)
    lines, note = thin(curves, MAX_LINES)
    with page(0.8 + (2.0 if rows < 3 else 1.55) * rows, rows, columns, shared="xy") as (figure, panels):
        for arm, axes in zip(arms, panels, strict=False):
            _curve_panel(axes, arm, arms[0], lines, means, palette)
        for axes in panels[len(arms) :]:
            axes.set_visible(False)
        for axes in panels[max(0, len(arms) - columns) : len(arms)]:
            axes.tick_params(labelbottom=True)
        figure.supylabel(label, fontsize=9)
        behind = "dashed: the control's mean" if len(arms) > 1 else ""
        few = f"the first {len(arms)} of {len(every)} arms" if len(arms) < len(every) else ""
        figure.supxlabel("\n".join(filter(None, ["epoch", "; ".join(filter(None, [behind, few, note]))])), fontsize=9)
        return figure


def _curve_panel(
    axes: Axes, arm: str, control: str, lines: pd.DataFrame, means: pd.DataFrame, palette: Mapping[str, str]
) -> None:
    own = lines[lines["arm"] == arm].sort_values(["seed", "epoch"])
    segments = [group[["epoch", "value"]].to_numpy() for _, group in own.groupby("seed", sort=False)]
    axes.add_collection(LineCollection(segments, colors=palette[arm], linewidths=0.7, alpha=0.5))
    if arm != control:
        behind = means[means["arm"] == control]
        axes.plot(behind["epoch"], behind["value"], color=CONTROL_COLOUR, linewidth=1.2, linestyle=(0, (3, 2)))
    sns.lineplot(
        data=means[means["arm"] == arm], x="epoch", y="value", color=palette[arm], linewidth=1.9, errorbar=None,
        marker="o" if means["epoch"].nunique() == 1 else None, ax=axes,
    )  # fmt: skip
    axes.set_title(folded(arm, 24), fontsize=8.5 if len(arm) <= 20 else 7)
    axes.set(xlabel="", ylabel="")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
