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
# # What a study found
#
# This notebook walks through one finished campaign: the question, the verdicts, every seed behind them, and what the
# arms cost. Each step gives a pandas frame or a section's figures, so you can continue from any of them. A figure's
# `data` holds its numbers as a frame.
#
# Set the study's name and the runs folder, then run all cells. `digest` picks one campaign of the study by its 16 hex
# digits; `None` is the newest.

# %% tags=["parameters"]
study_name = "linear_bottleneck"
digest = None
runs = "../runs"

# %%
from pathlib import Path

from ablate.reporting import frames, frames_tuning, headline, sections, stability, tables, words
from ablate.reporting.load import load_results

results = load_results(study_name, runs=Path(runs), digest=digest)
study, judgement = results.plan.study, results.judgement

# %% [markdown]
# ## Answer
#
# The study asked one question before anything was trained. Its answer in a sentence:

# %%
print(words.plain(study.question))
print(words.plain(headline.headline(results)))

# %% [markdown]
# Anything that weakens or voids the verdicts:

# %%
words.gravest(results)

# %% [markdown]
# The figure that answers the question. It depends on the design: main effects for crossed factors, the roadmap for
# steps, paired differences otherwise.

# %%
display(*sections.figures("answer", results))

# %% [markdown]
# ## Verdicts
#
# One row per arm. A verdict follows a rule that was fixed in the study file; `judgement.method` states it in words.

# %%
tables.verdict_rows(results)

# %%
print(judgement.method)

# %% [markdown]
# Effects exist where the study crosses factors. The estimate is in points; an interaction is half the difference of
# differences.

# %%
frames.effects(results)

# %% [markdown]
# Where every arm adds a change to the arm before it, each step is also compared with the step before.

# %%
tables.step_rows(results)

# %% [markdown]
# ## At other levels
#
# The same contrasts at every level of the field that `[stability]` names. No verdict rests on these.

# %%
stability.level_rows(results)

# %%
display(*sections.figures("stability", results))

# %%
stability.interaction_rows(results)

# %% [markdown]
# ## Interactions
#
# Parallel lines mean that two factors do not interact. Empty for a study without crossed factors.

# %%
display(*sections.figures("interactions", results))

# %% [markdown]
# ## Level by level
#
# Accuracy against a choice that is a number, where the study has one with three levels or more.

# %%
display(*sections.figures("levels", results))

# %% [markdown]
# ## Every seed, arm by arm
#
# One row per trial, missing ones included. `scores` holds the finished ones in percent.

# %%
trials = frames.trials(results)
trials[["arm", "seed", "status", judgement.metric]]

# %%
scores = frames.scores(trials, judgement.metric)
frames.summary(scores, results.arms, judgement.alpha)

# %%
display(*sections.figures("arms", results))

# %% [markdown]
# ## Differences to the control
#
# Arms share their seeds, so each difference is taken within a seed. This removes what the seed does to both.

# %%
frames.pairs(results)

# %%
contrasts = frames.contrasts(results)
contrasts

# %%
display(*sections.figures("differences", results))

# %% [markdown]
# ## Tuning
#
# Where the study tunes, each arm tried equally many settings of its recipe on validation images.

# %%
frames_tuning.scores(results)

# %%
display(*sections.figures("tuning", results))

# %% [markdown]
# ## Search
#
# What the search tried, and how much of the lead of its best candidates fresh seeds confirmed.

# %%
from ablate.reporting import frames_search

frames_search.candidate_rows(results, frames_search.candidates(results))

# %%
display(*sections.figures("search", results))

# %% [markdown]
# ## At equal cost
#
# The same change at its own cost and with its width solved for the control's cost.

# %%
frames.matched(results)

# %%
display(*sections.figures("matched", results))

# %% [markdown]
# ## What it costs
#
# Costs are those of the net, counted for one image; memory in bytes, latency in milliseconds.

# %%
costs = frames.arm_costs(results)
costs

# %%
display(*sections.figures("cost", results))

# %% [markdown]
# ## Learning curves
#
# One row per trial and epoch. Training loss and training accuracy are drawn by step, with about 100 points per trial.
# Training code of your own has one figure per metric that it reports.

# %%
curves = frames.curves(results)
curves

# %%
display(*sections.figures("curves", results))

# %% [markdown]
# ## Example by example
#
# What the arm furthest from the control confuses more often than the control, and the test images on which the two
# disagree most. Records keep predictions and which of them were right.

# %%
display(*sections.figures("images", results))

# %%
tables.disagreement_rows(results)

# %% [markdown]
# ## Further metrics
#
# Exploratory: no verdict rests on these, and p-values are not adjusted.

# %%
tables.exploratory_rows(results)

# %% [markdown]
# ## Every trial
#
# The result of each trial, with its key and any remark of the trainer.

# %%
tables.record_rows(results, trials)

# %% [markdown]
# ## Where the numbers come from
#
# Machine, versions, commit and data; then the study as it was carried out.

# %%
tables.provenance(results, trials)

# %%
print(words.study_text(study))
