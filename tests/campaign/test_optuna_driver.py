from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import Notes, plan_of
from instant import Instant, go, made

from ablate.campaign.api import load
from ablate.campaign.check import check_campaign
from ablate.campaign.options import CampaignInterrupted, RunOptions
from ablate.campaign.optuna_driver import importance
from ablate.campaign.schedule import Scheduler, unfold
from ablate.design.noun import Range
from ablate.design.plan import NOISE_FLOOR, CampaignPlan, Trial, trials
from ablate.design.record import Record
from ablate.design.study import Plan, Tuning

SPACE = {"lr": Range(low=1e-3, high=1e-1, log=True), "weight_decay": Range(low=0.0, high=0.1)}
BEST_LR = {"control": 0.01, "other": 0.05}


def tuned(*, floor: bool = False, seeds: int = 2, plan: Plan | None = None, **fields: Any) -> CampaignPlan:
    made = plan_of("control", "other", epochs=1)
    tuning = Tuning(**{"trials": 5, "space": SPACE, **fields})
    study = made.study.model_copy(update={"tuning": tuning, "plan": plan or Plan(seeds=seeds), "noise_floor": floor})
    arms = (*made.arms, *([replace(made.arms[0], name=NOISE_FLOOR)] if floor else []))
    return replace(made, study=study, arms=arms, trials=trials(study, arms, made.data))


def train(trial: Trial) -> Record:
    """Accuracy falls with the distance of the learning rate from the arm's own best."""
    distance = abs(math.log(trial.recipe.lr / BEST_LR.get(trial.arm, 0.01)))
    if trial.recipe.lr > 0.06:
        return made(trial, 0.0, status="diverged")
    return made(trial, 0.95 - 0.05 * distance - trial.recipe.weight_decay + 0.001 * math.sin(trial.seed))


def whole(plan: CampaignPlan) -> tuple[CampaignPlan, tuple[Trial, ...], dict[str, Record]]:
    """What an uninterrupted campaign comes to."""
    scheduler, records = Scheduler(plan), dict[str, Record]()
    while True:
        schedule = scheduler.schedule(records)
        missing = [trial for trial in schedule.trials if trial.key not in records]
        if not missing:
            return schedule.plan, schedule.trials, records
        records |= {trial.key: train(trial) for trial in missing}


@pytest.mark.parametrize("sampler", ["quasi_random", "tpe"])
def test_every_arm_gets_the_same_budget_and_seeds_that_no_confirming_trial_has(sampler: str) -> None:
    plan, needed, _ = whole(tuned(floor=True, sampler=sampler, trials=4, seeds=3))
    tuning = [trial for trial in needed if trial.phase == "tuning"]
    assert Counter(trial.arm for trial in tuning) == {"control": 4, "other": 4, NOISE_FLOOR: 4}
    assert all(len(arm.settings) == 4 for arm in plan.tuning)
    confirming = {trial.seed for trial in needed if trial.phase == "confirm"}
    assert not confirming & {trial.seed for trial in tuning}
    assert Counter(trial.arm for trial in needed if trial.phase == "confirm") == {
        "control": 3, "other": 3, NOISE_FLOOR: 3,
    }  # fmt: skip


def test_the_first_setting_is_the_recipe_as_written_and_all_lie_in_the_space() -> None:
    plan, _, _ = whole(tuned(trials=16))
    for arm in plan.tuning:
        assert arm.settings[0].values == {"lr": 6e-3, "weight_decay": 0.0}
        for setting in arm.settings:
            assert all(SPACE[name].low <= value <= SPACE[name].high for name, value in setting.values.items())
        assert len({json.dumps(setting.values) for setting in arm.settings}) == 16


def test_quasi_random_settings_are_the_same_for_every_arm_and_cover_the_range_evenly() -> None:
    plan, _, _ = whole(tuned(trials=17))
    ours, theirs = ([setting.values for setting in arm.settings] for arm in plan.tuning)
    assert ours == theirs
    places = sorted(math.log(values["lr"] / 1e-3) / math.log(100) for values in ours[1:])
    assert all(abs(place - (i + 0.5) / 16) < 1 / 16 for i, place in enumerate(places))  # Sobol: one in each sixteenth


def test_the_best_setting_has_the_highest_mean_over_the_tuning_seeds() -> None:
    plan, _, records = whole(tuned(trials=8, seeds=2))
    for arm, tuning in zip(plan.arms, plan.tuning, strict=True):
        scores = {}
        for setting in tuning.settings:
            outcomes = [records[trial.key] for trial in setting.trials]
            if all(outcome.status == "finished" for outcome in outcomes):
                scores[setting.values["lr"]] = sum(one.metrics["val_accuracy"] for one in outcomes)
        assert arm.recipe is not None
        assert arm.recipe.lr == max(scores, key=lambda lr: scores[lr])
        assert all(trial.recipe == arm.recipe for trial in plan.arm_trials(arm.name))
    assert plan.arms[0].recipe != plan.arms[1].recipe


