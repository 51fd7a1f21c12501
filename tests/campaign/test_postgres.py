"""Queue and MLflow on a real PostgreSQL server, started here and removed afterwards."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from ablate.campaign.dispatch import run_campaign
from ablate.campaign.doctor import check_campaign, repair_campaign
from ablate.campaign.queue import open_queue, queue_states
from ablate.campaign.tracking import Tracking
from driver import killing_plan, stepwise
from fakes import Notes, no_costs, null, outcome, plan_of, until
from fire import end_server, server
from postgres import HINT, PostgresServer, free_port, installed

from ablate.campaign.local import LocalExecutor
from ablate.errors import AblateError

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not installed(), reason=HINT)]
NUMBERS = count()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database(f"queue{next(NUMBERS)}")


@pytest.fixture
def runs(tmp_path: Path, empty_store: Path) -> Path:
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs/mlflow.db")
    return tmp_path / "runs"


def test_a_campaign_queues_its_trials_in_the_database_and_a_second_call_runs_none(url: str, runs: Path) -> None:
    plan = plan_of("control", "once_killed", seeds=2)
    for trained in (4, 0):
        executor = LocalExecutor(2, train=null, preload=())
        result = run_campaign(plan, runs=runs, prepare=no_costs, executor=executor, queue=url)
        assert result.trained == trained
    assert not (runs / "queue.db").exists()
    states = queue_states(url, f"faults {plan.study.digest}")
    assert sorted(states) == sorted((trial.key, "COMPLETE") for trial in plan.trials)
    assert check_campaign(plan, runs=runs, queue=url).sound


def test_a_campaign_held_from_elsewhere_is_refused_by_the_database(url: str, runs: Path) -> None:
    plan = plan_of("control", seeds=1)
    queue, _ = open_queue(url, f"faults {plan.study.digest}")
    with pytest.raises(AblateError, match=r"the study 'faults' is being run by ablate, process \d+ on .*, which holds"):
        run_campaign(plan, runs=runs, prepare=no_costs, queue=url)
    queue.close()
    executor = LocalExecutor(2, train=null, preload=())
    assert run_campaign(plan, runs=runs, prepare=no_costs, executor=executor, queue=url).trained == 1


def test_the_doctor_leaves_a_campaign_alone_that_is_run_from_elsewhere(url: str, runs: Path) -> None:
    plan = plan_of("control", seeds=1)
    queue, _ = open_queue(url, f"faults {plan.study.digest}")
    for look in (check_campaign, repair_campaign):
        with pytest.raises(AblateError, match=r"the study 'faults' is being run by ablate, process \d+ on "):
            look(plan, runs=runs, queue=url)
    queue.close()
    assert [finding.what for finding in check_campaign(plan, runs=runs, queue=url).findings] == ["trial"]


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_server_restarted_in_mid_campaign_costs_nothing(
    postgres: PostgresServer, url: str, runs: Path, mode: str
) -> None:
    plan, notes = killing_plan(seeds=8), Notes()

    def restart() -> None:
        until(lambda: len(notes.started_trials) >= 4, 30)
        postgres.stop(mode)
        time.sleep(1.5)
        postgres.start()

    trouble = threading.Thread(target=restart)
    trouble.start()
    try:
        executor = LocalExecutor(2, train=stepwise, preload=())
        result = run_campaign(plan, runs=runs, prepare=no_costs, executor=executor, queue=url, observer=notes)
    finally:
        trouble.join()
    assert any("does not answer" in message for message in notes.messages)
    assert any("answers again" in message for message in notes.messages)
    assert all(result.records[trial.key].same_result(outcome(trial)) for trial in plan.trials)
    assert sorted(notes.started_trials) == sorted((trial.key, 1) for trial in plan.trials)
    states = queue_states(url, f"kills {plan.study.digest}")
    assert {key for key, state in states if state == "COMPLETE"} == {trial.key for trial in plan.trials}
    assert repair_campaign(plan, runs=runs, queue=url).sound


def end_lock_holders(url: str) -> None:
    """Ends the connections that hold a campaign, and no other."""
    import psycopg

    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        assert connection.execute(terminate).rowcount == 1


def test_a_campaign_whose_hold_was_lost_takes_it_again_or_stops_where_another_has_it(url: str) -> None:
    keys = [f"{number:016x}" for number in range(4)]
    queue, _ = open_queue(url, "it 1")
    queue.add(keys)
    assert queue.next() == keys[0]
    end_lock_holders(url)
    assert queue.next() == keys[1]
    with pytest.raises(AblateError, match="the study 'it' is being run by"):
        open_queue(url, "it 1")
    end_lock_holders(url)
    other, _ = open_queue(url, "it 1")
    for _ in range(2):
        with pytest.raises(AblateError, match="the study 'it' is being run by"):
            queue.next()
    queue.close()
    other.add(keys)
    assert [other.next() for _ in range(5)] == [keys[2], keys[3], keys[0], keys[1], None]
    other.close()


def test_what_cannot_be_reached_is_named_without_its_password(runs: Path) -> None:
    plan = plan_of("control", seeds=1)
    address = f"127.0.0.1:{free_port()}/none"
    with pytest.raises(
        AblateError, match=rf"postgresql\+psycopg://me:\*\*\*@{address}: the queue's database cannot be used"
    ):
        run_campaign(plan, runs=runs, prepare=no_costs, queue=f"postgresql+psycopg://me:secret@{address}")


def test_mlflow_on_postgresql_gets_every_record(postgres: PostgresServer, url: str, tmp_path: Path) -> None:
    port, store = free_port(), postgres.database(f"mlflow{next(NUMBERS)}")
    serving = server(tmp_path, port, store)
    try:
        plan, uri = plan_of("control", "raises", seeds=2), f"http://127.0.0.1:{port}"
        executor = LocalExecutor(2, train=null, preload=())
        runs = tmp_path / "runs"
        result = run_campaign(plan, runs=runs, prepare=no_costs, executor=executor, queue=url, tracking_uri=uri)
        assert (result.trained, result.waiting, len(result.failed)) == (4, 0, 2)
        campaign = Tracking(uri, tmp_path / "unused").load_campaign("faults")
        assert campaign.plan == plan
        assert campaign.records == result.records
    finally:
        end_server(serving)
