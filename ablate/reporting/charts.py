"""Results to charts: each figure with its data, caption and description; None where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ablate.design.plan import CONTROL
from ablate.reporting import (
    figures,
    figures_cost,
    figures_factorial,
    figures_levels,
    figures_stability,
    figures_tuning,
    frames,
    frames_images,
    frames_levels,
    frames_tuning,
    words,
)
from ablate.reporting import stability as frames_stability
from ablate.reporting.parts import Chart
from ablate.reporting.results import Results
from ablate.reporting.style import COLOURS, FEWEST_SEEDS
from ablate.verdicts.search import curve_metric

MOST_CURVES = 4  # of the metrics that the user's own training code reports by epoch


def _scores(results: Results) -> pd.DataFrame:
    return frames.scores(frames.trials(results), results.judgement.metric)


def _summary(results: Results, scores: pd.DataFrame) -> pd.DataFrame:
    percent = results.unit.symbol == "%"
    return frames.summary(scores, results.arms, results.judgement.alpha, percent=percent)


def _margin(results: Results) -> float:
    return results.judgement.margin * results.unit.factor


def by_arm(results: Results) -> Chart | None:
    """Every seed's accuracy, arm by arm."""
    scores = _scores(results)
    if scores.empty:
        return None
    summary = _summary(results, scores)
    chance = frames.chance(results)
    figure = figures.accuracy_by_arm(
        scores, summary, results.unit, results.palette, words.confidence(results), chance=chance
    )
    few = summary["n"].max() < FEWEST_SEEDS
    interval = "too few seeds for an interval" if few else f"the line its {words.confidence(results)} t interval"
    guessing = "" if chance is None else f" Guessing reaches {chance:.0f} %."
    return Chart(
        name="by_arm",
        figure=figure,
        data=scores,
        caption=f"Every seed is a dot, thin lines join its pairs; the large dot is the mean, {interval}.{guessing}",
        alt=f"{results.unit.axis} of every seed, a row an arm, for {words.count(len(results.arms), 'arm')}.",
    )


def differences(results: Results) -> Chart | None:
    """Every seed's difference to the control, arm by arm, with the margin."""
    pairs, contrasts = frames.pairs(results), frames.contrasts(results)
    if pairs.empty:
        return None
    figure = figures.differences(pairs, contrasts, _margin(results), results.unit, results.palette)
    lines = (
        f"the line is the {words.confidence(results)} interval of the mean; the thin one with ends holds for all arms "
        f"together. The grey band is the margin of ±{words.margin(results)}. A verdict needs the adjusted p as well."
    )
    few = contrasts["n"].max() < FEWEST_SEEDS
    told = "the large dot is the mean, too few seeds for an interval." if few else lines
    return Chart(
        name="differences",
        figure=figure,
        data=contrasts,
        caption=f"Each dot is one seed's difference to the control; {told}",
        alt=f"{results.unit.difference.capitalize()}, arm minus control, seed by seed, with intervals and the margin.",
    )


def effects(results: Results) -> Chart | None:
    """Main effects and interactions of a factorial study."""
    table = frames.effects(results)
    if table.empty:
        return None
    return Chart(
        name="effects",
        figure=figures_factorial.effects(table, _margin(results), results.unit),
        data=table,
        caption=(
            "Main effects (dots): a level minus the control's, over all levels of the other factors. Two-way "
            "interactions (diamonds): half the difference of one factor's effects at two levels of the other. "
            "The farther from zero, the more the choice matters."
        ),
        alt="Main effects and two-way interactions with their intervals, a row each, the margin as a grey band.",
    )


def interactions(results: Results) -> Chart | None:
    """Means at each combination of two factors."""
    factors = list(results.plan.study.factors)
    if not results.judgement.effects or len(factors) < 2:
        return None
    cells = frames.cells(results, _scores(results))
    return Chart(
        name="interactions",
        figure=figures_factorial.interactions(cells, factors, results.unit),
        data=cells,
        caption="Means over all other factors. Parallel lines: the two factors do not interact.",
        alt="A panel for each two factors: the mean at every level of the one, a line for each level of the other.",
    )


