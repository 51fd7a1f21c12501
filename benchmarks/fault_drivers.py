"""Faults, each provoked on a real campaign; what it costs is counted in records that are missing or differ.

A driver is called with an empty folder, a number of tries and its own dice. It returns how often the fault was provoked
and how many planned records were lost. The campaigns and trainers are those of tests/campaign.
"""

# ruff: noqa: ARG001 - every driver is called in the same way

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "campaign"))

from driver import killing_plan, stepwise
from fakes import Notes, no_costs, null, outcome, plan_of, until
from fire import ENVIRONMENT, HERE, VICTIMS, campaign_under_fire, dispatch, end_server, server, stored, uninterrupted
from postgres import HINT, PostgresServer, free_port, installed
from proxy import Proxy

from ablate.campaign.dispatch import run_campaign
from ablate.campaign.executors import Event, Executor, Progress
from ablate.campaign.local import LocalExecutor
from ablate.campaign.outbox import RECORD, Outbox
from ablate.campaign.result import CampaignResult, CampaignStopped
from ablate.campaign.tracking import Tracking
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record


@dataclass(frozen=True)
class Toll:
    """What a fault did.

    Attributes:
        tries: how often it was provoked.
        lost: how many of the planned records it cost.
        remark: what else a reader may want to know.
        broken: what went against another promise; empty where all were kept.
    """

    tries: int
    lost: int
    planned: int
    remark: str = ""
    broken: str = ""


class NotHere(Exception):  # noqa: N818 - no fault of anybody's
    """This machine lacks what the fault is provoked with."""


Expected = Callable[[Trial], Record]


def lost(plan: CampaignPlan, records: dict[str, Record], expected: Expected = outcome) -> int:
    """Planned records that are missing, or differ in a bit from those of an undisturbed campaign."""
    return sum(trial.key not in records or not records[trial.key].same_result(expected(trial)) for trial in plan.trials)


def campaign(plan: CampaignPlan, runs: Path, executor: Executor | None = None, **more: object) -> CampaignResult:
    executor = executor or LocalExecutor(2, train=null, preload=())
    return run_campaign(plan, runs=runs, prepare=no_costs, executor=executor, **more)  # type: ignore[arg-type]


def in_store(plan: CampaignPlan, uri: str, runs: Path) -> dict[str, Record]:
    """The records in MLflow; each key must have exactly one run there, and nothing of one that was cut off."""
    tracking = Tracking(uri, runs / "artifacts")
    keys = [run.key for run in tracking.trial_runs(plan.study.name)]
    if len(keys) != len(set(keys)):
        raise AssertionError("a trial has two runs in MLflow")
    return tracking.records(plan.study.name, [trial.key for trial in plan.trials])


def kills(victim: str, trainer: str = "null") -> Callable[[Path, int, random.Random], Toll]:
    """SIGKILL at random instants, and the same command again."""

    def drive(folder: Path, tries: int, dice: random.Random) -> Toll:
        real, runs = trainer == "real", folder / "runs"
        victims = VICTIMS if victim == "any" else (victim,)
        longest_s = 1.5 if victim == "worker" else 4.0
        seeds = tries if real else 2 * tries
        seeds = campaign_under_fire(
            runs, trainer, seeds=seeds, kills=tries, longest_s=longest_s, dice=dice, victims=victims
        )
        plan = killing_plan(seeds)
        expected = uninterrupted(seeds, folder) if real else {trial.key: outcome(trial) for trial in plan.trials}
        return Toll(tries, lost(plan, stored(runs, seeds), lambda trial: expected[trial.key]), len(plan.trials))

    return drive


def worker_faults(what: str) -> Callable[[Path, int, random.Random], Toll]:
    """Each trial's first attempt ends badly; the second is let alone."""

    def drive(folder: Path, tries: int, dice: random.Random) -> Toll:
        plan, notes = plan_of("control", f"once_{what}", seeds=tries), Notes()
        campaign(plan, folder / "runs", observer=notes, time_limit_s=1.5 if what == "hangs" else None)
        return Toll(
            len(notes.retries), lost(plan, in_store(plan, f"sqlite:///{folder}/runs/mlflow.db", folder)), 2 * tries
        )

    return drive


def hopeless(folder: Path, tries: int, dice: random.Random) -> Toll:
    """An arm whose every attempt fails: recorded as failed with its reason, the other arm is whole."""
    plan, notes = plan_of("control", "raises", seeds=tries), Notes()
    result = campaign(plan, folder / "runs", observer=notes)
    failed = {r.key for r in result.failed if r.arm == "raises" and "the last words of raises" in r.reason}
    rest = [trial for trial in plan.trials if trial.key not in failed]
    missing = sum(not result.records[trial.key].same_result(outcome(trial)) for trial in rest)
    return Toll(len(notes.retries) + len(failed), missing, tries, "each failed alone, with its reason and last output")


@contextlib.contextmanager
def mlflow_behind(folder: Path) -> Iterator[tuple[Proxy, Callable[[], None]]]:
    """A real MLflow server behind a proxy, and what kills and restarts it."""
    port = free_port()
    serving = [server(folder, port)]

    def restart() -> None:
        end_server(serving.pop())
        serving.append(server(folder, port))

    proxy = Proxy(port)
    try:
        yield proxy, restart
    finally:
        proxy.close()
        end_server(serving.pop())


