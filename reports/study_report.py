# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# The report of one study, made from what MLflow holds. `python -m ablate.report NAME` executes it into
# `runs/reports/NAME/`; by hand, set the study's name below and run all cells.

# %% tags=["parameters"]
study_name = "linear_bottleneck"
digest = None  # the campaign's 16 hex digits; None: the newest

# %%
from ablate.files import write_whole
from ablate.paths import default_runs, tracking_uri
from ablate.reporting import (
    figures,
    figures_cost,
    figures_factorial,
    figures_tuning,
    frames,
    frames_tuning,
    markdown,
    pages,
    tables,
    terminal,
    words,
)
from ablate.reporting.results import load_results

runs = default_runs()
results = load_results(study_name, runs=runs, tracking_uri=tracking_uri(runs), digest=digest)
study, judgement, unit, palette = results.plan.study, results.judgement, results.unit, results.palette
report = runs / "reports" / study.name
folder = report / "figures"
margin = judgement.margin * unit.factor

# %%
(
    pages.heading(words.title(results), 1)
    + pages.paragraph(study.question, "question")
    + pages.paragraph(f"Source: {study.source}" if study.source else "", "source")
)

# %%
pages.box(words.gravest(results), "warning" if words.is_alarming(results) else "notice")

# %%
pages.heading(f"{words.expected_when(results)}, and found") + (
    pages.bullets(words.expectations(results)) or pages.paragraph("The study file expected nothing.")
)

# %%
(
    pages.heading("Verdicts")
    + pages.bullets(terminal.verdict_lines(results))
    + pages.table(tables.verdict_rows(results), f"{unit.axis}, arm minus control, paired by seed")
    + pages.paragraph(judgement.method, "rule")
    + pages.paragraph(
        f"Here: {judgement.num_seeds} seeds an arm, {judgement.num_contrasts} contrasts, "
        f"alpha {judgement.alpha:g}, margin {words.margin(results)}. {words.rule_when(results)}",
        "rule",
    )
    + pages.listing("\n".join(words.reasons(results)), "What each verdict rests on")
)

# %%
trials = frames.trials(results)
scores = frames.scores(trials, judgement.metric)
summary = frames.summary(scores, results.arms, judgement.alpha)

# %%
effects = frames.effects(results)
(
    pages.NOTHING
    if effects.empty
    else pages.heading("Main effects and interactions")
    + pages.bullets(words.effect_sentences(results))
    + pages.picture(
        figures_factorial.effects(effects, margin, unit),
        folder,
        "effects",
        "Main effects (dots) and two-way interactions (diamonds) of a linear model with the seed as block.",
    )
    + pages.table(tables.effect_rows(results, effects))
    + pages.picture(
        figures_factorial.interactions(frames.cells(results, scores), list(study.factors), unit),
        folder,
        "interactions",
        "Means over all other factors. Parallel lines: the two factors do not interact.",
    )
)

# %%
(
    pages.heading(f"{unit.axis.split(' (')[0].capitalize()} by arm")
    + pages.picture(
        figures.accuracy_by_arm(scores, summary, unit, palette, words.confidence(results)),
        folder,
        "by_arm",
        f"Every seed is a dot; the large dot is the mean, the line its {words.confidence(results)} t interval.",
    )
    + pages.table(tables.arm_rows(results, summary))
)

# %%
tried = frames_tuning.scores(results)
scored_by = frames_tuning.scored_by(results)
(
    pages.heading("Tuning" if study.tuned else "")
    + pages.box(frames_tuning.warnings(results, tried), "notice")
    + (
        pages.NOTHING
        if tried.empty
        else pages.picture(
            figures_tuning.expected_best(
                frames_tuning.expected_best(results, tried), "control", scored_by.axis, palette
            ),
            folder,
            "tuning",
            "The best to be expected of so many settings drawn from those tried, with one standard deviation of it, "
            "within what was seen (arXiv:1909.03004). No test image was looked at.",
        )
        + pages.table(
            frames_tuning.best_rows(results, tried),
            f"{study.tuning.trials} settings an arm, {study.tuning.sampler.replace('_', '-')}, each trained with "
            f"{study.tuning.seeds} seed{'s' * (study.tuning.seeds > 1)} that no verdict rests on",
        )
        + pages.table(frames_tuning.setting_rows(results, tried), "Every setting that was tried", folded=True)
    )
)