def test_the_noise_floor_is_tuned_on_its_own_with_the_same_settings_and_other_seeds() -> None:
    plan, _, _ = whole(tuned(floor=True))
    assert [tuning.arm for tuning in plan.tuning] == ["control", "other", NOISE_FLOOR]
    control, _, floor = plan.tuning
    assert [one.values for one in floor.settings] == [one.values for one in control.settings]
    seeds = [{trial.seed for one in tuning.settings for trial in one.trials} for tuning in (control, floor)]
    assert not seeds[0] & seeds[1]
    best = {arm.name: arm.setting for arm in plan.arms}
    assert best[NOISE_FLOOR] in [one.values for one in floor.settings]


def test_each_block_tunes_with_settings_and_seeds_of_its_own_and_its_seed_confirms_what_came_of_it() -> None:
    plan = tuned(trials=4, seeds=1)
    tuning = plan.study.tuning.model_copy(update={"blocks": 3})
    study = plan.study.model_copy(update={"tuning": tuning, "plan": Plan(seeds=3)})
    plan, _, records = whole(replace(plan, study=study, trials=trials(study, plan.arms, plan.data)))
    assert [(one.arm, one.block) for one in plan.tuning] == [(arm, b) for arm in ("control", "other") for b in range(3)]
    tried = [tuple(setting.values["lr"] for setting in one.settings) for one in plan.tuning]
    assert tried[:3] == tried[3:]  # alike for both arms
    assert len(set(tried)) == 3
    for one in plan.tuning:
        scores = {s.values["lr"]: records[s.trials[0].key].metrics.get("val_accuracy", -1.0) for s in one.settings}
        confirming = plan.arm_trials(one.arm)[one.block]
        assert confirming.recipe.lr == max(scores, key=lambda lr: scores[lr])
        assert records[confirming.key].status == "finished"
    assert CampaignPlan.from_json(plan.to_json()) == plan


def test_where_no_setting_finishes_the_recipe_as_written_is_confirmed() -> None:
    plan = tuned(sampler="tpe")
    schedule, _ = unfold(plan, lambda keys: _failed(plan, keys))
    assert all(arm.recipe == plan.study.recipe for arm in schedule.plan.arms)
    assert "no setting finished; the recipe as written" in schedule.news[0]


def _failed(plan: CampaignPlan, keys: list[str]) -> dict[str, Record]:
    return {key: made(replace(plan.trials[0]), 0, status="failed") for key in keys}


@pytest.mark.parametrize("metric", ["test_accuracy", "test_loss"])
def test_a_setting_of_which_one_seed_diverges_is_the_worst(metric: str) -> None:
    plan = tuned(trials=3)
    study = plan.study.model_copy(
        update={
            "tuning": Tuning(trials=3, seeds=2, space=SPACE),
            "decision": plan.study.decision.model_copy(update={"metric": metric}),
        }
    )
    plan = replace(plan, study=study)
    first = plan.study.plan.first_seed + 2_000_000

    def partly(trial: Trial) -> Record:
        as_written = trial.recipe.lr == plan.study.recipe.lr
        return made(
            trial, 0.99 if as_written else 0.5, status="diverged" if as_written and trial.seed > first else "finished"
        )

    scheduler = Scheduler(plan)
    tuning = scheduler.schedule({}).trials
    found = scheduler.schedule({trial.key: partly(trial) for trial in tuning}).plan
    assert all(arm.recipe is not None and arm.recipe.lr != plan.study.recipe.lr for arm in found.arms)


def test_tpe_asks_for_the_same_settings_whatever_order_records_come_in() -> None:
    plan = tuned(sampler="tpe", trials=9)
    expected, needed, every = whole(plan)
    scheduler, known = Scheduler(plan), dict[str, Record]()
    for arm in ("other", "control"):  # one arm to its end, then the next
        while missing := [
            t for t in scheduler.schedule(known).trials if t.arm == arm and t.key not in known and t.phase == "tuning"
        ]:
            known |= {trial.key: train(trial) for trial in missing}
    assert scheduler.schedule(known).plan.tuning == expected.tuning
    assert unfold(plan, lambda keys: {key: every[key] for key in keys})[0].trials == needed


def test_a_tuned_plan_reads_back_as_it_was() -> None:
    plan, _, _ = whole(tuned(floor=True, seeds=2))
    again = CampaignPlan.from_json(plan.to_json())
    assert again == plan
    assert [trial.key for trial in again.tuning_trials] == [trial.key for trial in plan.tuning_trials]
    assert [trial.key for trial in again.trials] == [trial.key for trial in plan.trials]


def test_what_is_tuned_is_trained_judged_and_stored(runs: Path) -> None:
    plan, notes, executor = tuned(), Notes(), Instant(train)
    expected, needed, records = whole(plan)
    result = go(plan, runs, executor, notes)
    assert result.plan == expected
    assert result.needed == tuple(trial.key for trial in needed)
    assert not result.missing
    assert (notes.todo, notes.more) == (len(needed), 0)
    assert notes.messages[0].startswith("control is tuned: lr 0.0")
    assert all(executor.submitted[i].phase == "tuning" for i in range(10))

    assert {key: record.to_json() for key, record in result.records.items()} == {
        key: replace(record, measured=result.records[key].measured).to_json() for key, record in records.items()
    }
    assert go(plan, runs, Instant(train)).trained == 0
    check = check_campaign(plan, RunOptions(runs=runs))
    assert (check.sound, check.trials) == (True, 14)
    assert load(RunOptions(runs=runs), "faults").plan == expected