def tuning(results: Results) -> Chart | None:
    """What a larger budget of settings is worth."""
    tried = frames_tuning.scores(results)
    if tried.empty:
        return None
    curves = frames_tuning.expected_best(results, tried)
    return Chart(
        name="tuning",
        figure=figures_tuning.expected_best(curves, CONTROL, frames_tuning.scored_by(results).axis, results.palette),
        data=curves,
        caption=(
            "The best to expect from that many of the settings tried, with one standard deviation of it, "
            "within what was seen (arXiv:1909.03004). No test data were looked at. A curve that is flat at its end "
            "would gain little from more settings."
        ),
        alt="The expected best validation score against the number of settings tried, a panel an arm.",
    )


def _points(results: Results) -> pd.DataFrame:
    return frames.against_cost(_summary(results, _scores(results)), frames.arm_costs(results))


def roadmap(results: Results) -> Chart | None:
    """The steps from one net to another."""
    points = _points(results)
    if results.plan.study.design_kind != "add_one_in" or points.empty:
        return None
    steps = frames.steps(results, points)
    return Chart(
        name="roadmap",
        figure=figures_cost.roadmap(steps, results.unit, results.palette),
        data=steps,
        caption="One change after another, each kept; what every step reaches, and what it costs.",
        alt=f"{results.unit.axis} and MACs after each of {words.count(len(steps) - 1, 'step')}, as bars.",
    )


def matched(results: Results) -> Chart | None:
    """Arms at their own cost and at the control's."""
    table = frames.matched(results)
    if table["matched"].all():  # nothing is matched, or nothing ran unmatched to compare it with
        return None
    return Chart(
        name="matched",
        figure=figures_cost.matched_pairs(table, results.unit, results.palette),
        data=table,
        caption="Hollow: the change unmatched. Filled: the same change, with its width solved for the control's cost.",
        alt="Difference to the control of each change, at its own cost and at the control's cost.",
    )


def cost(results: Results) -> Chart | None:
    """The metric against cost."""
    points, high = _points(results), results.judgement.higher_is_better
    shown = figures_cost.telling_costs(points)
    if points.empty or not shown:
        return None
    return Chart(
        name="cost",
        figure=figures_cost.trade_off(
            points, results.unit, results.palette, results.markers, shown, higher_is_better=high
        ),
        data=points,
        caption=(
            f"Cost on a log scale; {'up' if high else 'down'} and to the left is better. No arm lies "
            f"{'above' if high else 'below'} the dashed line, the Pareto front. {_counted(results)}"
            "Costs in which all arms are alike are left out."
        ),
        alt=f"{results.unit.axis} of each arm against its costs.",
    )


def _counted(results: Results) -> str:
    """How the costs came to be."""
    if results.plan.study.own_training:
        return "Costs are what the training reported. "
    return "Memory is the inference peak, layer by layer. "


def _learning(results: Results, curves: pd.DataFrame, column: str, name: str, label: str, told: str) -> Chart | None:
    curves = curves.dropna(subset=column) if column in curves else curves.head(0)
    if curves["epoch"].nunique() < 2:
        return None
    means = frames.mean_curves(curves, column, results.arms)
    return Chart(
        name=name,
        figure=figures.learning_curves(curves.assign(value=curves[column]), means, label, results.palette),
        data=means,
        caption=f"{told}: every seed thin, the mean thick.",
        alt=f"{told} in the course of training, a panel an arm.",
    )


def validation_curves(results: Results) -> Chart | None:
    """Validation accuracy by epoch."""
    told = "Validation accuracy after each epoch"
    curves = frames.curves(results)
    return _learning(results, curves, "val_accuracy", "validation_curves", "validation accuracy (%)", told)


