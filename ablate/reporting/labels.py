"""Labels beside points, moved up or down until none lies on another."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

import matplotlib.patheffects
from matplotlib.axes import Axes

OUTLINE = [matplotlib.patheffects.withStroke(linewidth=2, foreground="white")]


def short(name: str, most: int = 34) -> str:
    """A name cut to ``most`` characters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def folded(name: str, width: int) -> str:
    """A name on lines of ``width`` characters, broken after a plus or before an at sign where it has one."""
    lines = [""]
    for part in re.split(r"(?<=\+)|(?=@)", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(piece for line in lines for piece in textwrap.wrap(line, width) or [line])


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions nearest to ``wanted``, in the same order, at least ``gap`` apart, within ``low`` and ``high``.

    Neighbours closer than the gap are pooled around their common middle (isotonic regression by pooling). Where the
    range is too small for all, the gap shrinks to what fits.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[list[float]] = []  # each: the sum of its members' wanted first place, and how many they are
    for i in order:
        blocks.append([wanted[i], 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] + gap * blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total - gap * blocks[-1][1] * count
            blocks[-1][1] += count
    placed = [total / count + gap * step for total, count in blocks for step in range(int(count))]
    for step in range(len(placed)):
        placed[step] = max(placed[step], low + gap * step)
    for back in range(len(placed)):
        placed[-1 - back] = min(placed[-1 - back], high - gap * back)
    result = [0.0] * len(wanted)
    for position, i in zip(placed, order, strict=True):
        result[i] = position
    return result


def column_labels(
    axes: Axes, x: Sequence[float], y: Sequence[float], names: Sequence[str], colours: Sequence[str], *, size: float = 8
) -> None:
    """Names in a column right of the axes, in the order of the points' heights, each tied to its point by a thin line.

    Call it when the limits of the axes and the layout are final.
    """
    low, high = axes.get_ylim()
    gap = 1.35 * size / 72 * (high - low) / (axes.get_window_extent().height / _dpi(axes))
    heights = apart(list(y), gap, low + gap / 2, high - gap / 2)
    across = axes.get_yaxis_transform()
    for name, here, point, height, colour in zip(names, x, y, heights, colours, strict=True):
        axes.annotate(
            name, xy=(here, point), xytext=(1.06, height), textcoords=across, va="center", fontsize=size,
            color="#222222",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.5, "shrinkB": 3},
        )  # fmt: skip


def point_labels(axes: Axes, x: Sequence[float], y: Sequence[float], names: Sequence[str], *, size: float = 7) -> None:
    """A short name (a number) right of each point; names of points in one column are moved apart.

    Call it when the limits of the axes and the layout are final.
    """
    places = axes.transData.transform(list(zip(x, y, strict=True)))
    pixel = _dpi(axes) / 72
    frame = axes.get_window_extent()
    order = sorted(range(len(places)), key=lambda i: float(places[i][0]))
    columns: list[list[int]] = []
    for i in order:
        near = columns and places[i][0] - places[columns[-1][0]][0] < 1.6 * size * pixel
        columns[-1].append(i) if near else columns.append([i])
    for column in columns:
        heights = apart([float(places[i][1]) for i in column], 1.15 * size * pixel, frame.y0, frame.y1)
        right = max(float(places[i][0]) for i in column)
        for i, height in zip(column, heights, strict=True):
            offset = ((right - places[i][0]) / pixel + 6, (height - places[i][1]) / pixel)
            axes.annotate(
                names[i], xy=(x[i], y[i]), xytext=offset, textcoords="offset points", va="center", fontsize=size,
                color="#222222", path_effects=OUTLINE,
                 arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2},
            )  # fmt: skip


def _dpi(axes: Axes) -> float:
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    return figure.dpi
