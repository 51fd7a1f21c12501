"""Accuracy and cost at several input sizes, as printed text and as a figure."""

from __future__ import annotations

import itertools

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ablate.design.plan import CONTROL
from ablate.reporting.canvas import note_below, page
from ablate.reporting.style import COLOURS, CONTROL_COLOUR, number


def printed_sizes(table: pd.DataFrame) -> pd.DataFrame:
    """An arm and a size a row: mean accuracy over the seeds, least and most, MACs, and convolutions on tiny maps."""
    grouped = table.groupby(["arm", "size"], sort=False).agg(
        mean=("accuracy", "mean"), least=("accuracy", "min"), most=("accuracy", "max"), seeds=("seed", "size"),
        macs=("macs", "first"), tiny=("tiny", "first"), trained=("trained", "first"),
    ).reset_index()  # fmt: skip
    return pd.DataFrame(
        {
            "arm": grouped["arm"],
            "input": [
                f"{size}{' (trained)' * bool(own)}"
                for size, own in zip(grouped["size"], grouped["trained"], strict=True)
            ],
            "accuracy": [f"{number(value, 2, 100)} %" for value in grouped["mean"]],
            "least to most": [
                f"{number(low, 2, 100)} to {number(high, 2, 100)}"
                for low, high in zip(grouped["least"], grouped["most"], strict=True)
            ],
            "seeds": grouped["seeds"].astype(str),
            "MACs": [f"{macs:,}" for macs in grouped["macs"]],
            "maps of 2×2 or fewer": grouped["tiny"].astype(str),
        }
    )


def by_size(table: pd.DataFrame) -> Figure:
    """Two panels over the size of the input: test accuracy, and MACs.

    Args:
        table: arm, seed, size, accuracy, macs and trained (whether it is the size of the training images).
    """
    sizes = sorted(set(table["size"]))
    arms = list(dict.fromkeys(table["arm"]))
    with page(2.9, 1, 2) as (figure, panels):
        left, right = panels
        others = itertools.cycle(COLOURS)
        colours = {arm: CONTROL_COLOUR if arm == CONTROL else next(others) for arm in arms}
        shown = table.assign(percent=100 * table["accuracy"], millions=table["macs"] / 1e6)
        spread = ("pi", 100) if table["seed"].nunique() > 1 else None
        style = {"x": "size", "hue": "arm", "palette": colours, "marker": "o"}
        sns.lineplot(data=shown, y="percent", errorbar=spread, ax=left, legend=len(arms) > 1, **style)
        sns.lineplot(data=shown, y="millions", errorbar=None, ax=right, legend=False, **style)
        for axes in panels:
            for size in sorted(set(table["size"][table["trained"]])):
                axes.axvline(size, color="#BBBBBB", linewidth=1, linestyle=(0, (3, 2)), zorder=0)
            axes.xaxis.set_major_locator(FixedLocator(sizes))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("height of the input (pixels)")
        left.set(ylabel="test accuracy (%)")
        right.set(ylabel="MACs (millions)", ylim=(0, None))
        if len(arms) > 1:
            left.legend(title="", fontsize=7.5)
        note_below(
            figure, "dashed: the size of the training images" + "; bands: least to most of the seeds" * bool(spread)
        )
        return figure
