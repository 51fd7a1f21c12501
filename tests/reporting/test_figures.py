"""Figures are drawn without a warning (the session makes warnings errors) and show every seed."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ablate.reporting import charts, figures, figures_cost, figures_factorial, frames
from ablate.reporting.canvas import MAX_DOTS, MAX_LINES, MAX_PANELS, draw
from ablate.reporting.results import Results
from ablate.reporting.style import CONTROL_COLOUR, PHONE_WIDTH, unit

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


def shown_texts(figure: Figure) -> list[Text]:
    """Every text that is drawn, with the layout worked out."""
    figure.draw_without_rendering()
    found = [text for text in figure.texts if text.get_text()]
    for axes in (axes for axes in figure.axes if axes.get_visible()):
        found += [
            text for text in (*axes.texts, axes.xaxis.label, axes.yaxis.label, axes._left_title) if text.get_text()
        ]
        found += [text for legend in [axes.get_legend()] if legend for text in legend.get_texts()]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            found += [tick.label1 for tick in axis._update_ticks()]
    return [text for text in found if text.get_visible()]


@pytest.mark.parametrize("make", [accuracy, differences, curves, trade_off, roadmap])
@pytest.mark.parametrize("which", ["results", "toggles"])
def test_a_figure_names_every_arm_it_shows_and_cuts_no_word_off(
    make: Callable[[Results], Figure], which: str, request: pytest.FixtureRequest
) -> None:
    results = request.getfixturevalue(which)
    figure = make(results)
    told = shown_texts(figure)
    arms = set(results.arms) - ({"control"} if make is differences else set())
    joined = "".join(text.get_text() for text in told).replace("\n", "")
    named = {arm for arm in arms if arm in joined or arm[:32] in joined}
    assert named == arms
    width, height = figure.bbox.width, figure.bbox.height
    for text in told:
        box = text.get_window_extent(FigureCanvasAgg(figure).get_renderer())
        assert box.x0 >= -1, f"{text.get_text()!r} is cut off at the left"
        assert box.y0 >= -1, f"{text.get_text()!r} is cut off below"
        assert box.x1 <= width + 1, f"{text.get_text()!r} is cut off at the right"
        assert box.y1 <= height + 1, f"{text.get_text()!r} is cut off above"


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_picture_opens_in_its_own_format_and_has_the_figures_shape(results: Results, kind: Any) -> None:
    figure = differences(results)
    content = draw(figure, kind)
    if kind == "png":
        width, height = Image.open(io.BytesIO(content)).size
    else:
        box = ElementTree.fromstring(content).attrib["viewBox"]
        width, height = (float(number) for number in box.split()[2:])
    assert width / height == pytest.approx(figure.bbox.width / figure.bbox.height, rel=0.02)


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


def test_the_wide_intervals_of_three_seeds_do_not_shrink_the_dots_to_a_point() -> None:
    scores = pd.DataFrame({"arm": ["control"] * 3, "seed": [0, 1, 2], "value": [90.0, 90.0, 92.0]})
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


def test_of_many_arms_the_first_have_a_panel_and_the_figure_says_how_many_there_are() -> None:
    arms = ("control", *(f"arm {number}" for number in range(1, MAX_PANELS + 1)))
    table = pd.DataFrame(
        [{"arm": arm, "seed": 0, "epoch": epoch, "value": 90 + epoch} for arm in arms for epoch in (1, 2)]
    )
    figure = figures.learning_curves(table, table, "accuracy (%)", dict.fromkeys(arms, CONTROL_COLOUR))
    assert [axes.get_title("left") for axes in figure.axes] == list(arms[:MAX_PANELS])
    assert f"the first {MAX_PANELS} of {MAX_PANELS + 1} arms" in figure.get_supxlabel()


def test_one_seed_and_an_arm_without_any_are_drawn(make_findings: Callable[..., Results]) -> None:
    lonely = make_findings(plan={"seeds": 1}, drop=1)
    assert "no result" in words(accuracy(lonely))
    for make in (differences, curves, trade_off):
        draw(make(lonely), "svg")


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


def test_arms_of_one_cost_and_one_accuracy_are_drawn(results: Results) -> None:
    same = points(results).assign(macs=2.5e6, params=2e5, inference_peak_bytes=1e5, mean=97.0, low=97.0, high=97.0)
    draw(figures_cost.trade_off(same, ACCURACY, results.palette), "svg")
    bars = figures_cost.roadmap(same.assign(step=same["arm"]), ACCURACY, results.palette)
    draw(bars, "svg")
    assert words(bars).count("97.00") == len(same)


def test_hundreds_of_arms_are_drawn_with_only_the_unbeaten_ones_named() -> None:
    n = 100
    arms = ["control", *(f"arm{i}" for i in range(1, n))]
    table = pd.DataFrame(
        {"arm": arms, "mean": 97 - 0.01 * np.arange(n), "low": 96.0, "high": 98.0, "macs": 1e6 + 1e4 * np.arange(n),
         "params": 1e5 + np.arange(n), "inference_peak_bytes": 1e5}
    )  # fmt: skip
    figure = figures_cost.trade_off(table, ACCURACY, dict.fromkeys(arms, CONTROL_COLOUR))
    key = figure.axes[-1].texts[0].get_text()
    assert key == "1  control"
    draw(figure, "svg")


def test_the_same_findings_give_the_same_bytes(results: Results) -> None:
    assert draw(accuracy(results), "svg") == draw(accuracy(results), "svg")
    assert draw(accuracy(results), "png") == draw(accuracy(results), "png")


def test_a_figure_is_redrawn_for_a_phone_and_stays_as_it_was(make_findings: Callable[..., Results]) -> None:
    chart, untouched = (charts.differences(make_findings()) for _ in range(2))
    assert chart is not None
    assert untouched is not None
    narrow = chart.phone_svg()
    assert narrow is not None
    assert f'width="{72 * PHONE_WIDTH:g}pt"' in narrow
    assert tuple(chart.figure.get_size_inches()) == tuple(untouched.figure.get_size_inches())
    left, right = (" ".join(ElementTree.fromstring(one.svg()).itertext()).split() for one in (chart, untouched))
    assert left == right


def test_names_that_leave_no_room_on_a_phone_keep_the_wide_figure(toggles: Results) -> None:
    chart = charts.differences(toggles)
    assert chart is not None
    assert chart.phone_svg() is None
