"""Faults of the views and of what serves them, and of the places where things lie; see fault_drivers.py."""

# ruff: noqa: ARG001, ARG002 - every driver is called in the same way, and every observer

from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fault_drivers import Drive, NotHere, Toll, campaign, count, flip, new_runs

# isort: split
from driver import killing_plan, stepwise
from fakes import Notes, plan_of, until
from fire import ENVIRONMENT, dispatch, end_server, server
from postgres import HINT, PostgresServer, free_port, installed
from proxy import Proxy

from ablate.campaign.executor import Event, Progress
from ablate.campaign.local import LocalExecutor
from ablate.campaign.mlflow_store import local_folder
from ablate.campaign.mlflow_view import RECORD_FILE, MlflowView
from ablate.campaign.options import CampaignInterrupted, CampaignResult, RunOptions
from ablate.campaign.records import RECORDS
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record
from ablate.reporting.folders import publish
from ablate.reporting.load import results_from

MOST_ROUNDS = 20  # of campaigns in which a view is deleted
CALLS = 3  # of a command, until the views have everything; each waits for them a limited time
HOSTILE = ("quo'te\"d", "{x}", "per%20cent", "a b", "#1", "what?", "%(here)s", "ünï", "semi;colon&", "back\\slash")


# The runs folder


class _Deleting(Notes):
    """Deletes something at random instants of a campaign, or as soon as the view has made it again."""

    def __init__(self, places: list[Path], tries: int, trials: int, dice: random.Random) -> None:
        super().__init__()
        self.places, self.done, self.seen, self.due = places, 0, 0, 0
        self.at = set(dice.sample(range(1, trials), tries))

    def finished(self, trial: Trial, record: Record) -> None:
        self.seen += 1
        self.due += self.seen in self.at
        found = [place for place in self.places if self.due and delete(place)]
        if found:
            self.done, self.due = self.done + 1, self.due - 1


def delete(place: Path) -> bool:
    """Removes a file with what sqlite keeps with it, or a folder; whether there was one."""
    there = place.exists()
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    for ending in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            place.with_name(place.name + ending).unlink()
    return there


def total(tolls: Sequence[Toll]) -> Toll:
    """Of several campaigns under one fault; what broke first is told."""
    counts = {
        name: sum(getattr(one, name) for one in tolls)
        for name in ("tries", "planned", "lost", "unseen", "twice", "differ")
    }
    return Toll(**counts, broken=next((one.broken for one in tolls if one.broken), ""))


def deleted(*names: str) -> Drive:
    """A view, or all of them, deleted in mid-campaign; a second call must train nothing and make it whole.

    A campaign may end before its view was made as often as it is to be deleted; then another one is begun.
    """

    def drive(folder: Path, tries: int, dice: random.Random) -> Toll:
        rounds: list[Toll] = []
        while (left := tries - sum(one.tries for one in rounds)) > 0 and len(rounds) < MOST_ROUNDS:
            place = folder / str(len(rounds))
            place.mkdir()
            rounds.append(in_one(place, left, dice))
        return total(rounds)

    def in_one(folder: Path, tries: int, dice: random.Random) -> Toll:
        seeds = 4 * tries
        plan, runs = killing_plan(seeds), new_runs(folder)
        campaign(killing_plan(1), runs)  # so that there is something of each to delete
        notes = _Deleting([runs / name for name in names], tries, 2 * seeds - 3, dice)
        campaign(plan, runs, LocalExecutor(2, train=stepwise, preload=()), notes)
        again = campaign(plan, runs)
        broken = f"{again.trained} trials trained again" if again.trained else ""
        broken = broken or (f"{again.behind} are behind" if again.behind else "")
        return count(plan, RunOptions(runs=runs), notes.done, broken=broken)

    return drive


def reports_deleted(folder: Path, tries: int, dice: random.Random) -> Toll:
    """All reports deleted; the same command must train nothing, and make each page as it was."""
    plan, runs = killing_plan(4), new_runs(folder)
    result, changed = campaign(plan, runs), 0
    before = publish(results_from(result, runs), runs).read_bytes()
    for _ in range(tries):
        delete(runs / "reports")
        result = campaign(plan, runs)
        after = publish(results_from(result, runs), runs).read_bytes()
        changed += after != before or bool(result.trained)
    return count(plan, RunOptions(runs=runs), tries, broken=f"{changed} pages changed" if changed else "")


