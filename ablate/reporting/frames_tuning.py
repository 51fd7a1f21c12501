"""What the tuning found as pandas frames, and what a reader must know of it in sentences.

Scores are in printed units of the metric on the validation images (accuracy in percent, loss in nats). Rows are in the
order of the plan; everything is empty where the study tunes nothing.
"""

from __future__ import annotations

import dataclasses
import math

import pandas as pd

from ablate.design.arms import NOISE_FLOOR
from ablate.design.tuning import at_edge, tuned_by
from ablate.reporting.results import Results
from ablate.reporting.style import Unit, number
from ablate.verdicts.search import WORST, best_of, floored, is_scored, score


def scored_by(results: Results) -> Unit:
    """The unit of the metric that settings are chosen by."""
    found = results.unit_of(tuned_by(results.plan.study.decision.metric))
    return dataclasses.replace(found, axis=found.axis.replace("val ", "validation "))


def scores(results: Results) -> pd.DataFrame:
    """arm, block, setting (0: as written), score, value (printed) and what was set; a row a setting with records.

    A setting that failed or diverged has the score -inf and no value.
    """
    rows: list[dict[str, object]] = []
    for arm in results.plan.tuning:
        for place, setting in enumerate(arm.settings):
            if is_scored(setting, results.records):
                found = score(setting, results.records, results.plan.study.decision)
                value = math.nan if found == WORST else _printed(results, found)
                rows.append(
                    {
                        "arm": arm.arm,
                        "block": arm.block,
                        "setting": place,
                        "score": found,
                        "value": value,
                        **setting.values,
                    }
                )
    names = ["arm", "block", "setting", "score", "value", *results.plan.study.tuning.space]
    return pd.DataFrame(rows, columns=names).astype({"score": float, "value": float})


def expected_best(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """arm, budget, value, low, high: the best to be expected of so many settings, from ``scores``' table."""
    metric = results.plan.study.decision.metric
    rows: list[tuple[object, ...]] = []
    for arm, group in table.groupby("arm", sort=False):
        for point in best_of(floored(group["score"], metric, table["score"]))[: results.plan.study.tuning.trials]:
            ends = sorted(_printed(results, end) for end in (point.low, point.high))
            rows.append((arm, point.budget, _printed(results, point.mean), *ends))
    return pd.DataFrame(rows, columns=["arm", "budget", "value", "low", "high"])


def _printed(results: Results, found: float) -> float:
    sign = 1 if results.plan.study.decision.wants_high else -1
    return sign * found * scored_by(results).factor


def best_setting(results: Results, arm: str, block: int = 0) -> dict[str, float]:
    """The setting that an arm's tuning found in a block; empty while it is not tuned."""
    found = results.arm(arm)
    return (found.settings[block] if found.settings else found.setting) or {}


def best_text(results: Results, arm: str) -> str:
    """The setting that an arm's tuning found; of several tunings the range of each field."""
    found = results.arm(arm)
    if not found.settings:
        return setting_text(found.setting or {})
    spans = {name: sorted(one[name] for one in found.settings) for name in found.settings[0]}
    return ", ".join(f"{name} {values[0]:.3g} to {values[-1]:.3g}" for name, values in spans.items())


def setting_text(values: dict[str, float]) -> str:
    """``lr 0.00714, weight_decay 0.001``; a dash where there is nothing."""
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items()) or "–"


def tunings(results: Results) -> list[tuple[str, int, str]]:
    """Arm, block, and both in words, of every tuning that the study asks for."""
    study = results.plan.study
    blocks = study.tuning.blocks
    return [
        (arm.name, block, f"{arm.name}, block {block + 1}" if blocks > 1 else arm.name)
        for arm in (results.plan.arms if study.tuned else ())
        for block in range(blocks)
    ]


def warnings(results: Results, table: pd.DataFrame) -> list[str]:
    """A sentence for each arm whose best setting may not be the best there is, and for a tuning that is not over."""
    study = results.plan.study
    told = []
    for name, block, which in tunings(results):
        values = best_setting(results, name, block)
        own = table.loc[(table["arm"] == name) & (table["block"] == block), "score"]
        if not values:
            told.append(f"The tuning of {which} is not over: {len(own)} of {study.tuning.trials} settings are scored.")
        elif len(own) and (own == WORST).all():
            told.append(f"No setting of {which} finished: it was compared under the recipe as written.")
        else:
            told += [_edge(results, which, field, values[field]) for field in at_edge(study, values)]
    return told


def _edge(results: Results, arm: str, name: str, value: float) -> str:
    span = results.plan.study.tuning.space[name]
    scale = " (log)" if span.log else ""
    return (
        f"The best {name} of {arm}, {value:.3g}, is at the edge of the range that was searched, {span.low:g} to "
        f"{span.high:g}{scale}: a better one may lie beyond."
    )


def best_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """The table behind the figure, as printed text: what each arm tried, what was best, and what that brought."""
    measure, rows = scored_by(results), []
    several = results.plan.study.tuning.blocks > 1
    for arm, block, _ in tunings(results):
        group = table[(table["arm"] == arm) & (table["block"] == block)]
        if group.empty:
            continue
        values = best_setting(results, arm, block)
        first = group["value"][group["setting"] == 0]
        best = group["value"].iloc[int(group["score"].to_numpy().argmax())]
        rows.append(
            {
                "arm": arm,
                **({"block": block + 1} if several else {}),
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
            **({"block": table["block"] + 1} if results.plan.study.tuning.blocks > 1 else {}),
            "setting": table["setting"] + 1,
            **{name: [f"{value:.3g}" for value in table[name]] for name in space},
            measure.axis: [number(value, measure.digits) for value in table["value"]],
            "status": ["failed or diverged" if found == WORST else "scored" for found in table["score"]],
        }
    )


def curve_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Every arm at every setting that all of them tried, as printed text, by the first field that is tuned.

    Empty where an arm is tuned anew for each seed, or no setting is shared.
    """
    space, unit = list(results.plan.study.tuning.space), scored_by(results)
    if not space or results.plan.study.tuning.blocks > 1:
        return pd.DataFrame()
    arms = [arm.name for arm in results.plan.arms if arm.name != NOISE_FLOOR]
    wide = table[table["arm"].isin(arms)].pivot_table("value", index=space, columns="arm").reindex(columns=arms)
    wide = wide.dropna().sort_index()
    found = pd.DataFrame({name: [f"{value:.3g}" for value in wide.index.get_level_values(name)] for name in space})
    for arm in arms:
        found[f"{arm}, {unit.axis}"] = [number(value, unit.digits) for value in wide[arm]]
    for arm in arms[1:]:
        found[f"{arm} - {arms[0]}"] = [unit.signed(value / unit.factor) for value in wide[arm] - wide[arms[0]]]
    return found
