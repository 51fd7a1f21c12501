"""Accuracy against a numeric choice, and cost along the net, as pandas frames of numbers."""

from __future__ import annotations

import pandas as pd

from ablate.design.own_block import is_ours
from ablate.design.plan import CONTROL, NOISE_FLOOR, Arm
from ablate.model.layers import layers
from ablate.reporting.results import Results

FEWEST_LEVELS = 3


def levels(results: Results, values: pd.DataFrame) -> pd.DataFrame:
    """factor, level, seed, value: means over all other factors; of every numeric choice with three levels or more.

    The choice is a factor, or the one field that every arm of a study of single changes moves.

    Args:
        results: of the campaign.
        values: ``frames.scores``.
    """
    placed = _by_factor(results) or _by_change(results)
    rows = [
        (factor, level, seed, value)
        for arm, seed, value in values[["arm", "seed", "value"]].itertuples(index=False)
        for factor, level in placed.get(str(arm), {}).items()
    ]
    table = pd.DataFrame(rows, columns=["factor", "level", "seed", "value"])
    means = table.groupby(["factor", "level", "seed"], sort=False)["value"].mean().reset_index()
    counted = means.groupby("factor")["level"].transform("nunique")
    return means[counted >= FEWEST_LEVELS].sort_values(["factor", "level", "seed"], ignore_index=True)


def _is_number(level: object) -> bool:
    return isinstance(level, int | float) and not isinstance(level, bool)


def _by_factor(results: Results) -> dict[str, dict[str, float]]:
    return {
        arm.name: {name: float(level) for name, level in arm.factors.items() if _is_number(level)}
        for arm in results.plan.arms
        if any(map(_is_number, arm.factors.values()))
    }


def _by_change(results: Results) -> dict[str, dict[str, float]]:
    arms = [arm for arm in results.plan.arms if arm.name not in (CONTROL, NOISE_FLOOR)]
    moved = [_one_change(arm) for arm in arms]
    fields = {change[0] for change in moved if change is not None}
    if None in moved or len(fields) != 1 or not moved:
        return {}
    placed = {arm.name: {change[0]: change[2]} for arm, change in zip(arms, moved, strict=True) if change is not None}
    first = next(change for change in moved if change is not None)
    return {CONTROL: {first[0]: first[1]}, **placed}


def _one_change(arm: Arm) -> tuple[str, float, float] | None:
    """Field, level before and after of an arm that makes one numeric change at its own cost."""
    if len(arm.changes) != 1 or (arm.match is not None and not arm.match.identity):
        return None
    (change,) = arm.changes
    if not (_is_number(change.before) and _is_number(change.after)):
        return None
    return change.field, float(change.before), float(change.after)


def cost_by_block(results: Results) -> pd.DataFrame:
    """arm, place (stem, block 1, ..., head), macs: of one image.

    Left out are arms that cost the same everywhere, and imported nets, whose places are not known.
    """
    data, rows = results.plan.data, list[dict[str, object]]()
    if results.plan.study.own_training:
        return pd.DataFrame(columns=["arm", "place", "macs"])
    seen: set[tuple[tuple[str, int], ...]] = set()
    for arm in results.plan.arms:
        if not is_ours(arm.spec):
            continue
        places: dict[str, int] = {}
        for layer in layers(arm.spec, data.height, data.width):
            place = f"block {layer.block + 1}" if layer.block is not None else "head" if len(places) > 1 else "stem"
            places[place] = places.get(place, 0) + layer.macs
        if (profile := tuple(places.items())) not in seen:
            seen.add(profile)
            rows += [{"arm": arm.name, "place": place, "macs": macs} for place, macs in places.items()]
    return pd.DataFrame(rows, columns=["arm", "place", "macs"])
