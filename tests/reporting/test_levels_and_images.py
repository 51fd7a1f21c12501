"""Numeric levels, cost along the net, and images, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ablate.design.plan import make_plan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.measure.cost import estimate
from ablate.model.spec import NetSpec
from ablate.reporting import charts, figures_cost, figures_levels, frames, frames_images, frames_levels, tables
from ablate.reporting.canvas import draw
from ablate.reporting.results import Results, results_of
from ablate.training.returned import returned_of
from ablate.verdicts.bootstrap import crossed

Make = Callable[..., Results]
OWN = {
    "name": "own",
    "command": ("python", "-c", "pass", "{depth}"),
    "control": {"depth": 1},
    "arms": {"deeper": {"depth": 2}},
    "plan": {"seeds": 6},
    "decision": {"metric": "test_accuracy", "margin": 0.02},
}


def scores(results: Results) -> pd.DataFrame:
    return frames.scores(frames.trials(results), "test_accuracy")


def test_a_numeric_factor_has_the_mean_of_every_seed_at_each_level(make_findings: Make) -> None:
    control = {"net": "mobilenet_v2_mnist", "expand_ratio": 6}
    made = make_findings(
        arms={}, expect={}, control=control, factors={"expand_ratio": [6, 1, 3], "conv": ["depthwise", "full"]}
    )
    table = frames_levels.levels(made, scores(made))
    assert list(dict.fromkeys(table["level"])) == [1, 3, 6]
    assert set(table["factor"]) == {"expand_ratio"}
    own = [
        100 * record.metrics["test_accuracy"]
        for trial, record in made.outcomes()
        if record is not None and trial.seed == 3 and made.arm(trial.arm).factors["expand_ratio"] == 1
    ]
    assert len(own) == 2
    found = table.query("level == 1 and seed == 3")["value"].item()
    assert found == pytest.approx(sum(own) / 2)
    assert charts.levels(made) is not None


def test_single_changes_of_one_number_are_levels_too_and_words_are_none(make_findings: Make, results: Results) -> None:
    arms = {"half": {"width_mult": 0.5}, "double": {"width_mult": 2.0}}
    made = make_findings(arms=arms, expect={})
    table = frames_levels.levels(made, scores(made))
    assert list(dict.fromkeys(table["level"])) == [0.5, 1.0, 2.0]
    assert frames_levels.levels(results, scores(results)).empty


def test_cost_by_block_adds_up_to_the_cost_of_the_net_and_leaves_out_arms_that_cost_the_same(results: Results) -> None:
    table = frames_levels.cost_by_block(results)
    assert list(dict.fromkeys(table["arm"])) == ["control", "full"]  # a ReLU more costs no multiply-add
    for arm, own in table.groupby("arm"):
        spec = results.arm(str(arm)).spec
        assert isinstance(spec, NetSpec)
        assert own["macs"].sum() == estimate(spec, (1, 28, 28), batch_size=1, optimizer="sgd").macs
    places = list(table[table["arm"] == "control"]["place"])
    assert (places[0], places[1], places[-1]) == ("stem", "block 1", "head")


def test_labels_come_back_from_the_answers_that_were_right(results: Results) -> None:
    known = frames_images.labels(results, ["control", "full"])
    seen = known != frames_images.NO_LABEL
    assert seen.mean() > 0.99
    assert (known[seen] == (np.arange(1000) % 10)[seen]).all()


def test_confusion_counts_the_wrong_answers_of_the_arm_minus_the_controls(results: Results) -> None:
    table = frames_images.confusion(results, "full")
    wrong = {
        arm: [
            1000 - int(np.unpackbits(np.frombuffer(record.correct, np.uint8), count=1000).sum())
            for trial, record in results.outcomes()
            if record is not None and trial.arm == arm
        ]
        for arm in ("control", "full")
    }
    known = frames_images.labels(results, ["control", "full"])
    if (known != frames_images.NO_LABEL).all():
        assert table["control"].sum() == pytest.approx(np.mean(wrong["control"]))
        assert table["arm"].sum() == pytest.approx(np.mean(wrong["full"]))
    assert (table["label"] != table["answer"]).all()


def test_the_images_of_the_widest_disagreement_come_first(results: Results) -> None:
    assert frames_images.widest(results) == "full"
    table = frames_images.disagreements(results, "full")
    gaps = (table["arm_right"] - table["control_right"]).abs()
    assert gaps.is_monotonic_decreasing
    image = int(table["image"][0])
    given = frames_images.answers(results, "full")[:, image]
    assert table["arm_right"][0] == (given == image % 10).mean()
    printed = tables.disagreement_rows(results)
    assert printed["full right"].str.endswith("%").all()


def test_records_without_predictions_have_no_images(results: Results) -> None:
    bare = {key: dataclasses.replace(record, predictions=b"", correct=b"") for key, record in results.records.items()}
    without = dataclasses.replace(results, records=bare)
    assert charts.confusion(without) is None
    assert tables.disagreement_rows(without).empty


def test_the_front_joins_the_arms_that_none_beats_and_alike_costs_have_no_panel(results: Results) -> None:
    points = pd.DataFrame(
        {"arm": ["control", "relu_bottleneck", "full"], "mean": [95.0, 94.0, 97.0], "low": np.nan, "high": np.nan,
         "macs": [1e6, 2e6, 3e6], "params": [1e5, 1e5, 1e5], "inference_peak_bytes": [1e5, 1.005e5, 1e5]}
    )  # fmt: skip
    shown = figures_cost.telling_costs(points)
    assert shown == ["macs"]
    figure = figures_cost.trade_off(points, results.unit, results.palette, results.markers, shown)
    (axes,) = figure.axes
    front = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert [np.asarray(line.get_ydata(), float).tolist() for line in front] == [[95.0, 97.0, 97.0]]  # on to the edge


def test_an_interval_over_seeds_is_students_and_two_seeds_have_none(results: Results) -> None:
    from ablate.reporting.figures import seed_interval

    low, high = seed_interval(pd.Series([1.0, 2.0, 3.0, 4.0]))
    assert high - low == pytest.approx(2 * 3.182446 * np.sqrt(5 / 3) / 2, abs=1e-5)
    assert seed_interval(pd.Series([1.0, 3.0])) == (2.0, 2.0)


def test_a_confusion_without_any_difference_is_drawn() -> None:
    table = pd.DataFrame({"label": [0, 1], "answer": [1, 0], "difference": [0.0, 0.0]})
    assert draw(figures_levels.confusion(table, "arm"), "png")


def test_predictions_of_training_of_ones_own_serve_the_report_as_ours_do() -> None:
    plan = make_plan(Study.model_validate(OWN))
    truth = np.random.default_rng(0).integers(0, 3, 60)
    records, right = {}, dict[str, list[object]]()
    for trial in plan.trials:
        drawn = np.random.default_rng([trial.seed, trial.arm == "deeper"])
        flipped = drawn.random(60) < (0.2 if trial.arm == "deeper" else 0.4)
        given = np.where(flipped, (truth + 1) % 3, truth)
        returned = {"test_accuracy": (given == truth).mean(), "predictions": given, "labels": truth}
        made = returned_of(returned, "it returned")
        records[trial.key] = Record.of(trial, "finished", metrics=made.metrics, **made.predicted)
        right.setdefault(trial.arm, []).append(given == truth)
    results = results_of(plan, {}, records)
    found = results.judgement.verdicts[0].contrast
    assert found is not None
    arm, control = (np.array(right[name]) for name in ("deeper", "control"))
    expected = crossed(arm, control, confidence=0.95).interval
    assert (found.images_low, found.images_high) == (expected.low, expected.high)
    table = frames_images.confusion(results, "deeper")
    assert table["arm"].sum() == pytest.approx((~arm).sum() / 6)
    assert (table.loc[(table["label"] + 1) % 3 != table["answer"], "arm"] == 0).all()
    assert charts.confusion(results) is not None
    rows = tables.disagreement_rows(results)
    first = int(rows["test example"].iloc[0])
    assert rows["label"].iloc[0] == str(truth[first])
    gaps = np.abs(arm.mean(axis=0) - control.mean(axis=0))
    assert gaps[first] == gaps.max()
