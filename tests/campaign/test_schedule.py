from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import Notes, plan_of
from instant import Instant, go, made

from ablate.campaign.check import check_campaign
from ablate.campaign.options import CampaignInterrupted, RunOptions
from ablate.campaign.schedule import Confirming, unfold
from ablate.design.plan import CampaignPlan, Trial, trials
from ablate.design.record import Record
from ablate.design.study import Decision, Plan
from ablate.verdicts.judge import judge


def settling(*arms: str, seeds: int = 6, most: int = 14, block: int = 4) -> CampaignPlan:
    plan = plan_of("control", *arms)
    study = plan.study.model_copy(
        update={
            "plan": Plan(seeds=seeds, until="settled", max_seeds=most, block=block),
            "decision": Decision(margin=0.01),
        }
    )
    return replace(plan, study=study, trials=trials(study, plan.arms, plan.data))


def train(trial: Trial) -> Record:
    """``clear`` is 5 points worse than the control, ``same`` differs by noise within the margin, ``open`` around it."""
    wobble = math.sin(7.0 * trial.seed)
    own = {"clear": -0.05 + 0.002 * wobble, "same": 0.001 * wobble, "open": 0.04 * math.sin(2 + 3.0 * trial.seed)}
    return made(trial, 0.9 + 0.01 * math.cos(trial.seed) + own.get(trial.arm, 0.0))


def seeds_of(trials: object) -> Counter[str]:
    return Counter(trial.arm for trial in trials)  # type: ignore[attr-defined]


def needed_of(plan: CampaignPlan, train: Callable[[Trial], Record]) -> tuple[Trial, ...]:
    every = {trial.key: train(trial) for trial in plan.trials}
    return unfold(plan, lambda keys: {key: every[key] for key in keys})[0].trials


def test_a_clear_effect_stops_at_the_first_look_that_can_show_it() -> None:
    plan = settling("clear")
    assert seeds_of(needed_of(plan, train)) == {"control": 10, "clear": 10}  # 6 seeds cannot reach the first share
    assert seeds_of(needed_of(settling("clear", seeds=8, most=10), train)) == {"control": 8, "clear": 8}


def test_no_effect_goes_on_until_it_is_equivalent_and_an_open_one_to_the_end() -> None:
    counted = seeds_of(needed_of(settling("clear", "same", "open", seeds=8, most=16), train))
    assert counted["open"] == counted["control"] == 16
    assert counted["clear"] < 16
    assert counted["same"] < 16


def test_no_look_is_taken_before_every_trial_of_its_block_has_a_record() -> None:
    plan = settling("clear", seeds=8, most=16)
    schedule = Confirming(plan)
    first = schedule.trials({})
    assert seeds_of(first) == {"control": 8, "clear": 8}
    every = {trial.key: train(trial) for trial in first}
    for trial in first:
        assert schedule.trials({key: one for key, one in every.items() if key != trial.key}) == first


def test_records_of_later_seeds_do_not_move_a_look() -> None:
    plan = settling("clear", "same", seeds=8, most=16)
    every = {trial.key: train(trial) for trial in plan.trials}
    assert Confirming(plan).trials(every) == needed_of(plan, train)


def test_a_settled_study_is_whole_with_fewer_trials_than_were_planned_at_most(runs: Path) -> None:
    plan, notes, executor = settling("clear", most=20), Notes(), Instant(train)
    result = go(plan, runs, executor, notes)
    needed = {trial.key for trial in needed_of(plan, train)}
    assert {trial.key for trial in executor.submitted} == set(result.needed) == set(result.records) == needed
    assert len(needed) < len(plan.trials)
    assert not result.missing
    assert notes.todo + notes.more == len(needed)
    assert notes.messages[0] == "clear is not settled after 6 seeds: 4 more"

    assert go(plan, runs, Instant(train)).trained == 0
    check = check_campaign(plan, RunOptions(runs=runs))
    assert (check.sound, check.trials) == (True, len(needed))

    assert judge(result.plan, result.records).verdict("clear").outcome == "worse"


@pytest.mark.parametrize("after", [5, 12, 17])
def test_a_campaign_cut_off_anywhere_goes_on_to_the_same_records(runs: Path, after: int) -> None:
    plan = settling("clear")
    with pytest.raises(CampaignInterrupted):
        go(plan, runs, Instant(train, stop_after=after))
    result = go(plan, runs, Instant(train, jobs=1))
    assert result.needed == tuple(trial.key for trial in needed_of(plan, train))
    assert all(record.same_result(train(trial)) for trial, record in _pairs(plan, result.records))


def _pairs(plan: CampaignPlan, records: dict[str, Record]) -> list[tuple[Trial, Record]]:
    return [(trial, records[trial.key]) for trial in plan.trials if trial.key in records]


def test_a_failed_seed_ends_the_looks_and_its_rerun_takes_them_up_again(runs: Path) -> None:
    plan = settling("open", seeds=8, most=12)
    broken = plan.arm_trials("open")[3]
    first = go(plan, runs, Instant(lambda trial: None if trial == broken else train(trial)))
    assert first.missing == (broken.key,)
    assert len(first.needed) == 2 * 8
    second = go(plan, runs, Instant(train))
    assert not second.missing
    assert len(second.needed) == 2 * 12
