"""Memory at inference over depth as pandas frames of numbers and of printed text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ablate.measure.depth import Step, by_block, by_layer, split_net_cost
from ablate.model.layers import Layer
from ablate.reporting.style import number

Nets = Mapping[str, Sequence[Layer]]


def steps(nets: Nets, bits: int) -> pd.DataFrame:
    """net, by (layer, block), step, start, end (share of the net's layers), elements and kilobytes of 1,000 bytes."""
    rows = [row for net, ops in nets.items() for row in _rows(net, ops)]
    frame = pd.DataFrame(rows)
    return frame.assign(kilobytes=frame["elements"] * bits / 8000)


def _rows(net: str, ops: Sequence[Layer]) -> list[dict[str, object]]:
    places = _places(ops)
    rows: list[dict[str, object]] = []
    for by, found in (("layer", by_layer(ops)), ("block", by_block(ops))):
        for step in found:
            start, end = places[step.name]
            rows.append(
                {"net": net, "by": by, "step": step.name, "start": start, "end": end, "elements": step.elements}
            )
    return rows


def _places(ops: Sequence[Layer]) -> dict[str, tuple[float, float]]:
    """Where each layer and each block lies, as shares of the number of layers."""
    found: dict[str, tuple[float, float]] = {}
    names: list[Step] = list(by_layer(ops))
    for place, step in enumerate(names):
        block = ".".join(step.name.split(".")[:2])
        start, end = place / len(names), (place + 1) / len(names)
        found[step.name] = (start, end)
        found[block] = (found.get(block, (start, end))[0], end)
    return found


def printed_peaks(frame: pd.DataFrame, bits: int) -> pd.DataFrame:
    """Two rows for each net: the peak layer by layer and block by block, and the step at which it is reached."""
    rows = []
    for (net, by), own in frame.groupby(["net", "by"], sort=False):
        peak = own.iloc[int(own["elements"].to_numpy().argmax())]
        rows.append(
            {
                "net": net,
                "one operation is": f"a {by}",
                "peak (elements)": f"{peak['elements']:,}",
                f"KB at {bits} bits": kb(peak["kilobytes"]),
                "reached at": peak["step"],
            }
        )
    return pd.DataFrame(rows)


def printed_splits(nets: Nets, parts: Sequence[int], bits: int) -> pd.DataFrame:
    """A row for each net and number of parts: the peak, and what is read and written again; MACs stay the same."""
    rows = []
    for net, ops in nets.items():
        moved = sum(step.elements for step in by_layer(ops))
        for number_of_parts in parts:
            cost = split_net_cost(ops, number_of_parts)
            if cost is None:
                rows.append({"net": net, "parts": "–", "peak (KB)": "–", "read and written again": "–", "MACs": "–"})
                break
            rows.append(
                {
                    "net": net,
                    "parts": str(cost.parts),
                    "peak (KB)": kb(cost.peak_elements * bits / 8000),
                    "read and written again": f"+{number(cost.extra_elements / moved, 1, 100)} %",
                    "MACs": f"{cost.macs:,}",
                }
            )
    return pd.DataFrame(rows)


def kb(value: float) -> str:
    """Kilobytes of 1,000 bytes, whole."""
    return f"{value:,.0f}"