def test_a_campaign_interrupted_at_every_point_goes_on_to_the_same_end(runs: Path) -> None:
    plan = tuned(sampler="tpe", trials=3, seeds=1)
    expected, needed, records = whole(plan)
    calls = 0
    while True:
        calls += 1
        try:
            result = go(plan, runs, Instant(train, jobs=1, stop_after=1))
        except CampaignInterrupted:
            continue
        break
    assert calls == len(needed)
    assert result.plan == expected
    assert all(result.records[trial.key].same_result(records[trial.key]) for trial in needed)
    assert check_campaign(plan, RunOptions(runs=runs)).sound


@pytest.mark.parametrize("sampler", ["quasi_random", "tpe"])
def test_any_part_of_the_records_leads_on_to_the_same_end(sampler: str) -> None:
    plan = tuned(sampler=sampler, trials=6)
    expected, needed, records = whole(plan)
    for cut in range(len(needed) + 1):
        kept = {trial.key: records[trial.key] for trial in needed[:cut]}
        scheduler = Scheduler(plan)
        while missing := [trial for trial in scheduler.schedule(kept).trials if trial.key not in kept]:
            assert {trial.key for trial in missing} <= set(records)
            kept |= {missing[-1].key: records[missing[-1].key]}
        assert scheduler.schedule(kept).plan == expected


def test_a_tuned_study_can_settle_early_too() -> None:
    plan, needed, _ = whole(tuned(plan=Plan(seeds=8, until="settled", max_seeds=16)))
    assert all(arm.recipe is not None for arm in plan.arms)
    assert Counter(trial.phase for trial in needed)["tuning"] == 10
    assert 16 <= Counter(trial.phase for trial in needed)["confirm"] <= 32


def test_a_failed_setting_is_run_again_at_the_next_call(runs: Path) -> None:
    plan = tuned()
    expected, _, _ = whole(plan)
    broken = expected.tuning[0].settings[2].trials[0]
    first = go(plan, runs, Instant(lambda trial: None if trial == broken else train(trial)))
    assert first.missing == (broken.key,)
    assert len(first.records) == 14  # it counted as the worst, and the campaign went on
    assert go(plan, runs, Instant(train)).plan == expected


# Optuna drives: what runs was asked of a study and told back


def factorial(seeds: int = 2) -> CampaignPlan:
    """Two factors of two levels; the first decides nearly all."""
    made_of = plan_of("control", "b", "a", "ab", seeds=seeds)
    levels = ({"a": False, "b": False}, {"a": False, "b": True}, {"a": True, "b": False}, {"a": True, "b": True})
    arms = tuple(replace(arm, factors=dict(level)) for arm, level in zip(made_of.arms, levels, strict=True))
    return replace(made_of, arms=arms)


def effects(trial: Trial) -> Record:
    return made(trial, 0.5 + 0.3 * ("a" in trial.arm) + 0.01 * (trial.arm in ("b", "ab")) + 0.001 * trial.seed)


@pytest.mark.parametrize("plan", [plan_of("control", "other", seeds=3), factorial(), tuned(trials=3)])
def test_every_trial_that_runs_was_asked_for_and_told_back(
    runs: Path, monkeypatch: pytest.MonkeyPatch, plan: CampaignPlan
) -> None:
    import optuna

    studies, create = list[optuna.Study](), optuna.create_study

    def remembered(*arguments: Any, **named: Any) -> optuna.Study:
        studies.append(create(*arguments, **named))
        return studies[-1]

    monkeypatch.setattr(optuna, "create_study", remembered)
    executor = Instant(train if plan.study.tuned else effects)
    result = go(plan, runs, executor)
    in_memory = [study for study in studies if isinstance(study._storage, optuna.storages.InMemoryStorage)]
    design = [trial for study in in_memory for trial in study.trials if "key" in trial.user_attrs]
    ran = [trial.key for trial in executor.submitted if trial.phase == "confirm"]
    assert [trial.user_attrs["key"] for trial in design] == ran
    assert all(trial.state.is_finished() for trial in design)
    for trial in design:
        assert trial.value == result.records[trial.user_attrs["key"]].metrics["test_accuracy"]
        assert trial.params == trial.system_attrs["fixed_params"]  # enqueued points of the real parameters
    settings = sum(len(arm.settings) for arm in result.plan.tuning)
    asked = [trial for study in in_memory for trial in study.trials if "key" not in trial.user_attrs]
    assert len(asked) == settings


def test_importance_finds_the_factor_that_decides_and_gives_shares() -> None:
    plan = factorial(seeds=6)
    shares = importance(plan, {trial.key: effects(trial) for trial in plan.trials})
    assert set(shares) == {"a", "b", "seed"}
    assert shares["a"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert importance(plan_of("control", "other"), {}) == {}
