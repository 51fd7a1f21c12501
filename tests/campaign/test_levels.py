"""A campaign with further levels: all trained once, after the study's own trials, and shown by name in every view."""

from __future__ import annotations

from pathlib import Path

import optuna
from instant import Instant, go, made

from ablate.campaign.api import load
from ablate.campaign.check import check_campaign, forget
from ablate.campaign.mlflow_payload import trial_payload
from ablate.campaign.options import RunOptions
from ablate.campaign.views import Item
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.study import Study

STUDY = {"name": "levels", "arms": {"a": {"bottleneck": "relu"}}, "plan": {"seeds": 2}}


def plan_with(**more: object) -> CampaignPlan:
    return make_plan(Study.model_validate({**STUDY, **more}))


def test_own_trials_come_first_and_none_is_trained_twice(runs: Path) -> None:
    executor = Instant(lambda trial: made(trial, 0.9), jobs=1)
    plain = go(plan_with(), runs, executor)
    assert plain.trained == 4
    plan = plan_with(stability={"recipe.epochs": [2, 8]})
    executor = Instant(lambda trial: made(trial, 0.9), jobs=1)
    result = go(plan, runs, executor)
    assert [trial.recipe.epochs for trial in executor.submitted] == [2] * 4 + [8] * 4
    assert (result.trained, result.missing) == (8, ())
    assert set(result.records) == {trial.key for trial in (*plan.trials, *plan.level_trials)}
    assert go(plan, runs, Instant(lambda trial: None)).trained == 0

    how = RunOptions(runs=runs)
    assert load(how, "levels", plan.study.digest).records == result.records
    checked = check_campaign(plan, how)
    assert (checked.trials, checked.records, checked.faults) == (12, 12, ())
    names = optuna.get_all_study_names(f"sqlite:///{runs}/optuna.db")
    (name,) = [name for name in names if plan.study.digest in name]
    shown = optuna.load_study(study_name=name, storage=f"sqlite:///{runs}/optuna.db").get_trials()
    assert sorted(trial.params.get("recipe.epochs", "own") for trial in shown) == ["2"] * 4 + ["8"] * 4 + ["own"] * 4

    assert len(forget(plan, how, ["a:1"])) == 3  # at every level


def test_mlflow_names_the_level_of_a_run() -> None:
    plan = plan_with(stability={"width_mult": [0.5]})
    trial = plan.level_trials[0]
    item = Item(trial=trial, record=made(trial, 0.9), path=Path("x.json"), digest="d")
    payload = trial_payload(plan, item, {"macs": 5})
    assert payload.name == "control width_mult 0.5, seed 0"
    assert payload.params["width_mult"] == "0.5"
    assert "cost.macs" not in payload.params  # that of another net


def test_a_tuned_recipe_is_that_of_every_level(runs: Path) -> None:
    tuning = {"trials": 2, "space": {"lr": {"low": 1e-3, "high": 1e-1, "log": True}}}
    plan = plan_with(tuning=tuning, stability={"recipe.epochs": [8]})
    executor = Instant(lambda trial: made(trial, 0.9 - trial.recipe.lr), jobs=1)
    result = go(plan, runs, executor)
    rates = {arm.name: arm.recipe.lr for arm in result.plan.arms}
    for trial in result.plan.level_trials:
        assert (trial.recipe.lr, trial.recipe.epochs) == (rates[trial.arm], 8)
        assert trial.key in result.records
