from __future__ import annotations

from pathlib import Path

from fakes import Notes, no_costs, null, outcome, plan_of

from ablate.campaign.dispatch import run_campaign
from ablate.campaign.local import LocalExecutor
from ablate.campaign.result import CampaignResult
from ablate.campaign.tracking import Tracking
from ablate.design.plan import CampaignPlan


def go(plan: CampaignPlan, runs: Path, notes: Notes | None = None, **options: object) -> CampaignResult:
    executor = LocalExecutor(2, train=null, preload=())
    return run_campaign(plan, runs=runs, executor=executor, prepare=no_costs, observer=notes, **options)  # type: ignore[arg-type]


def test_every_trial_is_run_once_and_a_second_call_runs_none(tmp_path: Path) -> None:
    plan, notes, again = plan_of("control", "other", seeds=3), Notes(), Notes()
    result = go(plan, tmp_path / "runs", notes)
    assert result.trained == 6
    assert (result.waiting, notes.messages) == (0, [])
    assert sorted(notes.started_trials) == sorted((trial.key, 1) for trial in plan.trials)
    assert notes.epochs == 12
    assert all(result.records[trial.key].same_result(outcome(trial)) for trial in plan.trials)

    second = go(plan, tmp_path / "runs", again)
    assert (second.trained, again.started_trials) == (0, [])
    assert second.records == result.records
    assert second.costs == result.costs
    assert again.messages == []

    campaign = Tracking(f"sqlite:///{tmp_path}/runs/mlflow.db", tmp_path / "runs/artifacts").load_campaign("faults")
    assert campaign.plan == plan
    assert campaign.records == result.records
    assert not list((tmp_path / "runs/trials").iterdir())
