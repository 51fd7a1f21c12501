"""Finished frames to the figure of memory over depth: inputs and outputs, layer by layer and block by block."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ablate.reporting.canvas import page
from ablate.reporting.style import COLOURS


def memory_over_depth(steps: pd.DataFrame) -> Figure:
    """A panel for each net: inputs and outputs of every layer, and of every block as one operation, over depth.

    Args:
        steps: net, by (layer or block), start and end (share of the net's layers, from 0 to 1) and kilobytes.
    """
    nets = list(dict.fromkeys(steps["net"]))
    lowest = str(steps.groupby("net")["kilobytes"].max().idxmin())  # its panel has room for the key
    with page(3.1, 1, len(nets), shared="y") as (figure, panels):
        for net, axes in zip(nets, panels, strict=True):
            _panel(axes, steps[steps["net"] == net])
            axes.set_title(net)
        panels[0].set(ylabel="inputs + outputs (KB)", ylim=(0, 1.12 * steps["kilobytes"].max()))
        panels[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        panels[nets.index(lowest)].legend(loc="upper right", fontsize=8, frameon=False)
        figure.supxlabel("depth (share of the layers)", fontsize=9)
        return figure


def _panel(axes: Axes, steps: pd.DataFrame) -> None:
    peaks: set[float] = set()
    for by, label, colour in (("layer", "layer by layer", COLOURS[5]), ("block", "a block as one", COLOURS[1])):
        own = steps[steps["by"] == by]
        edges = [*own["start"], 1.0]
        axes.stairs(own["kilobytes"], edges, color=colour, linewidth=1.6, label=label, baseline=None)
        peak = own.iloc[int(own["kilobytes"].to_numpy().argmax())]
        if peak["kilobytes"] not in peaks:
            place = (peak["end"], peak["kilobytes"])
            axes.annotate(
                f"{peak['kilobytes']:,.0f}", place, xytext=(3, 2), textcoords="offset points", fontsize=8, color=colour
            )
        peaks.add(peak["kilobytes"])
    axes.set_xlim(0, 1)
