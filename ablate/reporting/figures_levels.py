"""Finished frames to figures: accuracy against a numeric choice, cost along the net, confusion against the control."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ablate.reporting.canvas import page
from ablate.reporting.figures import seed_interval
from ablate.reporting.style import COLOURS, Unit, number

LEGEND_LETTERS = 100  # that fit across the page
TOLD = 0.05  # images a seed; what is less has no number in its cell
WIDE_RANGE = 8.0  # levels whose largest is so many times the smallest are drawn on a log scale


def levels(table: pd.DataFrame, unit: Unit) -> Figure:
    """A panel a factor: mean with its interval over the seeds at every level, every seed a thin line.

    Args:
        table: factor, level, seed, value.
        unit: of the metric.
    """
    factors = list(dict.fromkeys(table["factor"]))
    with page(2.9, 1, len(factors), shared="y") as (figure, panels):
        for factor, axes in zip(factors, panels, strict=True):
            own = table[table["factor"] == factor]
            for _, line in own.groupby("seed", sort=False):
                axes.plot(line["level"], line["value"], color=COLOURS[0], linewidth=0.6, alpha=0.35)
            sns.lineplot(
                data=own, x="level", y="value", color=COLOURS[0], marker="o", err_style="bars", errorbar=seed_interval,
                linewidth=1.9, ax=axes,
            )  # fmt: skip
            values = sorted(own["level"].unique())
            if values[0] > 0 and values[-1] / values[0] >= WIDE_RANGE:
                axes.set_xscale("log")
            axes.xaxis.set_major_locator(FixedLocator(values))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set(xlabel=factor, ylabel="")
        panels[0].set_ylabel(f"mean {unit.axis}")
        return figure


def cost_by_block(table: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """Multiply-adds along the net: a bar an arm at the stem, every block and the head.

    Args:
        table: arm, place, macs; places in the order of execution.
        palette: a colour an arm.
    """
    arms = list(dict.fromkeys(table["arm"]))
    with page(3.0) as (figure, (axes,)):
        sns.barplot(
            data=table.assign(macs=table["macs"] / 1e6), x="place", y="macs", hue="arm", hue_order=arms,
            order=_places(table), palette=dict(palette), saturation=1, ax=axes,
        )  # fmt: skip
        axes.set(xlabel="", ylabel="MACs (millions)")
        axes.tick_params(axis="x", rotation=45)
        axes.grid(visible=False, axis="x")
        columns = max(1, min(4, LEGEND_LETTERS // (5 + max(map(len, arms)))))  # 5: the patch and the gap
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, fontsize=8)
        return figure


def _places(table: pd.DataFrame) -> list[str]:
    names = set(table["place"])
    blocks = sorted((name for name in names if name.startswith("block")), key=lambda name: int(name.split()[1]))
    return [name for name in ("stem", *blocks, "head") if name in names]


def confusion(table: pd.DataFrame, arm: str, called: Callable[[int], str] = str) -> Figure:
    """Wrong answers of an arm against the control's: images a seed, more (orange) or fewer (blue), by label and answer.

    Args:
        table: label, answer, difference.
        arm: its name.
        called: what a class is called.
    """
    wide = table.pivot_table(index="label", columns="answer", values="difference", sort=True)
    wide = wide.rename(index=called, columns=called)
    told = wide.map(lambda value: number(value, 1, signed=True) if abs(value) >= TOLD else "")  # nan is not
    most = max(float(wide.abs().max().max()), 1e-9)
    with page(4.6) as (figure, (axes,)):
        sns.heatmap(
            wide, vmin=-most, vmax=most, cmap=sns.diverging_palette(240, 30, s=85, l=55, as_cmap=True), annot=told,
            fmt="", annot_kws={"fontsize": 7}, square=True, linewidths=0.5, ax=axes,
            cbar_kws={"label": f"wrong answers a seed, {arm} minus control"},
        )  # fmt: skip
        axes.grid(visible=False)
        axes.set(xlabel="answer", ylabel="label")
        axes.tick_params(axis="y", rotation=0)
        return figure
