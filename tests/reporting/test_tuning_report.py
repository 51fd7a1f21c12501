from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from ablate.campaign.schedule import Scheduler, unfold
from ablate.design.noun import Range
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.read import load_study
from ablate.design.record import Record
from ablate.design.study import Decision, Plan, Tuning
from ablate.reporting import charts, frames, frames_tuning, tables, words
from ablate.reporting.results import Results
from ablate.verdicts.judge import judge

SPACE = {"lr": Range(low=1e-3, high=1e-1, log=True)}
Make = Callable[..., Results]


def trained(trial: Trial) -> Record:
    """The control is best at a rate of 0.01, ``relu_bottleneck`` at the highest; ``full`` never finishes."""
    rate = trial.recipe.lr
    value = 0.9 - 0.1 * abs(math.log10(rate / 0.01)) if trial.arm == "control" else 0.5 + rate
    metrics = {"val_accuracy": value, "val_loss": 1 - value, "test_accuracy": value, "test_loss": 1 - value}
    fails = trial.arm == "full" and trial.phase == "tuning"
    return Record(
        key=trial.key, study=trial.study, arm=trial.arm, seed=trial.seed, status="diverged" if fails else "finished",
        metrics={} if fails else metrics,
    )  # fmt: skip


def tuned(
    make_findings: Make, *, settings: int = 33, drop: int = 0, blocks: Tuning | None = None, **study: Any
) -> Results:
    tuning = blocks or Tuning(trials=settings, space=SPACE)
    results = make_findings(noise_floor=True, tuning=tuning, **study)
    records: dict[str, Record] = {}

    def read(keys: list[str]) -> dict[str, Record]:
        if drop and len(records) > drop:
            return {}
        trials = {trial.key: trial for trial in _every(results.plan, records)}
        records.update({key: trained(trials[key]) for key in keys[: drop or None]})
        return records

    needs, _ = unfold(results.plan, read)
    return replace(results, plan=needs.plan, records=dict(records), needed=frozenset(t.key for t in needs.trials))


def _every(plan: CampaignPlan, records: dict[str, Record]) -> tuple[Trial, ...]:
    return Scheduler(plan).schedule(records).trials


@pytest.fixture(scope="module")
def results(make_findings: Make) -> Results:
    return tuned(make_findings)


def test_every_setting_of_every_arm_has_its_score_in_percent(results: Results) -> None:
    table = frames_tuning.scores(results)
    assert dict(table.groupby("arm").size()) == dict.fromkeys(results.arms, 33)
    control = table[table["arm"] == "control"]
    assert control["value"].tolist() == pytest.approx(
        [90 - 10 * abs(math.log10(rate / 0.01)) for rate in control["lr"]]
    )
    assert table[table["arm"] == "full"]["value"].isna().all()


def test_the_expected_best_rises_from_the_mean_towards_the_highest_score(results: Results) -> None:
    table = frames_tuning.scores(results)
    best = frames_tuning.expected_best(results, table)
    for arm in ("control", "relu_bottleneck"):
        values = table[table["arm"] == arm]["value"]
        curve = best[best["arm"] == arm]
        assert curve["budget"].tolist() == list(range(1, 34))
        assert curve["value"].iloc[0] == pytest.approx(values.mean())
        assert (curve["low"] <= curve["value"] + 1e-9).all()
        assert (curve["high"] >= curve["value"] - 1e-9).all()
        assert curve["high"].max() <= values.max() + 1e-9
    assert (best[best["arm"] == "full"]["value"] == 0).all()


def test_a_loss_is_drawn_as_a_loss_which_falls(make_findings: Make) -> None:
    results = tuned(make_findings, decision=Decision(metric="test_loss", margin=0.1))
    table = frames_tuning.scores(results)
    curve = frames_tuning.expected_best(results, table)
    control = curve[curve["arm"] == "control"]["value"]
    assert control.is_monotonic_decreasing
    assert (control > 0).all()
    assert frames_tuning.scored_by(results).axis == "validation loss (nats)"
    full = curve[curve["arm"] == "full"]["value"]
    assert full.tolist() == pytest.approx([table["value"].max()] * 33)


def test_a_best_setting_at_the_edge_is_said_and_so_is_an_arm_of_which_none_finished(results: Results) -> None:
    first, second, _ = frames_tuning.warnings(results, frames_tuning.scores(results))
    assert first.startswith("The best lr of relu_bottleneck, 0.0")
    assert first.endswith(
        "is at the edge of the range that was searched, 0.001 to 0.1 (log): a better one may lie beyond."
    )
    assert second == "No setting of full finished: it was compared under the recipe as written."