def mlflow(what: str) -> Callable[[Path, int, random.Random], Toll]:
    """MLflow goes away in the middle of a campaign, ``tries`` times."""

    def drive(folder: Path, tries: int, dice: random.Random) -> Toll:
        seeds, runs = (25 if what == "killed" else 15) * tries, folder / "runs"
        plan = killing_plan(seeds)
        with mlflow_behind(folder) as (proxy, restart):
            process = dispatch(runs, "null", seeds, proxy.uri)
            until(lambda: bool(list(runs.glob("trials/*/*/record.json"))) or process.poll() is not None, 60)
            done = 0
            while done < tries and process.poll() is None:
                done += 1
                if what == "killed":
                    restart()
                else:
                    proxy.mode = what
                    time.sleep(dice.uniform(1.0, 4.0))
                    proxy.mode = "pass"
                time.sleep(dice.uniform(0.5, 2.0))
            process.wait(timeout=600)
            if dispatch(runs, "null", seeds, proxy.uri).wait(timeout=600):
                raise AssertionError("the campaign did not end well")
            return Toll(done, lost(plan, in_store(plan, proxy.uri, runs)), len(plan.trials))

    return drive


def disk_full(folder: Path, tries: int, dice: random.Random) -> Toll:
    """A small disk of its own is filled at a random instant; then space is made and the command given again."""
    disk = folder / "disk"
    disk.mkdir()
    if (
        os.getuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "ablate", disk], check=False).returncode
    ):
        raise NotHere("mounting a small disk takes root")
    stops, total = 0, 0
    try:
        plan = killing_plan(15 * tries)
        for attempt in range(tries + 1):
            timer = threading.Timer(dice.uniform(0.5, 5.0), fill, [disk / "ballast"])
            if attempt < tries:
                timer.start()
            try:
                campaign(plan, disk / "runs", LocalExecutor(2, train=stepwise, preload=()))
            except CampaignStopped:
                stops += 1
            timer.cancel()
            if attempt < tries:
                timer.join()
            (disk / "ballast").unlink(missing_ok=True)
        total = lost(plan, in_store(plan, f"sqlite:///{disk}/runs/mlflow.db", disk / "runs"))
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
    return Toll(stops, total, len(plan.trials), f"stopped in a sentence {stops} times")


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**20))


def flip(path: Path, dice: random.Random, *, bits: int = 1) -> None:
    """Other bytes at random places, or the end cut off."""
    content = bytearray(path.read_bytes())
    if dice.random() < 0.3:
        content = content[: dice.randrange(len(content))]
    else:
        for _ in range(bits):
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def damaged_checkpoint(folder: Path, tries: int, dice: random.Random) -> Toll:
    """A bit of the checkpoint turned over, or its end cut off, between two halves of a trial."""
    from ablate.training.data import load_images
    from ablate.training.fit import fit

    plan = killing_plan(1)
    trial = plan.trials[0]
    images = load_images(plan.study.data, folder, folder / "data")
    whole, missing = fit(trial, images), 0

    class Cut(Exception):  # noqa: N818
        pass

    for number in range(tries):
        own, stop = folder / str(number), dice.choice([1, 2, 3])

        def cut(point: object, images_per_s: float, stop: int = stop) -> None:
            if getattr(point, "epoch", 0) == stop + 1:
                raise Cut

        with contextlib.suppress(Cut):
            fit(trial, images, folder=own, on_epoch=cut)
        (checkpoint,) = [path for path in own.iterdir() if path.suffix == ".pt" or "checkpoint" in path.name]
        flip(checkpoint, dice)
        record = fit(trial, images, folder=own)
        missing += not (record.notes and replace(record, notes=whole.notes).same_result(whole))
    return Toll(tries, missing, tries, "each record notes that its trial started again")


def damaged_record(folder: Path, tries: int, dice: random.Random) -> Toll:
    """A bit of a waiting record turned over, or its end cut off."""
    plan, runs = plan_of("control", seeds=tries), folder / "runs"
    outbox = Outbox.of(runs, plan.study.name)
    for trial in plan.trials:
        outbox.put(outcome(trial))
        flip(outbox.folder(trial.key) / RECORD, dice)
    campaign(plan, runs)
    return Toll(tries, lost(plan, in_store(plan, f"sqlite:///{runs}/mlflow.db", runs)), tries)


def damaged_artifact(folder: Path, tries: int, dice: random.Random) -> Toll:
    """A bit of a record in MLflow turned over, or its end cut off, between two calls."""
    plan, runs = plan_of("control", seeds=tries), folder / "runs"
    campaign(plan, runs)
    uri = f"sqlite:///{runs}/mlflow.db"
    for run in Tracking(uri, runs / "artifacts").trial_runs(plan.study.name):
        flip(Path(run.artifacts.removeprefix("file://")) / RECORD, dice)
    trained = campaign(plan, runs).trained
    return Toll(trained, lost(plan, in_store(plan, uri, runs)), tries)


