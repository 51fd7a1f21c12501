from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from driver import killing_plan
from fakes import alive, outcome, until

from ablate.campaign.doctor import check_campaign
from ablate.campaign.tracking import Tracking
from ablate.design.record import Record

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])]), "OMP_NUM_THREADS": "1"}


def dispatch(runs: Path, trainer: str, seeds: int, *uri: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "driver.py"), str(runs), trainer, str(seeds), *uri]
    return subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True)


def children(pid: int) -> list[int]:
    """All processes below one, the nearest first."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == pid:
            own = int(stat.parent.name)
            found += [own, *children(own)]
    return found


def kill_one(process: subprocess.Popen[bytes], what: str, dice: random.Random) -> None:
    below = children(process.pid)
    if what == "worker" and below:
        victims = [dice.choice(below)]
    elif what == "everything":
        victims = [process.pid, *below]
    else:
        victims = [process.pid]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if process.pid in victims:
        process.wait()
        assert until(lambda: not any(alive(pid) for pid in below)), "workers outlive their dispatcher"


def campaign_under_fire(
    runs: Path, trainer: str, *, seeds: int, kills: int, longest_s: float, dice: random.Random
) -> None:
    """Runs a campaign to its end, killing something of it at ``kills`` random instants on the way."""
    process = dispatch(runs, trainer, seeds)
    for _ in range(kills):
        time.sleep(dice.uniform(0.0, longest_s))
        kill_one(process, dice.choice(["dispatcher", "worker", "everything"]), dice)
        if process.poll() is not None:
            process = dispatch(runs, trainer, seeds)
    if process.wait(timeout=300):
        assert dispatch(runs, trainer, seeds).wait(timeout=300) == 0


def stored(runs: Path, seeds: int) -> dict[str, Record]:
    plan = killing_plan(seeds)
    checkup = check_campaign(plan, runs=runs)
    assert [f for f in checkup.findings if f.what != "run"] == []  # a run cut off and replaced may lie there still
    uri = f"sqlite:///{runs}/mlflow.db"
    return Tracking(uri, runs / "artifacts").records("kills", [trial.key for trial in plan.trials])


def uninterrupted(seeds: int, folder: Path) -> dict[str, Record]:
    """The same trials, fitted one after the other in this process."""
    from ablate.training.data import load_images
    from ablate.training.fit import fit

    plan = killing_plan(seeds)
    images = load_images(plan.study.data, folder, folder / "data")
    return {trial.key: fit(trial, images) for trial in plan.trials}


def new_runs(folder: Path, empty_store: Path) -> Path:
    runs = folder / "runs"
    runs.mkdir()
    shutil.copy(empty_store, runs / "mlflow.db")
    return runs


def test_a_campaign_killed_at_random_instants_loses_no_record(tmp_path: Path, empty_store: Path) -> None:
    runs, seeds = new_runs(tmp_path, empty_store), 6
    campaign_under_fire(runs, "null", seeds=seeds, kills=3, longest_s=4.0, dice=random.Random(0))
    found = stored(runs, seeds)
    assert all(found[trial.key].same_result(outcome(trial)) for trial in killing_plan(seeds).trials)


def test_killed_in_mid_training_the_records_are_the_same_to_the_last_bit(tmp_path: Path, empty_store: Path) -> None:
    runs, seeds = new_runs(tmp_path, empty_store), 1
    process = dispatch(runs, "real", seeds)
    assert until(lambda: process.poll() is not None or bool(list(runs.glob("trials/*/checkpoint*"))), 60)
    kill_one(process, "everything", random.Random(0))
    assert dispatch(runs, "real", seeds).wait(timeout=120) == 0
    found, expected = stored(runs, seeds), uninterrupted(seeds, tmp_path)
    assert set(found) == set(expected)
    assert all(found[key].same_result(expected[key]) for key in expected)
    assert sum(record.measured.resumed for record in found.values()) >= 1


@pytest.mark.slow
def test_fifty_kills_at_random_instants_of_real_training_change_no_bit(tmp_path: Path, empty_store: Path) -> None:
    runs, seeds = new_runs(tmp_path, empty_store), 40
    campaign_under_fire(runs, "real", seeds=seeds, kills=50, longest_s=12.0, dice=random.Random(1))
    found, expected = stored(runs, seeds), uninterrupted(seeds, tmp_path)
    assert all(found[key].same_result(expected[key]) for key in expected)


def server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A real MLflow server, once it answers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "kept")]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT, start_new_session=True)
    assert until(lambda: answers(port), 120), (folder / "server.log").read_text()
    return process


def answers(port: int) -> bool:
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", port)) == 0


def end_server(process: subprocess.Popen[bytes]) -> None:
    for pid in [process.pid, *children(process.pid)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


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
        tracking = Tracking(uri, tmp_path / "unused")
        runs = [run for run in tracking.trial_runs("kills") if run.complete]
        assert sorted(run.key for run in runs) == sorted(trial.key for trial in plan.trials)
        campaign = tracking.load_campaign("kills")
        assert campaign.plan == plan
        assert all(campaign.records[trial.key].same_result(outcome(trial)) for trial in plan.trials)
    finally:
        process.kill()
        end_server(serving)
