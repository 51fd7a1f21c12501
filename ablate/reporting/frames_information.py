"""What a random ReLU layer keeps, and positive channels, as pandas frames of numbers and of printed text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ablate.measure.information import Reconstructions, embed, expected_loss, recover, spiral
from ablate.reporting.style import number
from ablate.verdicts.stats import paired_interval

MIDDLE = (0.025, 0.975)


def spiral_curves(dims: Sequence[int], seed: int) -> pd.DataFrame:
    """title, x, y, position: the spiral itself, then what one random matrix of each width leaves of it."""
    points = spiral(800)
    recovered = (recover(*embed(points, dim, np.random.default_rng([seed, dim]))) for dim in dims)
    curves = [("input", points), *((f"n = {dim}", curve) for dim, curve in zip(dims, recovered, strict=True))]
    position = np.linspace(0, 1, len(points))
    return pd.concat(
        [
            pd.DataFrame({"title": title, "x": curve[:, 0], "y": curve[:, 1], "position": position})
            for title, curve in curves
        ],
        ignore_index=True,
    )


def summarise(found: Reconstructions) -> pd.DataFrame:
    """dim, draws, mean error with its 95 % t interval, the middle 95 % of the draws, points lost and expected lost."""
    rows = []
    for dim, errors, lost in zip(found.dims, found.errors, found.lost, strict=True):
        interval = paired_interval(errors)
        low, high = np.quantile(errors, MIDDLE)
        rows.append(
            {
                "dim": dim,
                "draws": len(errors),
                "error": errors.mean(),
                "error_low": interval.low,
                "error_high": interval.high,
                "low": low,
                "high": high,
                "lost": lost.mean(),
                "expected_lost": expected_loss(dim),
            }
        )
    return pd.DataFrame(rows)


def printed_reconstruction(summary: pd.DataFrame) -> pd.DataFrame:
    """The table of ``summarise`` as people read it."""
    return pd.DataFrame(
        {
            "channels n": summary["dim"].astype(str),
            "draws": [f"{draws:,}" for draws in summary["draws"]],
            "relative error": [number(value, 3) for value in summary["error"]],
            "95 % interval of the mean": _ranges(summary["error_low"], summary["error_high"]),
            "middle 95 % of the draws": _ranges(summary["low"], summary["high"]),
            "points lost": [f"{number(value, 1, 100)} %" for value in summary["lost"]],
            "(n + 1) / 2ⁿ": [f"{number(value, 1, 100)} %" for value in summary["expected_lost"]],
        }
    )


def _ranges(low: pd.Series, high: pd.Series) -> list[str]:
    pairs = [(number(a, 3), number(b, 3)) for a, b in zip(low, high, strict=True)]
    return ["–" if "–" in pair else f"{pair[0]} to {pair[1]}" for pair in pairs]


def printed_channels(layers: pd.DataFrame) -> pd.DataFrame:
    """A row for each activation of each arm: channels, the share that is positive, and what inverting it needs."""
    return pd.DataFrame(
        {
            "arm": layers["arm"],
            "after": [name.removesuffix(".activation") for name in layers["layer"]],
            "channels": layers["channels"].astype(str),
            "positive (mean)": _percent(layers["mean"]),
            "least": _percent(layers["least"]),
            "most": _percent(layers["most"]),
            "needed": _percent(layers["threshold"]),
            "positions below": _percent(layers["below"]),
        }
    )


def _percent(values: pd.Series) -> list[str]:
    texts = [number(value, 1, 100) for value in values.astype(float)]
    return [text if text == "–" else f"{text} %" for text in texts]
