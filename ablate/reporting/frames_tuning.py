"""What the tuning found as pandas frames, and what a reader must know of it in sentences.

Scores are in printed units of the metric on the validation images (accuracy in percent, loss in nats). Rows are in the
order of the plan; everything is empty where the study tunes nothing.
"""

from __future__ import annotations

import dataclasses
import math

import pandas as pd

from ablate.design.plan import tuned_arms
from ablate.design.tuning import at_edge, tuned_by
from ablate.reporting.results import Results
from ablate.reporting.style import Unit, number
from ablate.verdicts.search import WORST, best_of, floored, is_scored, score


def scored_by(results: Results) -> Unit:
    """The unit of the metric that settings are chosen by."""
    found = results.unit_of(tuned_by(results.plan.study.decision.metric))
    return dataclasses.replace(found, axis=found.axis.replace("val ", "validation "))


def scores(results: Results) -> pd.DataFrame:
    """arm, setting (0: the recipe as written), score, value (printed) and what was set; a row a setting with records.

    A setting that failed or diverged has the score -inf and no value.
    """
    rows: list[dict[str, object]] = []
    for arm in results.plan.tuning:
        for place, setting in enumerate(arm.settings):
            if is_scored(setting, results.records):
                found = score(setting, results.records, results.plan.study.decision)
                value = math.nan if found == WORST else _printed(results, found)
                rows.append({"arm": arm.arm, "setting": place, "score": found, "value": value, **setting.values})
    names = ["arm", "setting", "score", "value", *results.plan.study.tuning.space]
    return pd.DataFrame(rows, columns=names).astype({"score": float, "value": float})


def expected_best(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """arm, budget, value, low, high: the best to be expected of so many settings, from ``scores``' table."""
    metric = results.plan.study.decision.metric
    rows: list[tuple[object, ...]] = []
    for arm, group in table.groupby("arm", sort=False):
        for point in best_of(floored(group["score"], metric, table["score"])):
            ends = sorted(_printed(results, end) for end in (point.low, point.high))
            rows.append((arm, point.budget, _printed(results, point.mean), *ends))
    return pd.DataFrame(rows, columns=["arm", "budget", "value", "low", "high"])


def _printed(results: Results, found: float) -> float:
    sign = 1 if results.plan.study.decision.wants_high else -1
    return sign * found * scored_by(results).factor


def best_setting(results: Results, arm: str) -> dict[str, float]:
    """The setting that an arm's tuning found; empty while it is not tuned."""
    return results.arm(arm).setting or {}


def setting_text(values: dict[str, float]) -> str:
    """``lr 0.00714, weight_decay 0.001``; a dash where there is nothing."""
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items()) or "–"


def warnings(results: Results, table: pd.DataFrame) -> list[str]:
    """A sentence for each arm whose best setting may not be the best there is, and for a tuning that is not over."""
    study = results.plan.study
    told = []
    for arm in tuned_arms(results.plan.arms) if study.tuned else ():
        values, own = best_setting(results, arm.name), table.loc[table["arm"] == arm.name, "score"]
        if not values:
            told.append(
                f"The tuning of {arm.name} is not over: {len(own)} of {study.tuning.trials} settings are scored."
            )
        elif len(own) and (own == WORST).all():
            told.append(f"No setting of {arm.name} finished: it was compared under the recipe as written.")
        else:
            told += [_edge(results, arm.name, name, values[name]) for name in at_edge(study, values)]
    return told


def _edge(results: Results, arm: str, name: str, value: float) -> str:
    span = results.plan.study.tuning.space[name]
    scale = " (log)" if span.log else ""
    return (
        f"The best {name} of {arm}, {value:.3g}, lies at the edge of the range that was searched, {span.low:g} to "
        f"{span.high:g}{scale}: a better one may lie beyond."
    )


def best_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """The table behind the figure, as printed text: what each arm tried, what was best, and what that brought."""
    measure, rows = scored_by(results), []
    for arm, group in table.groupby("arm", sort=False):
        values = best_setting(results, str(arm))
        first = group["value"][group["setting"] == 0]
        best = group["value"].iloc[int(group["score"].to_numpy().argmax())]
        rows.append(
            {
                "arm": arm,
                "settings": len(group),
                "failed or diverged": int((group["score"] == WORST).sum()),
                f"{measure.axis}, recipe as written": number(
                    float(first.iloc[0]) if len(first) else None, measure.digits
                ),
                f"{measure.axis}, best": number(float(best), measure.digits),
                "best setting": setting_text(values),
                "at the edge": (", ".join(at_edge(results.plan.study, values)) if values else "") or "–",
            }
        )
    return pd.DataFrame(rows)


def setting_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Every setting that was tried, as printed text."""
    measure, space = scored_by(results), list(results.plan.study.tuning.space)
    return pd.DataFrame(
        {
            "arm": table["arm"],
            "setting": table["setting"] + 1,
            **{name: [f"{value:.3g}" for value in table[name]] for name in space},
            measure.axis: [number(value, measure.digits) for value in table["value"]],
            "status": ["failed or diverged" if found == WORST else "scored" for found in table["score"]],
        }
    )
