"""Frames against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pandas as pd
import pytest

from ablate.reporting import frames, tables
from ablate.reporting.results import Results


def test_every_planned_trial_has_a_row_and_one_without_a_record_is_missing(
    make_findings: Callable[..., Results],
) -> None:
    table = frames.trials(make_findings(drop=2))
    assert len(table) == 3 * 8
    assert (table["status"] == "missing").sum() == 2
    assert list(table["arm"].unique()) == ["control", "relu_bottleneck", "full"]
    assert list(table["seed"][:8]) == list(range(8))


def test_a_failed_trial_keeps_its_reason_and_gives_no_score(results: Results) -> None:
    key = results.plan.trials[0].key
    broken = dataclasses.replace(results.records[key], status="failed", metrics={}, reason="out of memory")
    worse = dataclasses.replace(results, records={**results.records, key: broken})
    table = frames.trials(worse)
    assert list(table.loc[table["key"] == key, "reason"]) == ["out of memory"]
    assert len(frames.scores(table, "test_accuracy")) == len(frames.scores(frames.trials(results), "test_accuracy")) - 1


def test_scores_are_in_percent_and_losses_as_they_are(results: Results) -> None:
    table = frames.trials(results)
    record = results.records[results.plan.trials[0].key]
    assert frames.scores(table, "test_accuracy")["value"][0] == pytest.approx(100 * record.metrics["test_accuracy"])
    assert frames.scores(table, "test_loss")["value"][0] == pytest.approx(record.metrics["test_loss"])


def test_the_interval_of_a_mean_is_students() -> None:
    values = pd.DataFrame({"arm": ["a"] * 4 + ["b"], "seed": [0, 1, 2, 3, 0], "value": [1.0, 2.0, 3.0, 4.0, 9.0]})
    table = frames.summary(values, ("a", "b", "c")).set_index("arm")
    half = 3.182446 * math.sqrt(5 / 3) / 2  # t at 97.5 % with 3 degrees of freedom, sd over the root of 4
    assert table.loc["a", "mean"] == 2.5
    assert table.loc["a", "low"] == pytest.approx(2.5 - half, abs=1e-5)
    assert table.loc["a", "high"] == pytest.approx(2.5 + half, abs=1e-5)
    assert table.loc["b", "mean"] == 9
    assert math.isnan(table.loc["b", "low"])
    assert table.loc["c", "n"] == 0
    assert math.isnan(table.loc["c", "mean"])


def test_pairs_and_contrasts_are_points_of_the_judgements_differences(results: Results) -> None:
    contrast = results.judgement.verdicts[0].contrast
    assert contrast is not None
    pairs = frames.pairs(results)
    own = pairs[pairs["arm"] == contrast.arm]
    assert list(own["seed"]) == list(contrast.seeds)
    assert list(own["value"]) == pytest.approx([100 * d for d in contrast.differences])
    table = frames.contrasts(results)
    assert list(table["arm"]) == ["relu_bottleneck", "full", "noise_floor"]
    assert table["mean"][0] == pytest.approx(100 * contrast.mean_difference)
    assert table["adjusted_p"][0] == contrast.adjusted_p


def test_the_median_and_the_joint_interval_stand_beside_the_mean(results: Results) -> None:
    verdict = results.judgement.verdicts[0]
    assert verdict.contrast is not None
    contrast = dataclasses.replace(verdict.contrast, median_difference=-0.012, joint_low=-0.03, joint_high=-0.01)
    verdicts = (dataclasses.replace(verdict, contrast=contrast), *results.judgement.verdicts[1:])
    judgement = dataclasses.replace(results.judgement, verdicts=verdicts)
    changed = dataclasses.replace(results, judgement=judgement)
    row = tables.contrast_rows(changed, frames.contrasts(changed)).iloc[0]
    assert (row["median"], row["joint interval"]) == ("\N{MINUS SIGN}1.20", "[\N{MINUS SIGN}3.00, \N{MINUS SIGN}1.00]")


def test_an_arm_that_is_not_judged_has_a_row_without_numbers(make_findings: Callable[..., Results]) -> None:
    table = frames.contrasts(make_findings(drop=3))
    assert set(table["outcome"]) == {"not judged"}
    assert table["mean"].isna().all()


def test_mean_curves_average_over_seeds(results: Results) -> None:
    curves = frames.curves(results)
    assert len(curves) == 4 * 8 * 4
    means = frames.mean_curves(curves, "val_accuracy", results.arms)
    own = [r.curve[0].val_accuracy for t, r in results.outcomes() if t.arm == "full" and r is not None]
    first = means[(means["arm"] == "full") & (means["epoch"] == 1)]["value"].item()
    assert first == pytest.approx(100 * sum(own) / 8)
    assert list(dict.fromkeys(means["arm"])) == list(results.arms)


def test_training_is_drawn_by_step_where_the_record_has_the_steps(results: Results) -> None:
    (trial, record), *_ = results.outcomes()
    assert record is not None
    coarse = frames.step_curves(results)
    assert set(coarse["epoch"]) == {1.0, 2.0, 3.0, 4.0}
    first = dataclasses.replace(record.curve[0], step_losses=(3.0, 2.0), step_accuracies=(0.1, 0.3))
    finer = dataclasses.replace(record, curve=(first, *record.curve[1:]))
    table = frames.step_curves(dataclasses.replace(results, records={**results.records, trial.key: finer}))
    own = table[(table["arm"] == trial.arm) & (table["seed"] == trial.seed)].head(2)
    assert own[["epoch", "train_loss", "train_accuracy"]].to_numpy().tolist() == [[0.5, 3.0, 10.0], [1.0, 2.0, 30.0]]


def test_costs_carry_what_was_counted_and_what_was_measured(results: Results) -> None:
    table = frames.arm_costs(results).set_index("arm")
    assert table.loc["control", "macs"] == 2_586_736
    assert table.loc["control", "measured_peak_bytes"] == 90_000_000
    assert math.isnan(table.loc["control", "latency_batch_ms"])


def test_measured_times_and_memory_are_left_out_where_arms_ran_on_different_kernels(results: Results) -> None:
    def on(kernels: dict[str, str]) -> pd.DataFrame:
        records = {
            key: dataclasses.replace(
                record, measured=dataclasses.replace(record.measured, kernels=kernels.get(record.arm, "torch"))
            )
            for key, record in results.records.items()
        }
        return frames.arm_costs(dataclasses.replace(results, records=records))

    measured = ["measured_peak_bytes", "train_s"]
    pd.testing.assert_frame_equal(on({}), frames.arm_costs(results))
    apart = on({"control": "native avx2"})
    assert apart[measured].isna().all().all()
    pd.testing.assert_frame_equal(apart.drop(columns=measured), frames.arm_costs(results).drop(columns=measured))


def test_cells_of_a_factorial_study_carry_each_arms_levels(toggles: Results) -> None:
    cells = frames.cells(toggles, frames.scores(frames.trials(toggles), "test_accuracy"))
    assert len(cells) == 16 * 3
    assert cells.groupby(["residual", "bottleneck", "activation", "conv"]).size().eq(3).all()


def test_effects_are_in_points_with_interactions_marked(toggles: Results) -> None:
    table = frames.effects(toggles)
    assert table["mean"][0] == pytest.approx(-0.4)
    assert list(table["order"]) == [1, 1, 1, 1, 2]
    assert table["label"].iloc[-1] == "residual × conv"


def test_the_verdict_table_has_the_columns_of_the_report_and_the_cost_ratio(results: Results) -> None:
    table = tables.verdict_rows(results)
    assert list(table.columns) == [
        "arm", "change", "difference (points)", "95 % interval", "p", "adjusted p", "verdict", "expected",
        "MACs / control",
    ]  # fmt: skip
    row = table.iloc[0]
    assert row["change"].replace("\N{NO-BREAK SPACE}", " ") == "bottleneck: linear → relu"
    assert (row["verdict"], row["expected"], row["p"], row["adjusted p"]) == ("worse", "worse (held)", ".008", ".016")
    assert (row["MACs / control"], table.iloc[1]["MACs / control"]) == ("1.00×", "2.00×")


def test_matched_arms_stand_beside_the_same_change_unmatched(make_findings: Callable[..., Results]) -> None:
    made = make_findings(
        match="macs",
        control={"net": "mobilenet_v2_mnist", "divisor": 2},
        arms={"classic": {"residual": "classic"}, "relu": {"activation": "relu"}},
        expect={},
    )
    table = frames.matched(made)
    couple = table[table["change"] == "classic"]
    assert list(couple["matched"]) == [False, True]
    assert couple["mean"].notna().all()
    assert set(tables.matched_rows(made)["arm"]) == {arm.name for arm in made.plan.arms if arm.match is not None}


def test_the_steps_of_a_roadmap_say_what_each_one_changed(make_findings: Callable[..., Results]) -> None:
    control = {"net": "mobilenet_v2_mnist", "bottleneck": "relu", "activation": "relu"}
    made = make_findings(
        control=control, arms={}, expect={}, design={"kind": "add_one_in", "to": {"net": "mobilenet_v2_mnist"}}
    )
    points = frames.against_cost(
        frames.summary(frames.scores(frames.trials(made), "test_accuracy"), made.arms), frames.arm_costs(made)
    )
    assert list(frames.steps(made, points)["step"]) == [
        "control", "+ bottleneck: relu → linear", "+ activation: relu → relu6",
    ]  # fmt: skip


def test_the_level_of_guessing_is_that_of_the_studys_own_data_set(results: Results) -> None:
    key = results.plan.trials[0].key
    other = dataclasses.replace(results.records[key], chance=0.25)
    assert frames.chance(dataclasses.replace(results, records={**results.records, "at another level": other})) == 10.0