# %%
contrasts = frames.contrasts(results)
(
    pages.heading("Differences to the control, paired by seed")
    + pages.picture(
        figures.differences(frames.pairs(results), contrasts, margin, unit, palette),
        folder,
        "differences",
        f"Each dot is one seed's difference; the line is the {words.confidence(results)} interval of the mean.",
    )
    + pages.table(
        tables.contrast_rows(results, contrasts), f"The difference with its {words.confidence(results)} intervals"
    )
    + pages.table(tables.power_rows(results, contrasts), "What these seeds can tell")
)

# %%
costs = frames.arm_costs(results)
points = frames.against_cost(summary, costs)
(
    pages.NOTHING
    if study.design_kind != "add_one_in" or points.empty
    else pages.heading("Roadmap")
    + pages.picture(
        figures_cost.roadmap(frames.steps(results, points), unit, palette),
        folder,
        "roadmap",
        "One change after another, each kept; what every step reaches, and what it costs.",
    )
)

# %%
matched = frames.matched(results)
(
    pages.heading("" if matched.empty else f"At the control's own {words.quantity(study)}")
    + (
        pages.NOTHING
        if matched["matched"].all()  # there is nothing beside which to see them, or nothing is matched
        else pages.picture(
            figures_cost.matched_pairs(matched, unit, palette),
            folder,
            "matched",
            "Hollow: the change as it is. Filled: the same change with its width solved for the control's cost.",
        )
    )
    + pages.table(tables.matched_rows(results), "How each arm's width was solved")
)

# %%
(
    pages.heading("Accuracy against cost")
    + (
        pages.paragraph("No arm has a result yet.")
        if points.empty
        else pages.picture(
            figures_cost.trade_off(points, unit, palette),
            folder,
            "cost",
            "Cost on a log scale; up and to the left is better. Memory is the inference peak, counted layer by layer.",
        )
    )
    + pages.table(tables.compute_rows(costs), "Computation, one image")
    + pages.table(
        tables.memory_rows(costs), f"Memory and time; inference at batch 1, training at batch {study.recipe.batch_size}"
    )
)

# %%
curves = frames.curves(results)
pages.heading("Learning curves") + (
    pages.paragraph("No trial has a learning curve.")
    if curves.empty
    else pages.picture(
        figures.learning_curves(
            curves.assign(value=curves["val_accuracy"]),
            frames.mean_curves(curves, "val_accuracy", results.arms),
            "validation accuracy (%)",
            palette,
        ),
        folder,
        "validation_curves",
        "Validation accuracy: every seed thin, the mean thick.",
    )
    + pages.picture(
        figures.learning_curves(
            curves.assign(value=curves["train_loss"]),
            frames.mean_curves(curves, "train_loss", results.arms),
            "training loss (nats)",
            palette,
        ),
        folder,
        "training_curves",
        "Training loss: every seed thin, the mean thick.",
    )
    + pages.table(tables.curve_rows(results, curves), "Validation accuracy (%), mean over seeds")
)

# %%
exploratory = tables.exploratory_rows(results)
pages.heading("" if exploratory.empty else "Further metrics, exploratory") + pages.table(
    exploratory, "No verdict rests on these; p-values are not adjusted."
)

# %%
pages.heading("Every trial") + pages.table(
    tables.record_rows(trials, judgement.metric), f"{len(trials):,} planned trials and what came of them", folded=True
)

# %%
(
    pages.heading("Where the numbers come from")
    + pages.table(tables.provenance(results, trials))
    + pages.listing(words.methods(results), "Methods, to paste into a paper")
    + pages.listing(words.study_text(study), "The study as it was carried out")
)

# %%
write_whole(report / "verdicts.md", markdown.note(results).encode())
