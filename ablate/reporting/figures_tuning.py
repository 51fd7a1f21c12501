"""The figure of a tuning: how good a best setting is to be expected of how large a budget."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ablate.reporting.canvas import page
from ablate.reporting.labels import folded
from ablate.reporting.style import CONTROL_COLOUR


def expected_best(curves: pd.DataFrame, control: str, label: str, palette: Mapping[str, str]) -> Figure:
    """A panel an arm: the best to be expected of a budget of settings, with its band; the control's dashed behind.

    Args:
        curves: arm, budget, value, low, high; the arms in the order to draw.
        control: the arm that is drawn behind the others.
        label: what the value is, with its unit.
        palette: a colour an arm.
    """
    arms = list(dict.fromkeys(curves["arm"]))
    columns = min(4, max(2, len(arms)))
    rows = -(-len(arms) // columns)
    with page(0.8 + (2.0 if rows < 3 else 1.55) * rows, rows, columns, shared="xy") as (figure, panels):
        for arm, axes in zip(arms, panels, strict=False):
            _panel(axes, arm, control, curves, palette)
        for axes in panels[len(arms) :]:
            axes.set_visible(False)
        for axes in panels[max(0, len(arms) - columns) : len(arms)]:
            axes.tick_params(labelbottom=True)
        figure.supylabel(f"best {label}", fontsize=9)
        behind = f"dashed: {control}" if len(arms) > 1 and control in arms else ""
        figure.supxlabel("\n".join(filter(None, ["settings tried", behind])), fontsize=9)
        return figure


def _panel(axes: Axes, arm: str, control: str, curves: pd.DataFrame, palette: Mapping[str, str]) -> None:
    own = curves[curves["arm"] == arm]
    axes.fill_between(own["budget"], own["low"], own["high"], color=palette[arm], alpha=0.18, linewidth=0)
    if arm != control:
        behind = curves[curves["arm"] == control]
        axes.plot(behind["budget"], behind["value"], color=CONTROL_COLOUR, linewidth=1.2, linestyle=(0, (3, 2)))
    sns.lineplot(
        data=own, x="budget", y="value", color=palette[arm], linewidth=1.9, errorbar=None, marker="o", markersize=4,
        ax=axes,
    )  # fmt: skip
    axes.set_title(folded(arm, 24), fontsize=8.5 if len(arm) <= 20 else 7)
    axes.set(xlabel="", ylabel="")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
