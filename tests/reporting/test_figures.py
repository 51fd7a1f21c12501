"""Figures are drawn without a warning (the session makes warnings errors) and show every seed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ablate.reporting import figures, figures_cost, figures_factorial, frames
from ablate.reporting.canvas import MAX_DOTS, MAX_LINES, save
from ablate.reporting.results import Results
from ablate.reporting.style import CONTROL_COLOUR, unit

ACCURACY = unit("test_accuracy")


def accuracy(results: Results) -> Figure:
    scores = frames.scores(frames.trials(results), "test_accuracy")
    return figures.accuracy_by_arm(scores, frames.summary(scores, results.arms), ACCURACY, results.palette)


def differences(results: Results) -> Figure:
    return figures.differences(frames.pairs(results), frames.contrasts(results), 0.5, ACCURACY, results.palette)


def curves(results: Results) -> Figure:
    table = frames.curves(results)
    means = frames.mean_curves(table, "val_accuracy", results.arms)
    return figures.learning_curves(
        table.assign(value=table["val_accuracy"]), means, "validation accuracy (%)", results.palette
    )


def points(results: Results) -> pd.DataFrame:
    scores = frames.scores(frames.trials(results), "test_accuracy")
    return frames.against_cost(frames.summary(scores, results.arms), frames.arm_costs(results))


def trade_off(results: Results) -> Figure:
    return figures_cost.trade_off(points(results), ACCURACY, results.palette)


def roadmap(results: Results) -> Figure:
    table = points(results)
    return figures_cost.roadmap(table.assign(step=table["arm"]), ACCURACY, results.palette)


def dots(figure: Figure) -> list[float]:
    return [float(x) for x, _ in np.asarray(figure.axes[0].collections[0].get_offsets())]


def words(figure: Figure) -> str:
    svg = io.StringIO()
    figure.savefig(svg, format="svg")
    texts = [text.get_text() for axes in figure.axes for text in axes.texts] + [a.get_xlabel() for a in figure.axes]
    return "\n".join([*texts, *(text.get_text() for text in figure.texts)])


@pytest.mark.parametrize("draw", [accuracy, differences, curves, trade_off, roadmap])
@pytest.mark.parametrize("which", ["results", "toggles"])
def test_a_figure_is_drawn_for_few_arms_and_for_sixteen(
    draw: Callable[[Results], Figure], which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    svg, png = save(draw(request.getfixturevalue(which)), tmp_path, "figure")
    assert svg.startswith(b"<?xml")
    assert (tmp_path / "figure.png").read_bytes() == png
    assert (tmp_path / "figure.svg").read_bytes() == svg


def test_every_seed_is_a_dot_at_its_own_accuracy(results: Results) -> None:
    expected = sorted(100 * r.metrics["test_accuracy"] for _, r in results.outcomes() if r is not None)
    assert sorted(dots(accuracy(results))) == pytest.approx(expected)


def test_every_seeds_difference_is_a_dot_and_the_margin_is_a_band(results: Results) -> None:
    figure = differences(results)
    assert sorted(dots(figure)) == pytest.approx(sorted(frames.pairs(results)["value"]))
    band = figure.axes[0].patches[0].get_extents().transformed(figure.axes[0].transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-0.5, 0.5))


def test_every_seed_has_a_thin_line_in_its_arms_panel(results: Results) -> None:
    for axes in curves(results).axes:
        (lines,) = [c for c in axes.collections if isinstance(c, LineCollection)]
        assert len(lines.get_segments()) == 8


def test_beyond_a_number_of_seeds_dots_are_thinned_and_the_figure_says_so() -> None:
    many = 5 * MAX_DOTS
    scores = pd.DataFrame({"arm": "control", "seed": range(many), "value": np.linspace(90, 99, many)})
    figure = figures.accuracy_by_arm(
        scores, frames.summary(scores, ("control",)), ACCURACY, {"control": CONTROL_COLOUR}
    )
    assert len(dots(figure)) == MAX_DOTS
    assert f"drawn: {MAX_DOTS} of {many:,} seeds an arm" in words(figure)


def test_the_wide_intervals_of_two_seeds_do_not_shrink_the_dots_to_a_point() -> None:
    scores = pd.DataFrame({"arm": ["control", "control"], "seed": [0, 1], "value": [90.0, 92.0]})
    figure = figures.accuracy_by_arm(
        scores, frames.summary(scores, ("control",)), ACCURACY, {"control": CONTROL_COLOUR}
    )
    low, high = figure.axes[0].get_xlim()
    assert high - low == pytest.approx(5)
    assert "leave the frame" in words(figure)


def test_learning_curves_of_many_seeds_stay_small() -> None:
    table = pd.DataFrame({"arm": "control", "seed": np.repeat(range(500), 20), "epoch": list(range(1, 21)) * 500})
    table["value"] = 90 + table["epoch"] / 10 + table["seed"] / 1000
    means = frames.mean_curves(table, "value", ("control",))
    figure = figures.learning_curves(table, means, "accuracy (%)", {"control": CONTROL_COLOUR})
    (lines,) = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    assert len(lines.get_segments()) == MAX_LINES


def test_one_seed_and_an_arm_without_any_are_drawn(make_findings: Callable[..., Results], tmp_path: Path) -> None:
    lonely = make_findings(plan={"seeds": 1}, drop=1)
    assert "no result" in words(accuracy(lonely))
    for draw in (differences, curves, trade_off):
        save(draw(lonely), tmp_path, "lonely")


def test_effects_show_estimate_and_p_and_interactions_every_couple_of_factors(toggles: Results) -> None:
    told = words(figures_factorial.effects(frames.effects(toggles), 0.5, ACCURACY))
    assert "−0.40  (p .040)" in told
    scores = frames.scores(frames.trials(toggles), "test_accuracy")
    figure = figures_factorial.interactions(frames.cells(toggles, scores), list(toggles.plan.study.factors), ACCURACY)
    assert sum(axes.get_visible() for axes in figure.axes) == 6
    figure.savefig(io.BytesIO())


def test_matched_and_unmatched_stand_side_by_side_with_their_cost_ratio(results: Results) -> None:
    table = pd.DataFrame(
        {"change": ["full", "full"], "matched": [False, True], "arm": ["full", "full"], "mean": [1.0, -0.4],
         "low": [0.7, -0.9], "high": [1.3, 0.1], "ratio": [8.1, 1.0]}
    )  # fmt: skip
    told = words(figures_cost.matched_pairs(table, ACCURACY, results.palette))
    assert "as it is: +1.00 at 8.10×" in told
    assert "matched: −0.40 at 1.00×" in told


def test_arms_of_one_cost_and_one_accuracy_are_drawn(results: Results, tmp_path: Path) -> None:
    same = points(results).assign(macs=2.5e6, params=2e5, inference_peak_bytes=1e5, mean=97.0, low=97.0, high=97.0)
    save(figures_cost.trade_off(same, ACCURACY, results.palette), tmp_path, "same")
    bars = figures_cost.roadmap(same.assign(step=same["arm"]), ACCURACY, results.palette)
    save(bars, tmp_path, "same_bars")
    assert words(bars).count("97.00") == len(same)


def test_hundreds_of_arms_are_drawn_with_only_the_unbeaten_ones_named(tmp_path: Path) -> None:
    n = 100
    arms = ["control", *(f"arm{i}" for i in range(1, n))]
    table = pd.DataFrame(
        {"arm": arms, "mean": 97 - 0.01 * np.arange(n), "low": 96.0, "high": 98.0, "macs": 1e6 + 1e4 * np.arange(n),
         "params": 1e5 + np.arange(n), "inference_peak_bytes": 1e5}
    )  # fmt: skip
    figure = figures_cost.trade_off(table, ACCURACY, dict.fromkeys(arms, CONTROL_COLOUR))
    key = figure.axes[-1].texts[0].get_text()
    assert key == "1  control"
    save(figure, tmp_path, "hundreds")


def test_the_same_findings_give_the_same_bytes(results: Results, tmp_path: Path) -> None:
    assert save(accuracy(results), tmp_path, "one") == save(accuracy(results), tmp_path, "two")
