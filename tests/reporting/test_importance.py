"""Optuna's importance in the report of a factorial study."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from ablate.campaign.optuna_driver import importance
from ablate.design.plan import make_plan
from ablate.design.read import load_study
from ablate.design.record import EpochPoint, Record
from ablate.reporting import frames, words
from ablate.reporting.figures_factorial import effects
from ablate.reporting.load import results_from
from ablate.reporting.page import laid, lay_out
from ablate.reporting.sections import SECTIONS
from ablate.reporting.style import unit


def point(epoch: int) -> EpochPoint:
    return EpochPoint(epoch=epoch, train_loss=1.0, train_accuracy=0.5, val_loss=1.0, val_accuracy=0.5, lr=0.1)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    from ablate.campaign.options import CampaignResult

    plan = make_plan(load_study("toggles", overrides={"plan.seeds": 6}))
    records = {}
    for trial in plan.trials:
        levels = plan.arm(trial.arm).factors
        accuracy = 0.9 - 0.05 * (levels["bottleneck"] == "relu") - 0.01 * (levels["conv"] == "full")
        metrics = {"test_accuracy": accuracy + 0.0001 * trial.seed, "test_loss": 1.0}
        curve = tuple(point(epoch) for epoch in (1, 2))
        records[trial.key] = Record.of(trial, "finished", metrics=metrics, curve=curve)
    costs = {arm.name: {"macs": 100 + place, "params": 10} for place, arm in enumerate(plan.arms)}
    held = CampaignResult(plan=plan, needed=tuple(records), records=records, costs=costs)
    return results_from(held, tmp_path_factory.mktemp("runs"))


def test_importance_is_the_share_that_a_factor_has_of_the_variance(results) -> None:
    shares = importance(results.plan, results.records)
    # two balanced factors without interaction: a level's deviation is half the effect, so shares are as 5^2 to 1^2
    assert shares["bottleneck"] == pytest.approx(25 / 26, abs=0.02)
    assert shares["conv"] == pytest.approx(1 / 26, abs=0.02)
    assert sum(shares.values()) == pytest.approx(1)


def test_the_page_shows_importance_beside_the_effects_and_says_how_they_differ(results) -> None:
    (verdicts,) = [section for section in SECTIONS if section.name == "verdicts"]
    page = lay_out("title", "heading", "", [laid("verdicts", verdicts.title, verdicts.parts(results))])
    assert "importance (% of variance)" in page.replace("<wbr>", "")
    assert "It has no sign and no error rate" in page


def test_the_sentence_names_both_orders_where_they_differ() -> None:
    ranked = pd.DataFrame({"factor": ["a", "b", "seed"], "share": [0.7, 0.2, 0.1], "mean": [1.0, -2.0, math.nan]})
    assert words.importance_differs(ranked).startswith("Importance ranks a, b; the size of the main effect ranks b, a.")
    assert words.importance_differs(ranked.head(0)) == ""


def test_of_a_factor_with_several_levels_the_largest_main_effect_is_shown(results) -> None:
    table = pd.DataFrame({"term": ["conv", "conv"], "order": [1, 1], "mean": [1.0, -3.0]})
    assert frames.importance(results, table).set_index("factor").loc["conv", "mean"] == -3.0


def test_every_row_of_the_figure_of_effects_has_a_name_of_its_own() -> None:
    rows = [
        ("width", "0.5 − 1", 1), ("width", "0.35 − 1", 1), ("stride", "1 − 2", 1),
        ("width × stride", "(0.5 − 1) × (1 − 2)", 2), ("width × stride", "(0.35 − 1) × (1 − 2)", 2),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["label", "contrast", "order"])
    table = table.assign(mean=1.0, low=0.0, high=2.0, adjusted_p=0.5)
    names = [text.get_text() for text in effects(table, 0.5, unit("test_accuracy")).axes[0].get_yticklabels()]
    assert len(set(names)) == len(rows)
