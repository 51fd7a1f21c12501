"""What is done to campaigns in the tests and in benchmarks/faults.py: kills at random instants, servers that die."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from driver import killing_plan
from fakes import alive, until

from ablate.campaign.check import check_campaign
from ablate.campaign.options import RunOptions
from ablate.campaign.records import RecordStore
from ablate.design.record import Record

HERE = Path(__file__).parent
VICTIMS = ("dispatcher", "worker", "everything")
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


def kill_one(process: subprocess.Popen[bytes], what: str, dice: random.Random) -> bool:
    """SIGKILL to ``what``; False where there is none, as a campaign has no worker when it begins or ends."""
    below = [pid for pid in children(process.pid) if alive(pid)]
    victims = {
        "worker": [dice.choice(below)] if below else [],
        "everything": [process.pid, *below],
        "dispatcher": [process.pid],
    }[what]
    killed = [pid for pid in victims if process.poll() is None and kill(pid)]
    if process.pid in killed:
        process.wait()
        assert until(lambda: not any(alive(pid) for pid in below), seconds=60), "workers outlive their dispatcher"
    return bool(killed)


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def campaign_under_fire(
    runs: Path,
    trainer: str,
    *,
    seeds: int,
    kills: int,
    longest_s: float,
    dice: random.Random,
    victims: Sequence[str] = VICTIMS,
) -> int:
    """Runs a campaign to its end, killing something of it at ``kills`` random instants on the way.

    Where it has ended before, it goes on with as many seeds more. Returns how many it has in the end.
    """
    process, more, done, stopped = dispatch(runs, trainer, seeds), seeds, 0, 0
    while done < kills:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(dice.uniform(0.0, longest_s))
        if process.poll() is None:
            done += kill_one(process, dice.choice(victims), dice)
        if process.poll() is not None:
            seeds += more if process.returncode == 0 else 0
            stopped += process.returncode != 0
            assert stopped <= done, "the campaign stopped by itself"
            process = dispatch(runs, trainer, seeds)
    if process.wait(timeout=900):
        assert dispatch(runs, trainer, seeds).wait(timeout=900) == 0
    return seeds


def stored(runs: Path, seeds: int) -> dict[str, Record]:
    """The records of a campaign at rest, in which nothing is wrong."""
    plan = killing_plan(seeds)
    found = check_campaign(plan, RunOptions(runs=runs))
    assert found.faults == ()
    store = RecordStore(runs, "kills")
    return {trial.key: record for trial in plan.trials if (record := store.read(trial.key)) is not None}


def uninterrupted(seeds: int, folder: Path) -> dict[str, Record]:
    """The same trials, fitted one after the other in this process."""
    from ablate.training.data import load_images
    from ablate.training.fit import fit

    plan = killing_plan(seeds)
    images = load_images(plan.study.data, folder, folder / "data")
    return {trial.key: fit(trial, images) for trial in plan.trials}


def server(folder: Path, port: int, store: str = "") -> subprocess.Popen[bytes]:
    """A real MLflow server, once it answers; its database is sqlite in ``folder`` unless ``store`` says otherwise."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        store or f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        str(folder / "kept"),
    ]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT, start_new_session=True)
    assert until(lambda: answers(port), 300), (folder / "server.log").read_text()
    return process


def answers(port: int) -> bool:
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", port)) == 0


def end_server(process: subprocess.Popen[bytes]) -> None:
    for pid in [process.pid, *children(process.pid)]:
        kill(pid)
    process.wait()
