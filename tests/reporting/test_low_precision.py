"""What is said of nets in low precision, against numbers by hand."""

from __future__ import annotations

import pandas as pd

from ablate.reporting.low_precision import judged, losses, printed_scores


def table(loss: float) -> pd.DataFrame:
    """Eight seeds; at 4 bits the control loses 1 point and relu ``loss`` points, with a little noise."""
    rows = [
        {"arm": arm, "seed": seed, "bits": bits, "step": "channel", "accuracy": 0.9 + 0.001 * seed - (bits == 4) * lost}
        for arm, size in (("control", 0.01), ("relu", loss))
        for seed in range(8)
        for lost in (size + 0.0005 * (seed % 3),)
        for bits in (32, 4)
    ]
    return pd.DataFrame(rows)


def test_the_change_is_taken_seed_by_seed() -> None:
    ((bits, step, arms),) = losses(table(0.05))
    assert (bits, step) == (4, "channel")
    assert [round(arms["relu"][seed], 4) for seed in range(3)] == [-0.05, -0.0505, -0.051]
    printed = printed_scores(table(0.05))
    assert list(printed["arm"]) == ["control", "relu"]
    assert list(printed["accuracy as trained (%)"]) == ["90.35", "90.35"]
    assert list(printed["change (points)"]) == ["−1.04", "−5.04"]


def test_an_arm_that_loses_more_is_worse_and_one_that_loses_alike_is_not() -> None:
    (worse,) = judged(table(0.05), alpha=0.05, margin=0.005)
    assert worse.startswith(
        "relu, 4 bits, a step for each channel: worse: its change minus the control's is −4.00 points"
    )
    assert "p .008 (level 0.0500)" in worse
    (alike,) = judged(table(0.01), alpha=0.05, margin=0.005)
    assert "equivalent" in alike