def damaged_queue(folder: Path, tries: int, dice: random.Random) -> Toll:
    """Bytes of queue.db turned over, or its end cut off, between two calls."""
    runs, unanswered = folder / "runs", 0
    campaign(plan_of("control", "diverges", seeds=1), runs)
    for number in range(tries):
        flip(runs / "queue.db", dice, bits=dice.choice([1, 20, 400]))
        plan = plan_of("control", "diverges", seeds=number + 2)
        try:
            campaign(plan, runs)
        except Exception as error:  # noqa: BLE001 - counted, and told
            unanswered += 1
            print(f"  a damaged queue stopped a call: {type(error).__name__}: {error}", flush=True)
    plan = plan_of("control", "diverges", seeds=tries + 1)
    campaign(plan, runs)
    records = in_store(plan, f"sqlite:///{runs}/mlflow.db", runs)
    broken = f"{unanswered} calls stopped" if unanswered else ""
    return Toll(tries, lost(plan, records), len(plan.trials), broken=broken)


def helpers(folder: Path, tries: int, dice: random.Random) -> Toll:
    """Processes join the campaign and are killed at random instants, one after the other."""
    plan, notes, runs = killing_plan(8 * tries), Notes(), folder / "runs"
    command = [sys.executable, str(HERE / "helper.py"), str(runs), "kills", "2"]
    over, done = threading.Event(), [0]

    def trouble() -> None:
        while done[0] < tries and not over.is_set():
            process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
            until(lambda: over.is_set() or bool(list(runs.glob("helpers/kills/*/places"))), 30)
            over.wait(dice.uniform(0.0, 2.0))
            done[0] += process.poll() is None
            process.kill()
            process.wait()

    thread = threading.Thread(target=trouble)
    thread.start()
    try:
        executor = LocalExecutor(1, train=stepwise, preload=())
        campaign(plan, runs, executor, observer=notes, retries=0)
    finally:
        over.set()
        thread.join()
    remark = f"{len(notes.retries)} trials were given back"
    return Toll(done[0], lost(plan, in_store(plan, f"sqlite:///{runs}/mlflow.db", runs)), len(plan.trials), remark)


def postgres_restarts(folder: Path, tries: int, dice: random.Random) -> Toll:
    """The queue's PostgreSQL server crashed (immediate shutdown) and started again in mid-campaign."""
    if not installed():
        raise NotHere(HINT)
    database = PostgresServer()
    plan, done, over, notes = killing_plan(12 * tries), [0], threading.Event(), Notes()

    def trouble() -> None:
        until(lambda: bool(notes.started_trials) or over.is_set(), 60)
        while done[0] < tries and not over.wait(dice.uniform(0.5, 2.5)):
            database.stop(dice.choice(["immediate", "fast"]))
            time.sleep(dice.uniform(0.0, 2.0))
            database.start()
            done[0] += 1

    try:
        url = database.database("queue")
        thread = threading.Thread(target=trouble)
        thread.start()
        try:
            campaign(plan, folder / "runs", LocalExecutor(2, train=stepwise, preload=()), queue=url, observer=notes)
        finally:
            over.set()
            thread.join()
    finally:
        database.close()
    twice = len(notes.started_trials) - len(set(notes.started_trials))
    remark, broken = ("", f"{twice} trials were run twice") if twice else ("no trial was run twice", "")
    records = in_store(plan, f"sqlite:///{folder}/runs/mlflow.db", folder)
    return Toll(done[0], lost(plan, records), len(plan.trials), remark, broken)


def ray_nodes(folder: Path, tries: int, dice: random.Random) -> Toll:
    """A node of a Ray cluster killed while it trains, and another one added."""
    try:
        import ray
        from ray.cluster_utils import Cluster
    except ImportError as error:
        raise NotHere("Ray is not installed: python -m pip install '.[ray]'") from error
    from ablate.campaign.ray_executor import RayExecutor

    os.environ["PYTHONPATH"] = ENVIRONMENT["PYTHONPATH"]
    size = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(**size) for _ in range(2)]
    plan, notes, killed = killing_plan(10 * tries), Notes(), 0

    class Hunted(RayExecutor):
        left = 3

        def events(self, timeout_s: float) -> list[Event]:
            nonlocal killed
            found = super().events(timeout_s)
            self.left -= sum(isinstance(event, Progress) for event in found)
            if self.left <= 0 and killed < tries:
                self.left, killed = dice.randrange(4, 16), killed + 1
                cluster.remove_node(nodes.pop(0), allow_graceful=False)
                nodes.append(cluster.add_node(**size))
            return found

    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        executor = Hunted(address="auto", jobs=2, train=stepwise, preload=())
        campaign(plan, folder / "runs", executor, observer=notes, retries=0)
    finally:
        ray.shutdown()
        cluster.shutdown()
    remark = f"{len(notes.retries)} trials ran again elsewhere"
    return Toll(
        killed, lost(plan, in_store(plan, f"sqlite:///{folder}/runs/mlflow.db", folder)), len(plan.trials), remark
    )