def damaged(name: str) -> Drive:
    """Bits of a view turned over, or its end cut off, between two calls."""

    def drive(folder: Path, tries: int, dice: random.Random) -> Toll:
        runs, stopped = new_runs(folder), 0
        campaign(plan_of("control", "diverges", seeds=1), runs)
        plan = plan_of("control", "diverges", seeds=1)
        for number in range(tries):
            flip(runs / name, dice, bits=dice.choice([1, 20, 400]))
            plan = plan_of("control", "diverges", seeds=number + 2)
            try:
                campaign(plan, runs)
            except Exception as error:  # noqa: BLE001 - counted, and told
                stopped += 1
                print(f"  a damaged {name} stopped a call: {type(error).__name__}: {error}", flush=True)
        found = [path for path in runs.glob(f"{name}*") if "damaged" not in path.name]
        for path in found:
            delete(path)
        again = campaign(plan, runs)
        campaign(plan, runs)  # a view whose database is made anew may take longer than one call waits
        broken = f"{stopped} calls stopped" if stopped else f"{again.trained} trained again" if again.trained else ""
        return count(plan, RunOptions(runs=runs), tries, broken=broken)

    return drive


def _half(plan: CampaignPlan, runs: Path, dice: random.Random) -> None:
    """A campaign that is interrupted after some trials."""

    class Interrupting(Notes):
        left = dice.randrange(1, len(plan.trials))

        def finished(self, trial: Trial, record: Record) -> None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    with contextlib.suppress(CampaignInterrupted):
        campaign(plan, runs, observer=Interrupting())
    for thread in threading.enumerate():  # the views, which in a command end with its process
        if thread.daemon and ("MLflow" in thread.name or "Optuna" in thread.name):
            thread.join(timeout=60)


def _each(folder: Path, tries: int, once: Callable[[Path], Toll]) -> Toll:
    """The sum of what ``once`` finds in a folder of its own, so many times."""
    tolls = [once(folder / str(number)) for number in range(tries)]
    total = {
        name: sum(getattr(one, name) for one in tolls) for name in ("planned", "lost", "unseen", "twice", "differ")
    }
    return Toll(tries=tries, broken="; ".join(sorted({one.broken for one in tolls} - {""})), **total)


def _resumed(runs: Path, seeds: int, *uri: str) -> str:
    """The same command again, in a process of its own as MLflow's client remembers places; what it broke."""
    status = 1
    for _ in range(CALLS):
        if not (status := dispatch(runs, "null", seeds, *uri).wait(timeout=600)):
            return ""
    return f"the command ended with {status}"


def moved(folder: Path, tries: int, dice: random.Random) -> Toll:
    """The runs folder of an interrupted campaign, moved to another place and resumed there."""

    def once(place: Path) -> Toll:
        plan, old = killing_plan(4), new_runs(place)
        _half(plan, old, dice)
        new = place / "elsewhere" / "moved"
        new.parent.mkdir()
        old.rename(new)
        broken = _resumed(new, 4) or ("the old place is back" if old.exists() else "")
        return count(plan, RunOptions(runs=new), 1, broken=broken)

    return _each(folder, tries, once)


