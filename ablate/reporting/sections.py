"""The sections of a report, in one list: what the page lays out and the notebook walks through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import pandas as pd

from ablate.reporting import (
    charts,
    charts_search,
    co_primary,
    frames,
    frames_search,
    frames_tuning,
    stability,
    tables,
    tables_checks,
    words,
)
from ablate.reporting.headline import headline
from ablate.reporting.parts import Bullets, Chart, Entries, Listing, Notice, Part, Prose, Table
from ablate.reporting.results import Results
from ablate.verdicts.search import curve_metric

MOST_ROWS = 2_000  # of the table of trials: a browser scrolls a page of them at once
FOLDED_ARMS = 7  # a factorial study with more arms opens with its effects, its arms folded


@dataclass(frozen=True)
class Section:
    """A part of the report under a heading.

    Attributes:
        name: its id on the page.
        title: its heading.
        make: what it shows of a campaign; nothing, where the campaign has nothing of the kind.
    """

    name: str
    title: str
    make: Callable[[Results], Iterable[Part | None]]

    def parts(self, results: Results) -> tuple[Part, ...]:
        """What it shows, without what is empty."""
        return tuple(part for part in self.make(results) if part is not None and _shows(part))


def _shows(part: Part) -> bool:
    if isinstance(part, Table):
        return not part.frame.empty
    if isinstance(part, Bullets | Notice):
        return bool(part.texts)
    return isinstance(part, Chart | Entries) or bool(part.text)


def main_chart(results: Results) -> Chart | None:
    """The one figure that answers the question."""
    study = results.plan.study
    if study.design_kind == "add_one_in":
        return charts.roadmap(results)
    return charts.effects(results) or charts.differences(results) or charts.by_arm(results)


def _answer(results: Results) -> Iterator[Part | None]:
    study = results.plan.study
    yield Prose(study.question, "question")
    yield Prose(f"Source: {study.source}" if study.source else "", "source")
    yield Prose(headline(results), "headline")
    told = (*words.why_not_judged(results), *words.gravest(results))
    yield Notice(told, "warning" if words.is_alarming(results) else "notice")
    yield main_chart(results)


def _importance(results: Results, effects: pd.DataFrame) -> Iterator[Part | None]:
    """Optuna's view of a factorial study beside the linear model's."""
    ranked = frames.importance(results, effects) if not effects.empty else effects
    yield Table(tables.importance_rows(ranked), "Optuna's importance of each factor, with its main effect")
    yield Prose(words.importance_differs(ranked), "rule")


def _verdicts(results: Results) -> Iterator[Part | None]:
    judged, unit = results.judgement, results.unit
    effects = frames.effects(results)
    yield Table(tables.effect_rows(results, effects), f"Effects on {unit.metric.replace('_', ' ')}")
    yield from _importance(results, effects)
    many = not effects.empty and len(judged.verdicts) > FOLDED_ARMS
    yield Table(
        tables.verdict_rows(results),
        f"{unit.axis}, arm minus control, paired by seed: {words.count(len(judged.verdicts), 'arm')}",
        folded=many,
    )
    yield Table(co_primary.rows(results), "Co-primary metrics: they share alpha with the verdicts above")
    yield Table(tables.step_rows(results), "Each step against the one before it; no verdict rests on these")
    matches = [arm.match for arm in results.plan.arms if arm.match is not None and not arm.match.identity]
    for quantity in dict.fromkeys(match.quantity for match in matches):
        yield Prose(f"NAME@{quantity}: the change NAME at the width that makes its {quantity} the control's.", "rule")
    yield Prose(judged.method, "rule")
    yield Prose(
        f"Here: {words.count(judged.num_seeds, 'seed')} an arm, {words.count(judged.num_contrasts, 'contrast')}, "
        f"alpha {judged.alpha:g}, margin {words.margin(results)}. {words.rule_when(results)}",
        "rule",
    )
    yield Listing("\n".join(words.reasons(results)), "What each verdict rests on")
    if judged.as_sealed is not None:
        sealed = replace(results, judgement=judged.as_sealed)
        yield Table(
            tables.verdict_rows(sealed), "The verdicts by the plan that was sealed before the trials", folded=many
        )


def _stability(results: Results) -> Iterator[Part | None]:
    found = results.judgement.stability
    yield charts.stability(results)
    if found is None:
        return
    told = f"{results.unit.axis}, differences at every level of {found.field}"
    yield Table(stability.level_rows(results), told)
    yield Table(stability.pooled_rows(results), "Over data sets: a random-effects mean, and a new data set")
    yield Prose(stability.rule(results), "rule")
    between = "How much each contrast differs between two levels, seed by seed"
    yield Table(stability.interaction_rows(results), between, folded=True)


def _interactions(results: Results) -> Iterator[Part | None]:
    yield charts.interactions(results)
    yield Table(tables.simple_effect_rows(results), "What each interaction that was found consists of; unadjusted")
    yield Table(tables_checks.effect_check_rows(results), "What the table of effects leaves out")


def _by_arm(results: Results) -> Iterator[Part | None]:
    study = results.plan.study
    scores = frames.scores(frames.trials(results), results.judgement.metric)
    summary = frames.summary(scores, results.arms, results.judgement.alpha, percent=results.unit.symbol == "%")
    if study.design_kind == "add_one_in" or results.judgement.effects or _has_pairs(results):  # else the main figure
        yield charts.by_arm(results)
    yield Table(tables.arm_rows(results, summary), f"Mean {results.unit.axis} of every arm")


def _differences(results: Results) -> Iterator[Part | None]:
    contrasts = frames.contrasts(results)
    if results.judgement.effects or results.plan.study.design_kind == "add_one_in":  # else it is the main figure
        yield charts.differences(results)
    yield Table(
        tables.contrast_rows(results, contrasts), f"The difference with its {words.confidence(results)} intervals"
    )
    yield Table(tables.power_rows(results, contrasts), "What these seeds can tell")
    failed = "How often training failed: it diverged, or ended far worse than the arm's other seeds"
    yield Table(tables_checks.failure_rows(results), failed)


def _tuning(results: Results) -> Iterator[Part | None]:
    study, tried = results.plan.study, frames_tuning.scores(results)
    yield Notice(tuple(frames_tuning.warnings(results, tried)))
    yield charts.tuning(results)
    if tried.empty:
        return
    yield Table(
        frames_tuning.best_rows(results, tried),
        f"{study.tuning.trials} settings an arm, {study.tuning.sampler.replace('_', '-')}, each trained with "
        f"{words.count(study.tuning.seeds, 'seed')} that no verdict rests on",
    )
    moved = "Arm minus control on validation data at other settings; no verdict rests on these"
    yield Table(tables_checks.sensitivity_rows(results), moved)
    over = "The contrast over the settings that every arm tried, on validation data"
    yield Table(frames_tuning.curve_rows(results, tried), over)
    yield Table(frames_tuning.setting_rows(results, tried), "Every setting that was tried", folded=True)


def _search(results: Results) -> Iterator[Part | None]:
    search = results.plan.study.search
    if not results.plan.study.searched:
        return
    tried = frames_search.candidates(results)
    yield Notice(tuple(frames_search.warnings(results, tried)))
    yield charts_search.lead(results)
    yield Table(
        frames_search.luck_rows(results, frames_search.luck(results)),
        f"The best of {len(results.plan.search)} candidates ({search.sampler}), in the search and with fresh seeds; on "
        "validation data, no verdict rests on these",
    )
    yield charts_search.front(results)
    yield charts_search.parallel(results)
    yield Table(
        frames_search.importance_rows(results),
        "Importance of each factor: its share of the variance of the scores (fANOVA, as Optuna computes it)",
    )
    yield Table(frames_search.candidate_rows(results, tried), "Every candidate that was tried", folded=True)


def _matched(results: Results) -> Iterator[Part | None]:
    yield charts.matched(results)
    yield Table(
        tables.matched_rows(results), f"How each arm's width was solved for equal {words.quantity(results.plan.study)}"
    )


def _levels(results: Results) -> Iterator[Part | None]:
    yield charts.levels(results)


def _has_pairs(results: Results) -> bool:
    return not frames.pairs(results).empty


def _no_trade_off(costs: pd.DataFrame) -> str:
    known = costs["macs"].notna().any()
    return (
        "All arms with a result have the same MACs, parameters and memory at inference."
        if known
        else "The costs of the arms are not known."
    )


def _cost(results: Results) -> Iterator[Part | None]:
    costs, batch = frames.arm_costs(results), results.plan.study.recipe.batch_size
    chart = charts.cost(results)
    own = results.plan.study.own_training
    if not own:
        yield Prose("" if chart else _no_trade_off(costs))
    yield chart
    yield charts.cost_by_block(results)
    computed = "What the training says that it costs" if own else "Computation, one image"
    measured = f"Memory and time; inference at batch 1, training at batch {batch}"
    yield Table(tables.compute_rows(results, costs), computed)
    yield Table(tables.memory_rows(results, costs), "Time, and memory where it was measured" if own else measured)


def _curves(results: Results) -> Iterator[Part | None]:
    curves = frames.curves(results)
    if results.plan.study.own_training:
        yield from charts.reported_curves(results)
    else:
        yield charts.validation_curves(results)
        yield from charts.training_curves(results)
    if curves["epoch"].nunique() > 1:
        axis = results.unit_of(curve_metric(results.plan.study)).axis.replace("val ", "validation ")
        yield Table(tables.curve_rows(results, curves), f"{axis[0].upper()}{axis[1:]}, mean over seeds")


def _images(results: Results) -> Iterator[Part | None]:
    yield charts.confusion(results)
    yield Table(tables.disagreement_rows(results), "The test examples on which the arm and the control disagree most")


def _exploratory(results: Results) -> Iterator[Part | None]:
    yield Table(tables.exploratory_rows(results), "No verdict rests on these; p-values are not adjusted")


def _trials(results: Results) -> Iterator[Part | None]:
    trials = frames.trials(results)
    caption = (
        f"{words.count(len(trials), 'planned trial')} with {'its result' if len(trials) == 1 else 'their results'}"
    )
    if len(trials) > MOST_ROWS:
        unfinished_first = (trials["status"] == "finished").sort_values(kind="stable").index
        trials = trials.loc[unfinished_first[:MOST_ROWS]]
        caption += f": {MOST_ROWS:,} of them, the unfinished first (in Python, ablate.results(...).frame() has all)"
    yield Table(tables.record_rows(results, trials), caption, folded=True)


def _origin(results: Results) -> Iterator[Part | None]:
    yield Table(tables.provenance(results, frames.trials(results)), "Provenance")
    yield Prose(words.repeatability(results), "rule")
    yield Listing(words.methods(results), "Methods, to paste into a paper")
    yield Listing(words.study_text(results.plan.study), "The study as it was carried out")


SECTIONS = (
    Section("answer", "Answer", _answer),
    Section("verdicts", "Verdicts", _verdicts),
    Section("stability", "At other levels", _stability),
    Section("interactions", "Interactions", _interactions),
    Section("levels", "Level by level", _levels),
    Section("arms", "Every seed, arm by arm", _by_arm),
    Section("differences", "Differences to the control", _differences),
    Section("tuning", "Tuning", _tuning),
    Section("search", "Search", _search),
    Section("matched", "At equal cost", _matched),
    Section("cost", "What it costs", _cost),
    Section("curves", "Learning curves", _curves),
    Section("images", "Example by example", _images),
    Section("exploratory", "Further metrics", _exploratory),
    Section("trials", "Every trial", _trials),
    Section("origin", "Where the numbers come from", _origin),
)


def figures(name: str, results: Results) -> list[Chart]:
    """The figures of the section ``name``, in order."""
    (section,) = [one for one in SECTIONS if one.name == name]
    return [part for part in section.parts(results) if isinstance(part, Chart)]