def test_the_table_tells_what_was_tried_what_was_best_and_what_that_brought(results: Results) -> None:
    table = frames_tuning.scores(results)
    printed = frames_tuning.best_rows(results, table).set_index("arm")
    values = table[table["arm"] == "control"]["value"]
    row = printed.loc["control"]
    assert row["settings"] == 33
    assert row["validation accuracy (%), best"] == f"{values.max():.2f}"
    assert row["validation accuracy (%), recipe as written"] == f"{90 + 10 * math.log10(0.6):.2f}"
    recipe = results.arm("control").recipe
    assert row["best setting"] == f"lr {recipe.lr:.3g}"
    assert printed.loc["full", "failed or diverged"] == 33
    assert printed.loc["full", "best setting"] == "lr 0.006"
    assert printed.loc["relu_bottleneck", "at the edge"] == "lr"


def test_the_table_of_arms_names_each_best_setting(results: Results) -> None:
    scores = frames.scores(frames.trials(results), "test_accuracy")
    rows = tables.arm_rows(results, frames.summary(scores, results.arms)).set_index("arm")["best setting"]
    assert rows["relu_bottleneck"] != rows["control"]


def test_the_figure_is_drawn_the_same_each_time_with_a_panel_an_arm(results: Results) -> None:
    pictures = [charts.tuning(results) for _ in range(2)]
    first, second = (chart.svg() for chart in pictures if chart is not None)
    assert first == second
    assert pictures[0] is not None
    assert len([axes for axes in pictures[0].figure.axes if axes.get_visible()]) == 4


def test_a_tuning_that_is_not_over_says_so(make_findings: Make) -> None:
    results = tuned(make_findings, drop=6)
    told = frames_tuning.warnings(results, frames_tuning.scores(results))
    assert told[0] == "The tuning of control is not over: 2 of 33 settings are scored."
    assert len(told) == len(results.arms) == 4


def test_a_study_without_tuning_has_none_of_it(make_findings: Make) -> None:
    results = make_findings()
    table = frames_tuning.scores(results)
    assert table.empty
    assert frames_tuning.warnings(results, table) == []
    scores = frames.scores(frames.trials(results), "test_accuracy")
    assert "best setting" not in tables.arm_rows(results, frames.summary(scores, results.arms))
    assert isinstance(frames_tuning.best_rows(results, table), pd.DataFrame)


def test_every_setting_is_listed_and_the_study_text_reads_back(results: Results, tmp_path: Any) -> None:
    rows = frames_tuning.setting_rows(results, frames_tuning.scores(results))
    assert len(rows) == 4 * 33
    assert (rows[rows["arm"] == "full"]["status"] == "failed or diverged").all()
    path = tmp_path / "linear_bottleneck.toml"
    path.write_text(words.study_text(results.plan.study))
    assert load_study(path) == results.plan.study


def test_where_each_seed_has_a_tuning_of_its_own_every_block_has_its_row(make_findings: Make) -> None:
    study = {"plan": Plan(seeds=3), "arms": {"relu_bottleneck": {"bottleneck": "relu"}}}
    blocks = Tuning(trials=4, blocks=3, space=SPACE)
    made = tuned(make_findings, settings=4, blocks=blocks, **study)
    table = frames_tuning.scores(made)
    assert len(table) == 3 * 3 * 4
    rows = frames_tuning.best_rows(made, table)
    assert list(zip(rows["arm"], rows["block"], strict=True)) == [
        (arm, block) for arm in ("control", "relu_bottleneck", "noise_floor") for block in (1, 2, 3)
    ]
    assert " to " in frames_tuning.best_text(made, "control")
    assert frames_tuning.expected_best(made, table)["budget"].max() == 4
    assert not any("not over" in told for told in frames_tuning.warnings(made, table))
    judged = judge(made.plan, made.records)
    assert judged.sensitivities == ()
    assert any(told.startswith("Each of the 3 seeds confirms its own tuning") for told in judged.statements)


def test_the_contrast_is_shown_at_every_setting_that_all_arms_finished(make_findings: Make) -> None:
    results = tuned(make_findings, settings=5, arms={"relu_bottleneck": {"bottleneck": "relu"}})
    curve = frames_tuning.curve_rows(results, frames_tuning.scores(results))
    (arm,) = results.plan.tuning[1:2]
    rates = sorted(setting.values["lr"] for setting in arm.settings)
    assert curve["lr"].tolist() == [f"{rate:.3g}" for rate in rates]
    control = [90 - 10 * abs(math.log10(rate / 0.01)) for rate in rates]
    other = [50 + 100 * rate for rate in rates]
    assert curve["control, validation accuracy (%)"].tolist() == [f"{value:.2f}" for value in control]
    moved = [f"{b - a:+.2f}".replace("-", "\N{MINUS SIGN}") for a, b in zip(control, other, strict=True)]
    assert curve["relu_bottleneck - control"].tolist() == moved
    unfinished = tuned(make_findings, settings=5)  # no setting of the arm "full" finishes
    assert frames_tuning.curve_rows(unfinished, frames_tuning.scores(unfinished)).empty
