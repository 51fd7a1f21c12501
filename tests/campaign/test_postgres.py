"""MLflow and Optuna on a real PostgreSQL server, started here and removed afterwards."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from driver import killing_plan, stepwise
from fakes import Notes, no_costs, null, outcome, plan_of, until
from fire import end_server, server
from postgres import HINT, PostgresServer, free_port, installed

from ablate.campaign.check import check_campaign, repair_campaign
from ablate.campaign.local import LocalExecutor
from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.options import RunOptions
from ablate.campaign.run import run_campaign
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not installed(), reason=HINT)]
NUMBERS = count()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database(f"optuna{next(NUMBERS)}")


def shown_by(url: str) -> Counter[str]:
    """Keys of the trials that Optuna shows."""
    import optuna

    storage = optuna.storages.RDBStorage(url)
    studies = [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]
    found = Counter(trial.user_attrs["key"] for study in studies for trial in study.trials)
    storage.remove_session()
    storage.engine.dispose()
    return found


def test_optuna_on_postgresql_shows_every_trial_and_a_second_call_runs_none(url: str, runs: Path) -> None:
    plan, options = plan_of("control", "once_killed", seeds=2), RunOptions(runs=runs, optuna_storage=url)
    (runs / "optuna.db").unlink()
    for trained in (4, 0):
        executor = LocalExecutor(2, train=null, preload=())
        result = run_campaign(plan, options, prepare=no_costs, executor=executor)
        assert (result.trained, result.behind) == (trained, {})
    assert not (runs / "optuna.db").exists()
    assert shown_by(url) == Counter(trial.key for trial in plan.trials)
    assert check_campaign(plan, options).sound


def test_two_studies_that_find_an_empty_database_at_once_both_start_and_are_shown(url: str, tmp_path: Path) -> None:
    plans = [plan_of("control", "other", seeds=2, name=name) for name in ("first", "second")]
    start, results = threading.Barrier(2), {}

    def carry_out(plan: CampaignPlan) -> None:
        options = RunOptions(runs=tmp_path / plan.study.name, optuna_storage=url)
        executor = LocalExecutor(1, train=null, preload=())
        start.wait()
        results[plan.study.name] = run_campaign(plan, options, prepare=no_costs, executor=executor)

    at_once = [threading.Thread(target=carry_out, args=(plan,)) for plan in plans]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()
    assert {name: (result.trained, result.behind) for name, result in results.items()} == {
        "first": (4, {}),
        "second": (4, {}),
    }
    assert shown_by(url) == Counter(trial.key for plan in plans for trial in plan.trials)


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_server_restarted_in_mid_campaign_costs_nothing(
    postgres: PostgresServer, url: str, runs: Path, mode: str
) -> None:
    plan, notes, options = killing_plan(seeds=8), Notes(), RunOptions(runs=runs, optuna_storage=url)

    def restart() -> None:
        until(lambda: len(notes.started_trials) >= 4, 30)
        postgres.stop(mode)
        time.sleep(1.5)
        postgres.start()

    trouble = threading.Thread(target=restart)
    trouble.start()
    try:
        executor = LocalExecutor(2, train=stepwise, preload=())
        result = run_campaign(plan, options, prepare=no_costs, executor=executor, observer=notes)
    finally:
        trouble.join()
    assert all(result.records[trial.key].same_result(outcome(trial)) for trial in plan.trials)
    assert sorted(notes.started_trials) == sorted((trial.key, 1) for trial in plan.trials)
    assert repair_campaign(plan, options, print).sound
    assert shown_by(url) == Counter(trial.key for trial in plan.trials)


def test_mlflow_on_postgresql_gets_every_record(postgres: PostgresServer, tmp_path: Path) -> None:
    port, store = free_port(), postgres.database(f"mlflow{next(NUMBERS)}")
    serving = server(tmp_path, port, store)
    try:
        plan, uri = plan_of("control", "raises", seeds=2), f"http://127.0.0.1:{port}"
        executor = LocalExecutor(2, train=null, preload=())
        options = RunOptions(runs=tmp_path / "runs", tracking_uri=uri)
        result = run_campaign(plan, options, prepare=no_costs, executor=executor)
        assert (result.trained, result.behind, len(result.failed)) == (4, {}, 2)
        view = MlflowView(uri, tmp_path / "unused")
        finished = {key: record for key, record in result.records.items() if record.status == "finished"}
        pulled = view.pull("faults", result.records)
        assert {key: Record.from_json(text) for key, text in pulled.items()} == finished
        assert Counter(run.key for run in view.trial_runs("faults")) == Counter(trial.key for trial in plan.trials)
    finally:
        end_server(serving)
