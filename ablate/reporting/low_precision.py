"""Accuracy in low precision as a table, and whether an arm loses more by it than the control."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ablate.design.arms import CONTROL
from ablate.reporting.style import number, p_text
from ablate.verdicts.runs import judge_runs
from ablate.verdicts.samples import Question

FULL_BITS = 32


def losses(table: pd.DataFrame) -> Iterator[tuple[int, str, dict[str, dict[int, float]]]]:
    """Bits, step, and arm -> seed -> accuracy there minus accuracy as trained."""
    full = table[table["bits"] == FULL_BITS].set_index(["arm", "seed"])["accuracy"]
    small = table[table["bits"] != FULL_BITS].set_index(["arm", "seed"])
    for (bits, step), own in small.groupby(["bits", "step"], sort=False):
        change = own["accuracy"] - full
        found: dict[str, dict[int, float]] = {}
        for arm, seed, value in change.reset_index(name="change")[["arm", "seed", "change"]].to_numpy():
            found.setdefault(str(arm), {})[int(seed)] = float(value)
        yield int(str(bits)), str(step), found


def printed_scores(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each arm, number of bits and step: mean accuracy, and the mean change against the net as trained."""
    full = table[table["bits"] == FULL_BITS].groupby("arm")["accuracy"].mean()
    rows = [
        {
            "arm": arm,
            "bits": str(bits),
            "a step for each": step,
            "accuracy as trained (%)": number(full[arm], 2, 100),
            "change (points)": number(sum(changes.values()) / len(changes), 2, 100, signed=True),
        }
        for bits, step, arms in losses(table)
        for arm, changes in arms.items()
    ]
    return pd.DataFrame(rows)


def judged(table: pd.DataFrame, *, alpha: float, margin: float) -> list[str]:
    """A sentence for each arm, number of bits and step; alpha is shared evenly by the numbers of bits and steps."""
    settings = list(losses(table))
    lines = []
    for bits, step, arms in settings:
        question = Question(
            metric="change in accuracy",
            control=CONTROL,
            higher_is_better=True,
            alpha=alpha / len(settings),
            margin=margin,
        )
        for verdict in judge_runs(arms, question).verdicts:
            found = verdict.contrast
            assert found is not None  # every arm has runs
            lines.append(
                f"{verdict.arm}, {bits} bits, a step for each {step}: {verdict.outcome}: its change minus the "
                f"control's is {number(found.mean_difference, 2, 100, signed=True)} points "
                f"[{number(found.low, 2, 100, signed=True)}, {number(found.high, 2, 100, signed=True)}], "
                f"p {p_text(found.p)} (level {question.alpha:.4f})"
            )
    return lines
