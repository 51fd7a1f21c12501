"""A search: the same candidates from the same records, bracket by bracket, and what is confirmed of them."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from instant import Instant, go, made

from ablate.campaign.check import check_campaign
from ablate.campaign.done import progress_of
from ablate.campaign.options import CampaignInterrupted, RunOptions
from ablate.campaign.optuna_search import search_importance
from ablate.campaign.schedule import Schedule, Scheduler
from ablate.design.imported import Imported
from ablate.design.plan import Arm, CampaignPlan, Trial, make_plan
from ablate.design.record import Measured, Record
from ablate.design.sealed import SealedPlan
from ablate.design.search import num_search_trials
from ablate.design.study import Study
from ablate.model.spec import NetSpec
from ablate.verdicts.explored import cost_of, lucks
from ablate.verdicts.registration import registration

FACTORS: dict[str, Any] = {
    "conv": ["depthwise", "full"],
    "recipe.lr": {"low": 1e-3, "high": 1e-1, "log": True},
    "width_mult": {"low": 0.5, "high": 1.5, "step": 0.25},
}
CONTROL = {"net": "mobilenet_v2_mnist", "width_mult": 1.0}


def searching(
    *, seeds: int = 2, epochs: int = 1, factors: dict[str, Any] | None = None, noise_floor: bool = False, **search: Any
) -> CampaignPlan:
    study = Study.model_validate(
        {
            "name": "looking",
            "control": CONTROL,
            "design": {"kind": "search"},
            "factors": factors or FACTORS,
            "search": {"trials": 8, "confirm": 2, **search},
            "recipe": {"epochs": epochs},
            "data": {"name": "synthetic"},
            "plan": {"seeds": seeds},
            "noise_floor": noise_floor,
        }
    )
    return make_plan(study)


def train(trial: Trial) -> Record:
    """The best learning rate is 0.02; wide nets are a little better, more epochs too; the highest rates diverge."""
    if trial.recipe.lr > 0.08:
        return made(trial, 0.0, status="diverged")
    assert isinstance(trial.spec, NetSpec)
    distance = abs(math.log(trial.recipe.lr / 0.02))
    value = 0.8 - 0.04 * distance + 0.02 * trial.spec.width_mult + 0.01 * trial.recipe.epochs
    record = made(trial, value + 0.003 * math.sin(trial.seed + 50 * trial.spec.width_mult))
    return replace(record, measured=Measured(latency_ms=3 / trial.spec.width_mult, started_at=1_700_000_000.0))


def whole(plan: CampaignPlan) -> tuple[Schedule, dict[str, Record]]:
    """What an uninterrupted campaign comes to."""
    scheduler, records = Scheduler(plan), dict[str, Record]()
    while True:
        schedule = scheduler.schedule(records)
        missing = [trial for trial in schedule.trials if trial.key not in records]
        if not missing:
            return schedule, records
        records |= {trial.key: train(trial) for trial in missing}


ASKED: list[dict[str, Any]] = [
    {"sampler": "tpe", "trials": 12},
    {"sampler": "random", "trials": 6},
    {"sampler": "nsga2", "trials": 12, "against": "params"},
    {"sampler": "tpe", "trials": 10, "pruner": "successive_halving", "epochs": 9},
    {"sampler": "tpe", "trials": 12, "pruner": "hyperband", "epochs": 9},
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_any_part_of_the_records_leads_to_the_same_end(asked: dict[str, Any]) -> None:
    plan = searching(**asked)
    expected, records = whole(plan)
    for cut in range(0, len(expected.trials) + 1, 3):
        kept = {trial.key: records[trial.key] for trial in expected.trials[:cut]}
        scheduler = Scheduler(plan)
        while missing := [trial for trial in scheduler.schedule(kept).trials if trial.key not in kept]:
            assert {trial.key for trial in missing} <= set(records)
            kept |= {missing[-1].key: records[missing[-1].key]}  # the last one first: the order does not matter
        assert scheduler.schedule(kept).plan == expected.plan


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_budget_is_kept_and_its_seeds_are_of_no_confirming_trial(asked: dict[str, Any]) -> None:
    plan = searching(**asked)
    schedule, _ = whole(plan)
    tried = [trial for trial in schedule.trials if trial.phase == "search"]
    assert len(schedule.plan.search) == asked["trials"]
    assert len(tried) == num_search_trials(plan.study)
    confirming = {trial.seed for trial in schedule.trials if trial.phase == "confirm"}
    assert confirming == {0, 1}
    assert not confirming & {trial.seed for trial in tried}
    first = Scheduler(plan).schedule({})
    assert len(first.trials) + first.to_come >= len(schedule.trials)


def test_candidates_differ_stay_in_the_space_and_start_with_the_control() -> None:
    plan = whole(searching(trials=20))[0].plan
    setups = [candidate.arm.setup for candidate in plan.search]
    assert len(set(setups)) == 20
    assert setups[0] == plan.control.setup
    for candidate in plan.search:
        assert 1e-3 <= float(candidate.values["recipe.lr"]) <= 1e-1
        assert candidate.values["width_mult"] in (0.5, 0.75, 1, 1.25, 1.5)
        assert candidate.arm.recipe.lr == candidate.values["recipe.lr"]


def test_the_best_scores_are_confirmed_and_tpe_comes_nearer_to_the_best_rate_than_chance() -> None:
    found = {}
    for sampler in ("tpe", "random"):
        schedule, records = whole(searching(trials=40, sampler=sampler, confirm=3))
        plan = schedule.plan
        scores = {one.number: records[one.trials[0].key].metrics.get("val_accuracy", -1.0) for one in plan.search[1:]}
        best = sorted(scores, key=lambda number: -scores[number])[:3]
        chosen = [plan.search[number - 1].arm for number in best]
        assert [arm.setup for arm in plan.arms[1:]] == [arm.setup for arm in chosen]
        assert [arm.name for arm in plan.arms] == ["control", "best_1", "best_2", "best_3"]
        late = [math.log(float(one.values["recipe.lr"]) / 0.02) for one in plan.search[20:]]
        found[sampler] = sum(map(abs, late)) / len(late)
    assert found["tpe"] < 0.7 * found["random"]


def test_a_field_that_the_recipe_does_not_read_does_not_count() -> None:
    factors = {"recipe.optimizer": ["adamw", "sgd"], "recipe.momentum": {"low": 0.5, "high": 0.99}}
    plan = whole(searching(factors=factors, trials=9))[0].plan
    adaptive = [one for one in plan.search if one.arm.recipe.optimizer == "adamw"]
    assert len(adaptive) == 1  # whatever the momentum, they train the same
    assert "recipe.momentum" not in adaptive[0].values
    assert {one.arm.recipe.momentum for one in adaptive} == {plan.study.recipe.momentum}


def test_a_space_that_is_used_up_ends_the_search_early_and_says_so() -> None:
    factors = {"residual": ["inverted", "classic"], "shortcut": ["identity", "expansions", "none"]}
    plan = searching(factors=factors, trials=5, sampler="random")  # classic with expansions cannot be
    schedule, _ = whole(plan)
    assert len(schedule.plan.search) == 5


def test_halving_trains_the_best_third_with_three_times_the_epochs() -> None:
    plan, records = (lambda pair: (pair[0].plan, pair[1]))(
        whole(searching(trials=10, pruner="successive_halving", epochs=9, confirm=1))
    )
    reached = Counter(len(one.rungs) for one in plan.search)
    assert reached == {1: 6, 2: 2, 3: 2}  # 9 others: 9, 3, 1; the control goes to the end
    assert len(plan.search[0].rungs) == 3
    first = {one.number: records[one.rungs[0].trials[0].key].metrics.get("val_accuracy", -1) for one in plan.search[1:]}
    best = set(sorted(first, key=lambda number: -first[number])[:3])
    assert {one.number for one in plan.search[1:] if len(one.rungs) > 1} == best
    assert [rung.epochs for rung in plan.search[0].rungs] == [1, 3, 9]
    assert [rung.trials[0].recipe.epochs for rung in plan.search[0].rungs] == [1, 3, 9]


def test_hyperband_starts_brackets_with_different_epochs_and_pools_their_ends() -> None:
    plan = whole(searching(trials=18, pruner="hyperband", epochs=9, confirm=2))[0].plan
    starts = Counter(one.rungs[0].epochs for one in plan.search)
    assert set(starts) == {1, 3, 9}
    assert starts[1] > starts[3] >= starts[9] >= 2
    assert plan.search[0].rungs[0].epochs == 9
    assert len(plan.arms) == 3


def test_nsga_confirms_members_of_the_front_by_brute_force() -> None:
    schedule, records = whole(searching(trials=24, sampler="nsga2", against="params", confirm=3))
    plan = schedule.plan
    points = []
    for one in plan.search:
        cost = cost_of(plan.study, plan.data, one, records)
        value = records[one.trials[0].key].metrics.get("val_accuracy")
        if value is not None:
            assert cost is not None
            points.append((one, value, cost))
    front = [
        one.arm.setup
        for one, value, cost in points
        if not any(other >= value and price <= cost and (other, price) != (value, cost) for _, other, price in points)
    ]
    assert {arm.setup for arm in plan.arms[1:]} <= set(front)
    assert [arm.name for arm in plan.arms[1:]] == [f"front_{i + 1}" for i in range(len(plan.arms) - 1)]


def test_a_latency_is_measured_by_the_trial_and_is_in_its_record() -> None:
    schedule, records = whole(searching(trials=6, sampler="nsga2", against="latency"))
    tried = [trial for trial in schedule.trials if trial.phase == "timed"]
    assert len(tried) == 6
    one = schedule.plan.search[1]
    assert isinstance(one.arm.spec, NetSpec)
    assert cost_of(schedule.plan.study, schedule.plan.data, one, records) == pytest.approx(3 / one.arm.spec.width_mult)
    assert Record.from_json(records[one.trials[0].key].to_json()).measured.latency_ms is not None


def test_where_no_candidate_finishes_the_control_stands_alone() -> None:
    plan = searching(trials=4)
    scheduler, records = Scheduler(plan), dict[str, Record]()
    while missing := [t for t in scheduler.schedule(records).trials if t.key not in records]:
        records |= {
            trial.key: train(trial) if trial.phase == "confirm" else made(trial, 0.0, status="diverged")
            for trial in missing
        }
    assert [arm.name for arm in scheduler.schedule(records).plan.arms] == ["control"]


def test_a_searched_plan_reads_back_as_it_was() -> None:
    plan = whole(searching(trials=6, pruner="successive_halving", epochs=4))[0].plan
    again = CampaignPlan.from_json(plan.to_json())
    assert again == plan
    before = searching()
    assert CampaignPlan.from_json(before.to_json()) == before
    assert json.loads(before.to_json())["search"] == []


def test_the_seal_fixes_space_budget_and_k_and_the_search_decides_the_arms() -> None:
    before = searching()
    schedule, records = whole(before)
    records = {key: replace(one, measured=Measured(started_at=2.0)) for key, one in records.items()}
    sealed = SealedPlan(plan=before, sealed_at=1.0, commit="")
    assert registration(schedule.plan, [sealed], records).is_confirmatory
    other, _ = whole(searching(confirm=3))
    reasons = registration(other.plan, [sealed], records).reasons
    assert any(reason.startswith("search.confirm was 2") for reason in reasons)


def test_a_search_interrupted_at_every_point_resumes_to_the_same_end_in_records_and_views(runs: Path) -> None:
    plan = searching(trials=5, seeds=1, noise_floor=True)
    expected, records = whole(plan)
    calls = 0
    while True:
        calls += 1
        try:
            result = go(plan, runs, Instant(train, jobs=1, stop_after=2))
        except CampaignInterrupted:
            continue
        break
    assert calls > len(expected.trials) // 2
    assert result.plan == expected.plan
    assert set(result.records) == set(records)
    assert set(result.costs) == {"control", "best_1", "best_2", "noise_floor"}
    assert check_campaign(plan, RunOptions(runs=runs)).sound
    assert progress_of(plan, runs)[:2] == (expected.plan, len(expected.trials))
    storage = f"sqlite:///{runs}/optuna.db"
    name = f"looking quick {plan.study.digest} search"
    view = optuna.load_study(study_name=name, storage=storage)
    assert len(view.trials) == 5
    assert {"conv", "recipe.lr", "width_mult"} == set(view.trials[0].params)


OWN: dict[str, Any] = {
    "name": "own",
    "command": ("python", "-c", "pass", "{lr}", "{layers}", "{epochs}"),
    "control": {"lr": 0.2, "layers": 2, "epochs": 9},
    "design": {"kind": "search"},
    "factors": {"lr": {"low": 1e-2, "high": 1.0, "log": True}, "layers": {"low": 1, "high": 6}},
    "search": {"trials": 12, "confirm": 2},
    "plan": {"seeds": 2},
    "decision": {"metric": "test_bits", "higher_is_better": False, "margin": 0.1},
}


def keywords(of: Trial | Arm) -> dict[str, Any]:
    assert isinstance(of.spec, Imported)
    return dict(of.spec.keywords)


def train_own(trial: Trial) -> Record:
    """The best rate is 0.05; each layer helps, and takes its time; the test metric is not given while searching."""
    fields = keywords(trial)
    bits = (
        abs(math.log(fields["lr"] / 0.05)) + 1 / fields["layers"] + 1 / fields["epochs"] + 0.01 * math.sin(trial.seed)
    )
    metrics = {"val_bits": bits, "latency_ms": 2.0 * fields["layers"]}
    return Record.of(trial, "finished", metrics=metrics | ({"test_bits": bits} if trial.phase == "confirm" else {}))


def searched_own(**search: Any) -> tuple[CampaignPlan, dict[str, Record]]:
    plan = make_plan(Study.model_validate(OWN | {"search": {**OWN["search"], **search}}))
    scheduler, records = Scheduler(plan), dict[str, Record]()
    while missing := [trial for trial in scheduler.schedule(records).trials if trial.key not in records]:
        records |= {trial.key: train_own(trial) for trial in missing}
    return scheduler.schedule(records).plan, records


def test_own_training_is_searched_by_what_it_returns_of_validation_and_confirmed_with_fresh_seeds() -> None:
    plan, records = searched_own(pruner="successive_halving")
    first = [one.rungs[0].trials[0] for one in plan.search]
    assert {(trial.phase, trial.metrics) for trial in first} == {("search", ("val_bits",))}
    assert [keywords(rung.trials[0])["epochs"] for rung in plan.search[0].rungs] == [1, 3, 9]
    bits = {one.number: records[one.rungs[-1].trials[0].key].metrics["val_bits"] for one in plan.search[1:]}
    whole_ones = [number for number in bits if plan.search[number - 1].rungs[-1].epochs == 9]
    best = sorted(whole_ones, key=lambda number: bits[number])[:2]
    assert [arm.spec for arm in plan.arms[1:]] == [plan.search[number - 1].arm.spec for number in best]
    assert {trial.metrics for trial in plan.trials} == {("test_bits", "val_bits")}
    assert CampaignPlan.from_json(plan.to_json()) == plan
    (luck, _) = lucks(plan, records)
    fresh = [records[trial.key].metrics["val_bits"] for trial in plan.arm_trials("best_1")]
    assert luck.confirmed_value == pytest.approx(sum(fresh) / 2)


def test_own_training_is_traded_against_the_latency_that_it_returns() -> None:
    plan, records = searched_own(sampler="nsga2", against="latency")
    assert plan.search[1].trials[0].metrics == ("val_bits", "latency_ms")
    for one in plan.search:
        assert cost_of(plan.study, plan.data, one, records) == 2.0 * keywords(one.arm)["layers"]
    assert [arm.name for arm in plan.arms[1:]] == [f"front_{i + 1}" for i in range(len(plan.arms) - 1)]


def test_the_keywords_of_an_imported_net_are_searched_with_the_recipe() -> None:
    factors = {"zero_init_residual": [False, True], "recipe.lr": {"low": 1e-3, "high": 1e-1, "log": True}}
    control = {"net": "torchvision.models:resnet18", "zero_init_residual": False}
    fields = {"name": "own", "control": control, "design": {"kind": "search"}, "factors": factors}
    study = {**fields, "search": {"trials": 6, "confirm": 1}, "data": {"name": "synthetic"}}
    scheduler, records = Scheduler(make_plan(Study.model_validate(study))), dict[str, Record]()
    while missing := [trial for trial in scheduler.schedule(records).trials if trial.key not in records]:
        for trial in missing:
            zero = keywords(trial)["zero_init_residual"]
            records[trial.key] = made(trial, 0.5 + 0.1 * zero - 0.01 * abs(math.log(trial.recipe.lr / 0.02)))
    plan = scheduler.schedule(records).plan
    assert keywords(plan.arm("best_1"))["zero_init_residual"] is True
    assert {trial.arm for trial in plan.trials} == {"control", "best_1"}


def test_importance_names_the_factor_that_decides() -> None:
    schedule, records = whole(searching(trials=40, sampler="random"))
    shares = search_importance(schedule.plan, records)
    assert max(shares, key=lambda name: shares[name]) == "recipe.lr"
    assert sum(shares.values()) == pytest.approx(1)
