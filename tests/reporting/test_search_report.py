"""What the report says of a search: every candidate, the front, the luck, and what a reader must know."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ablate.campaign.optuna_search import search_importance
from ablate.campaign.schedule import Scheduler
from ablate.design.plan import Trial, make_plan
from ablate.design.read import load_study
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.reporting import charts_search, frames_search, terminal, words
from ablate.reporting.results import Results, results_of
from ablate.reporting.sections import SECTIONS

FACTORS = {
    "conv": ["depthwise", "full"],
    "recipe.optimizer": ["adamw", "sgd"],
    "recipe.lr": {"low": 1e-3, "high": 0.1, "log": True},
    "recipe.momentum": {"low": 0.5, "high": 0.99},
}


def train(trial: Trial) -> Record:
    value = 0.9 - 0.05 * abs(math.log10(trial.recipe.lr / 0.01)) + 0.002 * math.sin(trial.seed + 40 * trial.recipe.lr)
    metrics = {"val_accuracy": value, "val_loss": 1 - value}
    metrics |= {"test_accuracy": value, "test_loss": 1 - value} if trial.phase == "confirm" else {}
    diverged = trial.recipe.lr > 0.08
    return Record.of(trial, "diverged" if diverged else "finished", metrics={} if diverged else metrics, chance=0.25)


def searched(most: int = 10_000, **search: object) -> Results:
    study = Study.model_validate(
        {
            "name": "looking",
            "design": {"kind": "search"},
            "factors": FACTORS,
            "search": {"trials": 12, "confirm": 2, **search},
            "recipe": {"epochs": 6},
            "data": {"name": "synthetic"},
        }
    )
    scheduler, records = Scheduler(make_plan(study)), dict[str, Record]()
    while len(records) < most:
        missing = [trial for trial in scheduler.schedule(records).trials if trial.key not in records]
        if not missing:
            break
        records |= {trial.key: train(trial) for trial in missing[: most - len(records)]}
    plan = scheduler.schedule(records).plan
    costs = {arm.name: {"macs": 1000.0} for arm in plan.arms}
    return results_of(plan, costs, records, rank_factors=partial(search_importance, plan, records))


@pytest.fixture(scope="module")
def results() -> Results:
    return searched(pruner="successive_halving")


def test_every_candidate_has_a_row_with_its_epochs_and_what_became_of_it(results: Results) -> None:
    table = frames_search.candidates(results)
    assert list(table["candidate"]) == list(range(1, 13))
    assert table["status"].iloc[0] == "control"
    assert set(table.loc[table["arm"] != "", "status"]) == {"confirmed: best_1", "confirmed: best_2"}
    assert (table.loc[table["status"] == "stopped", "epochs"] == 2).all()
    assert (table.loc[table["arm"] != "", "epochs"] == 6).all()
    adaptive = table["recipe.optimizer"] == "adamw"
    assert table.loc[adaptive, "recipe.momentum"].isna().all()
    printed = frames_search.candidate_rows(results, table)
    assert (printed.loc[printed["recipe.optimizer"] == "adamw", "recipe.momentum"] == "–").all()


def test_luck_is_told_in_points_with_the_change_of_each_arm(results: Results) -> None:
    table = frames_search.luck(results)
    assert list(table["arm"]) == ["best_1", "best_2"]
    assert table["luck"].to_numpy() == pytest.approx((table["search_lead"] - table["confirmed_lead"]).to_numpy())
    records = results.records
    first = next(one for one in results.plan.search if one.number == table["candidate"].iloc[0])
    assert table["search"].iloc[0] == pytest.approx(
        100 * records[first.rungs[-1].trials[0].key].metrics["val_accuracy"]
    )
    assert "recipe.lr" in frames_search.luck_rows(results, table)["change"].iloc[0]


def test_coordinates_lie_between_the_ends_and_the_front_is_a_part_of_the_whole(results: Results) -> None:
    table = frames_search.candidates(results)
    places = frames_search.coordinates(results, table[table["value"].notna()])["place"]
    assert places.between(0, 1).all()
    whole = frames_search.whole(table)
    front = frames_search.on_front(whole)
    assert 1 <= len(front) <= len(whole)
    assert front["value"].max() == whole["value"].max()


def test_the_section_draws_lead_front_and_coordinates_the_same_each_time(results: Results) -> None:
    section = next(one for one in SECTIONS if one.name == "search")
    names = [part.name for part in section.parts(results) if hasattr(part, "svg")]
    assert names == ["search_lead", "search_front", "search_parallel"]
    for draw in (charts_search.lead, charts_search.front, charts_search.parallel):
        one, two = draw(results), draw(results)
        assert one is not None
        assert two is not None
        assert one.svg() == two.svg()


def test_importance_is_shown_as_shares(results: Results) -> None:
    rows = frames_search.importance_rows(results)
    assert set(rows["factor"]) == set(FACTORS)
    assert rows["factor"].iloc[0] == "recipe.lr"


def test_a_search_that_is_not_over_says_how_far_it_is() -> None:
    results = searched(most=5)
    said = frames_search.warnings(results, frames_search.candidates(results))
    assert said == ["The search is not over: 5 of 12 candidates have a score."]
    assert charts_search.lead(results) is None


def test_a_value_at_the_edge_of_its_range_is_told() -> None:
    results = searched(sampler="random", trials=12)
    arm = results.plan.arms[1]
    one = next(found for found in results.plan.search if found.arm.setup == arm.setup)
    edge = replace(one, values={**one.values, "recipe.lr": 0.1})
    moved = replace(results.plan, search=tuple(edge if found is one else found for found in results.plan.search))
    said = frames_search.warnings(replace(results, plan=moved), frames_search.candidates(results))
    assert any(text.startswith("recipe.lr of best_1, 0.1, is at the edge") for text in said)


def test_the_terminal_says_what_each_confirmed_arm_changes(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.print_results(results)
    told = capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ")
    assert f"best_1: {words.change(results.arm('best_1'), results.plan.study)[:12]}" in told.replace("\n", " ")


def test_the_study_of_a_search_reads_back_from_its_report(results: Results, tmp_path: Path) -> None:
    study = results.plan.study
    path = tmp_path / "looking.toml"
    path.write_text(words.study_text(study))
    assert load_study(path) == study


def test_a_study_without_a_search_has_no_such_section(make_findings: object) -> None:
    section = next(one for one in SECTIONS if one.name == "search")
    assert section.parts(make_findings()) == ()  # type: ignore[operator]