def copied(folder: Path, tries: int, dice: random.Random) -> Toll:
    """The runs folder of an interrupted campaign, copied; the copy is resumed and must not touch the original."""

    def once(place: Path) -> Toll:
        plan, old = killing_plan(4), new_runs(place)
        _half(plan, old, dice)
        shutil.copytree(old, place / "copy")
        before = _listing(old)
        broken = _resumed(place / "copy", 4) or ("" if _listing(old) == before else "the original has changed")
        return count(plan, RunOptions(runs=place / "copy"), 1, broken=broken)

    return _each(folder, tries, once)


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def hostile_paths(folder: Path, tries: int, dice: random.Random) -> Toll:
    """Runs folders whose paths hold quotes, braces, percent signs, spaces, # and ?."""
    names = iter((HOSTILE * (tries // len(HOSTILE) + 1))[:tries])

    def once(place: Path) -> Toll:
        plan, runs = plan_of("control", "other", seeds=2), new_runs(place / next(names))
        result = campaign(plan, runs)
        behind = f"{result.behind} in {runs.parent.name}" if result.behind else ""
        return count(plan, RunOptions(runs=runs), 1, broken=behind)

    return _each(folder, tries, once)


def records_deleted(folder: Path, tries: int, dice: random.Random) -> Toll:
    """All records deleted and MLflow kept: they must come back from there, without training."""
    plan, runs, trained = plan_of("control", "other", seeds=6), new_runs(folder), 0
    campaign(plan, runs)
    for _ in range(tries):
        shutil.rmtree(runs / RECORDS)
        trained += campaign(plan, runs).trained
    return count(plan, RunOptions(runs=runs), tries, broken=f"{trained} trained again" if trained else "")


def damaged_artifact(folder: Path, tries: int, dice: random.Random) -> Toll:
    """All records deleted, and their copies in MLflow damaged: trained again, and the damaged ones replaced."""
    plan, runs = plan_of("control", "other", seeds=-(-tries // 2)), new_runs(folder)
    campaign(plan, runs)
    for run in MlflowView(RunOptions(runs=runs).mlflow_uri, runs).trial_runs(plan.study.name):
        place = local_folder(run.artifacts)
        assert place is not None
        flip(place / RECORD_FILE, dice)
    shutil.rmtree(runs / RECORDS)
    trained = campaign(plan, runs).trained
    return count(plan, RunOptions(runs=runs), len(plan.trials), remark=f"{trained} were trained again")


# Servers


@contextlib.contextmanager
def mlflow_behind(folder: Path) -> Iterator[tuple[Proxy, Callable[[bool], None]]]:
    """A real MLflow server behind a proxy, and what kills and restarts it, empty where it is given True."""
    port = free_port()
    serving = [server(folder, port)]

    def restart(empty: bool) -> None:
        end_server(serving.pop())
        if empty:
            delete(folder / "server.db")
            delete(folder / "kept")
        serving.append(server(folder, port))

    proxy = Proxy(port)
    try:
        yield proxy, restart
    finally:
        proxy.close()
        for one in serving:
            end_server(one)


def mlflow(what: str) -> Drive:
    """MLflow's server is killed, comes back empty, or answers badly in the middle of a campaign, ``tries`` times."""

    def drive(folder: Path, tries: int, dice: random.Random) -> Toll:
        seeds, runs = (30 if what in ("killed", "lost") else 15) * tries, folder / "runs"
        plan = killing_plan(seeds)
        with mlflow_behind(folder) as (proxy, restart):
            process = dispatch(runs, "null", seeds, proxy.uri)
            until(lambda: bool(list(runs.glob("records/*/*.json"))) or process.poll() is not None, 120)
            done = 0
            while done < tries and process.poll() is None:
                done += 1
                if what in ("killed", "lost"):
                    restart(what == "lost")
                else:
                    proxy.mode = what
                    time.sleep(dice.uniform(1.0, 4.0))
                    proxy.mode = "pass"
                time.sleep(dice.uniform(0.5, 2.0))
            process.wait(timeout=600)  # it may end before everything is pushed; the next call pushes the rest
            broken = _resumed(runs, seeds, proxy.uri)
            return count(plan, RunOptions(runs=runs, tracking_uri=proxy.uri), done, broken=broken)

    return drive


def two_folders(folder: Path, tries: int, dice: random.Random) -> Toll:
    """Two dispatchers with a runs folder each train the same study at the same time, on one MLflow server."""
    seeds = 5
    plan = killing_plan(seeds)
    with mlflow_behind(folder) as (proxy, _):

        def once(place: Path) -> Toll:
            places = [place / "one", place / "other"]
            for status in [dispatch(runs, "null", seeds, proxy.uri) for runs in places]:
                status.wait(timeout=600)
            ended = [_resumed(runs, seeds, proxy.uri) for runs in places]
            options = [RunOptions(runs=runs, tracking_uri=proxy.uri) for runs in places]
            broken = "; ".join(filter(None, ended))
            one, other = (count(plan, each, 1, broken=broken) for each in options)
            for view in [MlflowView(proxy.uri, place)]:  # the next try begins with an empty experiment
                for run in view.trial_runs(plan.study.name):
                    view.store.client.delete_run(run.run_id)
            both = {name: getattr(one, name) + getattr(other, name) for name in ("planned", "lost", "unseen", "differ")}
            return Toll(tries=1, twice=max(one.twice, other.twice), broken=broken, **both)

        return _each(folder, tries, once)


def postgres_restarts(folder: Path, tries: int, dice: random.Random) -> Toll:
    """The PostgreSQL server of Optuna's storage crashed (immediate shutdown) and started again in mid-campaign."""
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
        runs = new_runs(folder)
        options = RunOptions(runs=runs, optuna_storage=database.database("optuna"))
        thread = threading.Thread(target=trouble)
        thread.start()
        try:
            campaign(plan, runs, LocalExecutor(2, train=stepwise, preload=()), notes, options)
        finally:
            over.set()
            thread.join()
        campaign(plan, runs, options=options)
        return count(plan, options, done[0])
    finally:
        database.close()


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
    plan, notes, killed, runs = killing_plan(10 * tries), Notes(), 0, new_runs(folder)

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
        result: CampaignResult = campaign(plan, runs, executor, notes, RunOptions(runs=runs, retries=0))
    finally:
        ray.shutdown()
        cluster.shutdown()
    broken = f"{len(result.missing)} trials are missing" if result.missing else ""
    remark = f"{len(notes.retries)} trials ran again elsewhere"
    return count(plan, RunOptions(runs=runs), killed, remark=remark, broken=broken)
