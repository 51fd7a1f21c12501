from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import outcome, plan_of
from instant import Instant, go

from ablate.campaign.check import REPAIR, RUN, Check, check_campaign, forget, repair_campaign
from ablate.campaign.options import CampaignInterrupted, RunOptions
from ablate.campaign.records import Held, RecordStore
from ablate.campaign.run import _Campaign
from ablate.design.plan import Trial, make_plan
from ablate.design.record import Record
from ablate.design.study import Plan, Recipe, Study
from ablate.errors import AblateError

PLAN = plan_of("control", "other", seeds=2)


def remedies(found: Check) -> list[tuple[str, str]]:
    return [(fault.where, fault.remedy) for fault in found.faults]


def content(runs: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in runs.rglob("*") if path.is_file() and path.suffix != ".db"}


def test_a_study_that_was_never_run_is_told_apart_and_nothing_is_made(tmp_path: Path) -> None:
    options = RunOptions(runs=tmp_path / "runs")
    found = check_campaign(PLAN, options)
    assert (found.never_run, found.sound, found.trials, found.records) == (True, False, 4, 0)
    assert remedies(found) == [("records", RUN)]
    assert not options.runs.exists()


def test_a_plan_of_100_000_trials_is_made_checked_and_begun_within_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.process_time()
    arms = {f"wide{n}": {"expand_ratio": 6 + n} for n in range(1, 10)}
    plan = make_plan(Study(name="large", arms=arms, recipe=Recipe(epochs=1), plan=Plan(seeds=10_000)))
    found = check_campaign(plan, RunOptions(runs=tmp_path / "runs"))
    assert (found.trials, found.records) == (100_000, 0)
    assert time.process_time() - began < 60
    monkeypatch.setattr(_Campaign, "_close_views", lambda *_: None)  # which make databases
    stopped = Instant(outcome, stop_after=1)
    with pytest.raises(CampaignInterrupted):
        go(plan, tmp_path / "runs", stopped)
    assert stopped.submitted == [plan.trials[0]]
    assert time.process_time() - began < 60


def test_a_finished_campaign_is_sound_and_a_check_changes_nothing(runs: Path) -> None:
    go(PLAN, runs)
    before, options = content(runs), RunOptions(runs=runs)
    assert check_campaign(PLAN, options) == Check(trials=4, records=4)
    assert content(runs) == before


def test_what_is_wrong_is_named_with_its_remedy_and_repaired_without_training(runs: Path) -> None:
    go(PLAN, runs)
    options, store = RunOptions(runs=runs), RecordStore(runs, "faults")
    first, second, third, _ = PLAN.trials
    expected = {trial.key: store.path(trial.key).read_bytes() for trial in PLAN.trials}
    store.path(first.key).write_bytes(b"\xff half a rec")
    store.path(second.key).unlink()
    (runs / "optuna.db").unlink()
    found = check_campaign(PLAN, options)
    assert remedies(found) == [("records", REPAIR), ("records", RUN), ("Optuna", REPAIR)]
    assert str(store.path(first.key)) in found.faults[0].message
    assert "other, seed 0 has no record" in found.faults[1].message
    assert found.records == 2

    said: list[str] = []
    repaired = repair_campaign(PLAN, options, said.append)
    assert (repaired.sound, repaired.records, said) == (True, 4, [])
    assert {key: store.path(key).read_bytes() for key in expected} == expected
    assert [line for line in repaired.repaired if "was taken from MLflow" in line]
    assert store.path(third.key).exists()


def test_records_that_no_view_has_are_pushed_by_the_repair(runs: Path) -> None:
    options, store = RunOptions(runs=runs), RecordStore(runs, "faults")
    for trial in PLAN.trials:
        store.put(outcome(trial))
    assert remedies(check_campaign(PLAN, options)) == [("MLflow", REPAIR), ("Optuna", REPAIR)]
    repaired = repair_campaign(PLAN, options, print)
    assert repaired.sound
    assert [line.split(" holds ")[1] for line in repaired.repaired] == ["4 records"] * 2


def test_a_failed_trial_is_named_and_a_rerun_is_its_remedy(runs: Path) -> None:
    broken = PLAN.trials[1]

    def train(trial: Trial) -> Record | None:
        return None if trial == broken else outcome(trial)

    go(PLAN, runs, Instant(train))
    found = check_campaign(PLAN, RunOptions(runs=runs))
    assert [(fault.message, fault.remedy) for fault in found.faults] == [("other, seed 0 failed", RUN)]
    assert found.records == 3


def test_finished_trials_without_the_weights_that_the_study_keeps_are_named(runs: Path) -> None:
    go(PLAN, runs)
    keeping = replace(PLAN, study=PLAN.study.model_copy(update={"keep_weights": True}))
    found = check_campaign(keeping, RunOptions(runs=runs))
    assert "control, seed 0; other, seed 0; control, seed 1; other, seed 1 kept no weights" in [
        fault.message for fault in found.faults
    ]


def test_forget_takes_an_arm_or_one_seed_and_refuses_what_there_is_not(runs: Path) -> None:
    go(PLAN, runs)
    options = RunOptions(runs=runs)
    assert forget(PLAN, options, ["other:1", "other:1"]) == [PLAN.trials[3]]
    assert forget(PLAN, options, ["other"]) == [PLAN.trials[1]]  # the other seed is forgotten already
    with pytest.raises(AblateError, match="--forget must be one of control, other; got 'othre'; did you mean 'other'"):
        forget(PLAN, options, ["othre"])
    with pytest.raises(AblateError, match="--forget other:9: the seed must be one of 0, 1; got '9'"):
        forget(PLAN, options, ["other:9"])
    assert check_campaign(PLAN, options).records == 2


def test_a_campaign_that_is_being_run_is_left_alone_by_repair_and_forget(runs: Path) -> None:
    options = RunOptions(runs=runs)
    with RecordStore(runs, "faults").locked():
        with pytest.raises(Held, match="is being run by process"):
            repair_campaign(PLAN, options, print)
        with pytest.raises(Held, match="is being run by process"):
            forget(PLAN, options, ["other"])
