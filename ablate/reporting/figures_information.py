"""Finished frames to figures about information: a spiral through ReLU, and positive channels layer by layer."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from ablate.reporting.canvas import note_below, page
from ablate.reporting.labels import folded
from ablate.reporting.style import COLOURS, CONTROL_COLOUR

SPIRAL_COLUMNS = 6


def spirals(curves: pd.DataFrame) -> Figure:
    """A panel for each width: what the pseudo-inverse makes of the spiral behind a random ReLU layer.

    Args:
        curves: title, x, y and position (0 at the centre to 1 at the end), in the order to draw.
    """
    titles = list(dict.fromkeys(curves["title"]))
    rows = -(-len(titles) // SPIRAL_COLUMNS)
    columns = min(SPIRAL_COLUMNS, len(titles))
    with page(0.35 + 1.35 * rows, rows, columns) as (figure, panels):
        for axes in panels:
            axes.set_axis_off()
        for axes, title in zip(panels, titles, strict=False):
            own = curves[curves["title"] == title]
            axes.scatter(own["x"], own["y"], c=own["position"], cmap="viridis", s=3, linewidths=0, rasterized=True)
            axes.set_title(title, loc="center")
            _square(axes, own)
        note_below(figure, "colour: position on the spiral; each panel at its own scale")
        return figure


def _square(axes: Axes, points: pd.DataFrame) -> None:
    """The same scale on both axes, the points in the middle."""
    middle = [(points[name].max() + points[name].min()) / 2 for name in ("x", "y")]
    half = 0.55 * max((points[name].max() - points[name].min()) for name in ("x", "y")) or 1.0
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_aspect("equal")


def reconstruction(summary: pd.DataFrame) -> Figure:
    """Two panels over the number of channels: the reconstruction error, and the share of points that are lost.

    Args:
        summary: dim, error, low, high (of the middle 95 % of the draws), lost and expected_lost.
    """
    with page(2.7, 1, 2) as (figure, panels):
        for axes in panels:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(FixedLocator(list(summary["dim"])))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("channels of the random layer")
        left, right = panels
        left.fill_between(summary["dim"], summary["low"], summary["high"], color=COLOURS[0], alpha=0.18, linewidth=0)
        sns.lineplot(data=summary, x="dim", y="error", color=COLOURS[0], marker="o", errorbar=None, ax=left)
        left.set(ylabel="relative error", ylim=(0, 1.02), title="reconstruction error")
        right.plot(summary["dim"], summary["expected_lost"], color=CONTROL_COLOUR, linewidth=1, linestyle=(0, (3, 2)))
        sns.scatterplot(data=summary, x="dim", y="lost", color=COLOURS[1], s=34, ax=right, zorder=3)
        right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        right.set(ylabel="", ylim=(-0.03, 1.02), title="points with fewer than 2 positive channels")
        note_below(
            figure,
            "left: mean, and the middle 95 % of the draws; right, dashed: (n + 1) / 2ⁿ, the expected share",
        )
        return figure


def positive_channels(layers: pd.DataFrame) -> Figure:
    """A panel for each arm: the share of positive channels after each activation, in the order of execution.

    Args:
        layers: arm, depth (from 0), layer, mean, sd, least, most and threshold (nan where there is none).
    """
    arms = list(dict.fromkeys(layers["arm"]))
    with page(0.6 + 2.1 * len(arms), len(arms), 1, shared="y") as (figure, panels):
        for arm, axes in zip(arms, panels, strict=True):
            _positive_panel(axes, layers[layers["arm"] == arm])
            axes.set_title(folded(arm, 60))
        panels[0].set_ylim(-0.03, 1.05)
        figure.supylabel("positive channels", fontsize=9)
        note_below(figure, "dots: mean over images and positions; bars: one standard deviation; grey: least to most;\n"
                   "steps: share that is needed to invert the layer (not drawn above 100 %)")  # fmt: skip
        return figure


def _positive_panel(axes: Axes, layers: pd.DataFrame) -> None:
    depth = layers["depth"]
    axes.vlines(depth, layers["least"], layers["most"], color="#C8C8C8", linewidth=2.2)
    axes.errorbar(
        depth, layers["mean"], yerr=layers["sd"], fmt="o", color=COLOURS[0], markersize=3.6, elinewidth=1.1, zorder=3
    )
    shown = layers[layers["threshold"] <= 1.0]
    axes.hlines(shown["threshold"], shown["depth"] - 0.5, shown["depth"] + 0.5, color=COLOURS[1], linewidth=1.6)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    every = 1 if len(layers) <= 12 else max(2, len(layers) // 12)
    names = [name.removesuffix(".activation") for name in layers["layer"]]
    axes.set_xticks(list(depth)[::every], names[::every], rotation=30, ha="right", fontsize=7)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="", ylabel="")