def training_curves(results: Results) -> list[Chart]:
    """Training loss and training accuracy, each point the mean over a few steps."""
    loss, accuracy = (f"Training {what} over consecutive steps" for what in ("loss", "accuracy"))
    return _drawn(
        results,
        frames.step_curves(results),
        ("train_loss", "training_loss", "training loss (nats)", loss),
        ("train_accuracy", "training_accuracy", "training accuracy (%)", accuracy),
    )


def reported_curves(results: Results) -> list[Chart]:
    """What the user's own training code reported by epoch, the deciding metric first."""
    curves = frames.curves(results)
    names = dict.fromkeys([curve_metric(results.plan.study), *curves.columns.drop(["arm", "seed", "epoch"])])
    shown = (
        (name, f"curve_{place}", results.unit_of(name).axis, name.replace("_", " ").capitalize())
        for place, name in enumerate(list(names)[:MOST_CURVES])
    )
    return _drawn(results, curves, *shown)


def _drawn(results: Results, curves: pd.DataFrame, *shown: tuple[str, str, str, str]) -> list[Chart]:
    """Of each column, name, label and caption the chart, where there is anything to draw."""
    drawn = (_learning(results, curves, *one) for one in shown)
    return [chart for chart in drawn if chart is not None]


def levels(results: Results) -> Chart | None:
    """Accuracy against a numeric choice."""
    table = frames_levels.levels(results, _scores(results))
    if table.empty:
        return None
    return Chart(
        name="levels",
        figure=figures_levels.levels(table, results.unit),
        data=table,
        caption="Every seed a thin line; the mean with its 95 % interval over the seeds. Look for where it levels off.",
        alt=f"{results.unit.axis} against {', '.join(dict.fromkeys(table['factor']))}.",
    )


def stability(results: Results) -> Chart | None:
    """Every contrast at the further levels that the study asks for."""
    table, found = frames_stability.levels(results), results.judgement.stability
    if table.empty or found is None:
        return None
    return Chart(
        name="stability",
        figure=figures_stability.stability(table, found.field, _margin(results), results.unit),
        data=table,
        caption=(
            f"The difference at every level of {found.field} with its {words.confidence(results)} interval. A filled "
            "dot: a difference or an equivalence was shown there. A ring: the study's own level, where it decides."
        ),
        alt=f"{results.unit.difference.capitalize()} against {found.field}, a panel for each contrast.",
    )


def _told_apart(arms: list[str], palette: Mapping[str, str]) -> Mapping[str, str]:
    """The colours of a few arms; others where a study of many arms gives all of them the same."""
    if len({palette[arm] for arm in arms}) == len(arms):
        return palette
    others = iter(COLOURS)
    return {arm: palette[arm] if arm == CONTROL else next(others) for arm in arms}


def cost_by_block(results: Results) -> Chart | None:
    """Where in the net the arms spend their multiply-adds."""
    table = frames_levels.cost_by_block(results)
    arms = list(dict.fromkeys(table["arm"]))
    if not 1 <= len(arms) <= len(COLOURS):
        return None
    return Chart(
        name="cost_by_block",
        figure=figures_levels.cost_by_block(table, _told_apart(arms, results.palette)),
        data=table,
        caption="Multiply-adds of one image along the net. Arms that cost the same throughout share a bar.",
        alt=f"MACs at the stem, every block and the head, for {words.count(len(arms), 'arm')}.",
    )


def confusion(results: Results) -> Chart | None:
    """What the arm furthest from the control takes for what."""
    arm = frames_images.widest(results)
    table = frames_images.confusion(results, arm) if arm is not None else pd.DataFrame()
    if table.empty or arm is None:
        return None
    return Chart(
        name="confusion",
        figure=figures_levels.confusion(table, arm, results.plan.data.class_name),
        data=table,
        caption=f"Wrong answers of {arm} minus the control's, examples a seed: where it confuses more (+) or less (−).",
        alt=f"A matrix of label by answer: how many more test examples {arm} gets wrong than the control.",
    )
