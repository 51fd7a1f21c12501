"""What a search tried and found as pandas frames, and what a reader must know of it in sentences.

Scores are in printed units of the metric on the validation data (accuracy in percent, loss in nats). Everything is
empty where the study searches nothing.
"""

from __future__ import annotations

import math

import pandas as pd

from ablate.design.search import Candidate
from ablate.design.space import Axis, space_of
from ablate.design.study import Level
from ablate.design.tuning import EDGE
from ablate.reporting import words
from ablate.reporting.frames_tuning import scored_by
from ablate.reporting.results import Results
from ablate.reporting.style import number
from ablate.verdicts.explored import confirmed_candidates, cost_of, final_score, lucks, pareto
from ablate.verdicts.search import WORST, is_scored, score

_OWN_COLUMNS = ("candidate", "bracket", "epochs", "score", "value", "cost", "status", "arm")
COSTS = {"macs": "MACs", "params": "parameters", "latency": "latency (ms)"}
CONTROL_ROW, STOPPED, FAILED, TRIED = "control", "stopped", "failed or diverged", "tried"


def axes_of(results: Results) -> tuple[Axis, ...]:
    """The axes of the study's space."""
    return space_of(results.plan.study, results.plan.control.setup)


def candidates(results: Results) -> pd.DataFrame:
    """candidate, bracket, epochs, score, value (printed), cost, status, arm, and a column a factor; a row a candidate.

    ``epochs`` are those of its last score. A candidate without a score yet has no row; one that failed has no value.
    """
    plan = results.plan
    names = {one.number: arm for arm, one in confirmed_candidates(plan, results.records).items()}
    rows = [row for one in plan.search if (row := _row(results, one, names.get(one.number, ""))) is not None]
    frame = pd.DataFrame(rows, columns=[*_OWN_COLUMNS, *map(column, plan.study.factors)])
    return frame.astype({"score": float, "value": float, "cost": float})


def column(factor: str) -> str:
    """The column of a factor: its name, but for a field of the user's own that is called like another column."""
    return f"control.{factor}" if factor in _OWN_COLUMNS else factor


def _row(results: Results, candidate: Candidate, arm: str) -> dict[str, object] | None:
    study, records = results.plan.study, results.records
    scored = [rung for rung in candidate.rungs if is_scored(rung, records)]
    if not scored:
        return None
    found = score(scored[-1], records, study.decision)
    status = FAILED if found == WORST else TRIED if final_score(study, candidate, records) is not None else STOPPED
    if candidate.number == 1:
        status = CONTROL_ROW
    return {
        "candidate": candidate.number,
        "bracket": candidate.bracket,
        "epochs": scored[-1].epochs,
        "score": found,
        "value": math.nan if found == WORST else _printed(results, found),
        "cost": cost_of(study, results.plan.data, candidate, records),
        "status": f"confirmed: {arm}" if arm else status,
        "arm": arm,
        **{column(name): candidate.values.get(name) for name in study.factors},
    }


def _printed(results: Results, found: float) -> float:
    sign = 1 if results.plan.study.decision.wants_high else -1
    return sign * found * scored_by(results).factor


def whole(table: pd.DataFrame) -> pd.DataFrame:
    """Of ``candidates``' table, those that were trained with all their epochs and finished."""
    return table[~table["status"].isin([STOPPED, FAILED]) & (table["score"] != WORST)]


def on_front(table: pd.DataFrame) -> pd.DataFrame:
    """Of ``whole``'s table, the candidates that no other beats in score and cost, the cheapest first."""
    known = table.dropna(subset=["cost"])
    places = pareto(list(zip(known["score"], known["cost"], strict=True)))
    return known.iloc[places].sort_values("cost", ignore_index=True)


