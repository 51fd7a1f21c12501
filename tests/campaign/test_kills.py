from __future__ import annotations

import random
import socket
import time
from pathlib import Path

import pytest
from driver import killing_plan
from fakes import outcome, until
from fire import campaign_under_fire, dispatch, end_server, kill_one, server, stored, uninterrupted

from ablate.campaign.mlflow_view import MlflowView
from ablate.design.record import Record


def test_killed_in_mid_training_the_records_are_the_same_to_the_last_bit(runs: Path, tmp_path: Path) -> None:
    seeds = 1
    process = dispatch(runs, "real", seeds)
    assert until(lambda: process.poll() is not None or bool(list(runs.glob("checkpoints/*/*/checkpoint*"))), 60)
    kill_one(process, "everything", random.Random(0))
    assert dispatch(runs, "real", seeds).wait(timeout=120) == 0
    found, expected = stored(runs, seeds), uninterrupted(seeds, tmp_path)
    assert set(found) == set(expected)
    assert all(found[key].same_result(expected[key]) for key in expected)
    assert sum(record.measured.resumed for record in found.values()) >= 1


@pytest.mark.slow
def test_fifty_kills_at_random_instants_of_real_training_change_no_bit(runs: Path, tmp_path: Path) -> None:
    seeds = campaign_under_fire(runs, "real", seeds=40, kills=50, longest_s=12.0, dice=random.Random(1))
    found, expected = stored(runs, seeds), uninterrupted(seeds, tmp_path)
    assert all(found[key].same_result(expected[key]) for key in expected)


@pytest.mark.slow
def test_a_real_mlflow_server_killed_and_restarted_in_mid_campaign_gets_every_record_once(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri, seeds, dice = f"http://127.0.0.1:{port}", 60, random.Random(2)
    plan = killing_plan(seeds)
    serving = server(tmp_path, port)
    process = dispatch(tmp_path / "runs", "null", seeds, uri)
    try:
        for _ in range(3):
            time.sleep(dice.uniform(3.0, 6.0))
            end_server(serving)
            time.sleep(dice.uniform(0.0, 3.0))
            serving = server(tmp_path, port)
        process.wait(timeout=300)
        # what the server did not get in time waits, and the next call brings it
        assert dispatch(tmp_path / "runs", "null", seeds, uri).wait(timeout=300) == 0
        view, keys = MlflowView(uri, tmp_path / "unused"), [trial.key for trial in plan.trials]
        assert sorted(run.key for run in view.trial_runs("kills") if run.complete) == sorted(keys)
        records = {key: Record.from_json(text) for key, text in view.pull("kills", keys).items()}
        assert all(records[trial.key].same_result(outcome(trial)) for trial in plan.trials)
    finally:
        process.kill()
        end_server(serving)
