"""The charts of a search; None where there is nothing to draw."""

from __future__ import annotations

from ablate.reporting import figures_search, frames_search
from ablate.reporting.frames_tuning import scored_by
from ablate.reporting.parts import Chart
from ablate.reporting.results import Results


def front(results: Results) -> Chart | None:
    """Score against cost."""
    table = frames_search.whole(frames_search.candidates(results)).dropna(subset=["cost"])
    if table.empty:
        return None
    cost, best = frames_search.COSTS[results.plan.study.search.cost], frames_search.on_front(table)
    return Chart(
        name="search_front",
        figure=figures_search.front(table, best, cost, scored_by(results).axis, results.palette),
        data=table,
        caption=(
            "Every candidate that was trained with all its epochs; no candidate lies above the dashed line, the Pareto "
            "front. Scores of the search: chosen among many, they flatter the best."
        ),
        alt=f"Validation score of each candidate against its {cost}, with the Pareto front.",
    )


def parallel(results: Results) -> Chart | None:
    """Parallel coordinates of all candidates."""
    tried = frames_search.candidates(results)
    finished = tried[tried["value"].notna()]
    table = frames_search.coordinates(results, finished)
    names, pruned = list(results.plan.study.factors), results.plan.study.search.pruner != "none"
    if table.empty or len(names) < 2:
        return None
    return Chart(
        name="search_parallel",
        figure=figures_search.parallel(table, names, scored_by(results).axis),
        data=table,
        caption=(
            "A line a candidate, coloured by its score; confirmed ones are thick. At a gap a factor is not read."
            + " A candidate that was stopped has the score of its last epochs." * pruned
        ),
        alt="Parallel coordinates: the value of every factor for each candidate, coloured by validation score.",
    )


def lead(results: Results) -> Chart | None:
    """How much of the search's lead fresh seeds confirm."""
    table, unit = frames_search.luck(results), scored_by(results)
    if table.empty:
        return None
    return Chart(
        name="search_lead",
        figure=figures_search.lead(table, unit.short, unit.digits, results.palette),
        data=table,
        caption=(
            "Both on validation data. The best of many scores is the best partly by luck; with fresh seeds that part "
            "goes. Luck is the lead in the search minus the confirmed one."
        ),
        alt="Lead over the control in the search and with fresh seeds, a row an arm.",
    )