def coordinates(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """candidate, axis, place (0 to 1), text, value, arm: where each candidate lies on every axis.

    A factor that does not count at a candidate's point has no row.
    """
    rows = [
        (line["candidate"], axis.name, axis.place(held), told(held), line["value"], line["arm"])
        for line in table.to_dict("records")
        for axis in axes_of(results)
        if (held := line[column(axis.name)]) is not None and not _missing(held)
    ]
    return pd.DataFrame(rows, columns=["candidate", "axis", "place", "text", "value", "arm"])


def _missing(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def told(value: Level | None) -> str:
    """A value as people read it: ``0.0123``, ``silu``; a dash where it does not count."""
    if value is None or _missing(value):
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def luck(results: Results) -> pd.DataFrame:
    """arm, candidate, search and confirmed (printed values), search_lead, confirmed_lead, luck; a row a confirmed arm.

    Leads over the control in points or nats, turned so that more is better.
    """
    factor = scored_by(results).factor
    rows = [
        (
            one.arm,
            one.candidate,
            factor * one.search_value,
            factor * one.confirmed_value,
            factor * one.search_lead,
            factor * one.confirmed_lead,
            factor * one.luck,
        )
        for one in lucks(results.plan, results.records)
    ]
    names = ["arm", "candidate", "search", "confirmed", "search_lead", "confirmed_lead", "luck"]
    return pd.DataFrame(rows, columns=names)


def warnings(results: Results, table: pd.DataFrame) -> list[str]:
    """A sentence for each value at the edge of its range, and for a search that is not over or found too little."""
    study, plan = results.plan.study, results.plan
    if not study.searched:
        return []
    if plan.to_find:
        return [f"The search is not over: {len(table)} of {study.search.trials} candidates have a score."]
    said = []
    if len(plan.search) < (study.search.trials or 0):
        said.append(f"The search found {len(plan.search)} different candidates and no more.")
    found = confirmed_candidates(plan, results.records)
    if len(found) < study.search.confirm:
        of = "members of the front" if study.search.sampler == "nsga2" else "candidates"
        said.append(f"{words.count(len(found), 'arm')} confirmed, not {study.search.confirm}: no more {of} finished.")
    return said + [
        f"{axis.name} of {arm}, {told(one.values[axis.name])}, is at the edge of the range that was searched, "
        f"{axis.low:g} to {axis.high:g}{' (log)' * axis.log}: a better one may lie beyond."
        for arm, one in found.items()
        for axis in axes_of(results)
        if not axis.levels and axis.name in one.values and not EDGE < axis.place(one.values[axis.name]) < 1 - EDGE
    ]


def luck_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """The table of leads as printed text."""
    measure = scored_by(results)
    signed = {"search_lead": "lead in the search", "confirmed_lead": "lead confirmed", "luck": "luck"}
    return pd.DataFrame(
        {
            "arm": table["arm"],
            "change": [words.change(results.arm(arm), results.plan.study) for arm in table["arm"]],
            "candidate": table["candidate"],
            f"{measure.axis}, search": [number(value, measure.digits) for value in table["search"]],
            f"{measure.axis}, confirmed": [number(value, measure.digits) for value in table["confirmed"]],
            **{
                f"{name} ({measure.short})": [number(value, measure.digits, signed=True) for value in table[column]]
                for column, name in signed.items()
            },
        }
    )


def importance_rows(results: Results) -> pd.DataFrame:
    """Factor and its share of the variance of the scores, as printed text, the largest first."""
    shares = results.rank_factors()
    rows = [(name, f"{100 * share:.0f} %") for name, share in sorted(shares.items(), key=lambda pair: -pair[1])]
    return pd.DataFrame(rows, columns=["factor", "importance"])


def candidate_rows(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """Every candidate as printed text, the best score of the most epochs first."""
    study = results.plan.study
    measure, cost = scored_by(results), COSTS[study.search.cost]
    ordered = table.sort_values(["epochs", "score"], ascending=False, kind="stable")
    digits = 2 if study.search.cost == "latency" else 0
    costs = ["–" if math.isnan(value) else f"{value:,.{digits}f}" for value in ordered["cost"]]
    return pd.DataFrame(
        {
            "candidate": ordered["candidate"],
            **{name: [told(value) for value in ordered[name]] for name in map(column, study.factors)},
            **({"epochs": ordered["epochs"]} if study.search.pruner != "none" else {}),
            measure.axis: [number(value, measure.digits) for value in ordered["value"]],
            **({cost: costs} if ordered["cost"].notna().any() else {}),
            "status": ordered["status"],
        }
    )
