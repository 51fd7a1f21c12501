"""What both views promise, tried alike; what is in them is read from their databases by hand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import Notes, outcome, plan_of, until
from instant import Instant, go

from ablate.campaign import views
from ablate.campaign.check import check_campaign
from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.options import RunOptions
from ablate.campaign.optuna_view import OptunaView
from ablate.campaign.records import RecordStore, seal
from ablate.campaign.views import Conclusion, Item, Pusher, View, ViewError
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record

PLAN = plan_of("control", "other", seeds=2)
COSTS = {"control": {"params": 7, "macs": 9, "fvcore_flops": None}}


def stored(runs: Path, plan: CampaignPlan = PLAN) -> list[Item]:
    """The plan's records on disk."""
    store = RecordStore(runs, plan.study.name)
    for trial in plan.trials:
        if store.read(trial.key) is None:
            store.put(outcome(trial))
    return [Item.of(store, trial, outcome(trial)) for trial in plan.trials]


def digests(runs: Path, plan: CampaignPlan = PLAN) -> Counter[tuple[str, str]]:
    """Key and digest of the planned records, as they are on disk."""
    store = RecordStore(runs, plan.study.name)
    return Counter((trial.key, hashlib.sha256(store.path(trial.key).read_bytes()).hexdigest()) for trial in plan.trials)


def rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


class Faulty:
    """A view that does what it is told before, or instead of, what it is asked for.

    Attributes:
        before: called with the name of each call and its item, or None.
        after: the same, when the call was carried out.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self.name = view.name
        self.before: Callable[[str, Item | None], object] = lambda call, item: None
        self.after: Callable[[str, Item | None], object] = lambda call, item: None

    def known(self, plan: CampaignPlan, costs: Any) -> dict[str, str]:
        return self._do("known", None, lambda: self._view.known(plan, costs))

    def push(self, plan: CampaignPlan, item: Item, costs: Any) -> str:
        return self._do("push", item, lambda: self._view.push(plan, item, costs))

    def finish(self, *arguments: Any) -> None:
        self._do("finish", None, lambda: self._view.finish(*arguments))

    def state(self) -> list[Any] | None:
        return self._view.state()

    def close(self) -> None:
        self._view.close()

    def _do(self, call: str, item: Item | None, act: Callable[[], Any]) -> Any:
        self.before(call, item)
        found = act()
        self.after(call, item)
        return found


def refuse(call: str, item: Item | None) -> None:
    raise ViewError("It is away.")


@pytest.fixture(autouse=True)
def quick_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "BACK_OFF_S", (0.01, 0.05))


class ViewContract:
    FILE = ""
    NAME = ""
    ODD = ""  # a name for a folder

    def make(self, runs: Path, plan: CampaignPlan = PLAN) -> View:
        raise NotImplementedError

    def held(self, runs: Path) -> Counter[tuple[str, str]]:
        """Key and digest of every record that the view shows, by hand."""
        raise NotImplementedError

    def pusher(self, runs: Path, view: View, said: list[str] | None = None, plan: CampaignPlan = PLAN) -> Pusher:
        pusher = Pusher(view, plan, runs / "cache" / "stamp.json", (said if said is not None else []).append)
        pusher.update(plan, COSTS)
        return pusher

    def push(self, runs: Path, view: View | None = None, said: list[str] | None = None, deadline_s: float = 120) -> int:
        pusher = self.pusher(runs, view or self.make(runs), said)
        for item in stored(runs):
            pusher.put(item)
        return pusher.finish(Conclusion(), deadline_s=deadline_s)

    def test_each_record_is_there_once_however_often_it_is_pushed(self, runs: Path) -> None:
        assert self.push(runs) == 0
        assert self.held(runs) == digests(runs)
        (runs / "cache" / "stamp.json").unlink()
        view = self.make(runs)
        assert view.known(PLAN, COSTS) == dict(digests(runs).keys())
        assert self.push(runs, view) == 0
        assert self.held(runs) == digests(runs)

    def test_a_record_that_replaces_another_is_the_only_one_that_counts(self, runs: Path) -> None:
        self.push(runs)
        store = RecordStore(runs, "faults")
        for record in (
            replace(outcome(PLAN.trials[0]), measured=replace(outcome(PLAN.trials[0]).measured, started_at=1.8e9)),
            replace(
                outcome(PLAN.trials[1]),
                notes=("made anew",),
                measured=replace(outcome(PLAN.trials[1]).measured, started_at=1.9e9),
            ),
        ):
            store.put(record)
        items = [Item.of(store, trial, record) for trial in PLAN.trials if (record := store.read(trial.key))]
        pusher = self.pusher(runs, self.make(runs))
        for item in items:
            pusher.put(item)
        assert pusher.finish(Conclusion()) == 0
        assert self.held(runs) == digests(runs)

    @pytest.mark.parametrize("fault", ["push", "finish", "known"])
    def test_a_call_whose_answer_was_lost_leaves_each_record_once(self, runs: Path, fault: str) -> None:
        view, lost, said = Faulty(self.make(runs)), [fault], list[str]()

        def lose(call: str, item: Item | None) -> None:
            if call in lost:
                lost.remove(call)
                raise ViewError("The answer was lost.")

        view.after = lose
        assert self.push(runs, view, said) == 0
        assert self.held(runs) == digests(runs)
        assert said == []  # once is no news

    def test_a_view_that_is_away_is_named_once_and_gets_everything_when_it_is_back(self, runs: Path) -> None:
        view, said = Faulty(self.make(runs)), list[str]()
        view.before = refuse
        pusher = self.pusher(runs, view, said)
        pusher.start()
        for item in stored(runs):
            pusher.put(item)
        assert until(lambda: bool(said))
        time.sleep(0.3)
        assert said == [f"It is away. Training continues; every record is on disk, and {view.name} gets it later."]
        view.before = lambda call, item: None
        assert pusher.finish(Conclusion()) == 0
        assert said[1:] == [f"{view.name} answers again."]
        assert self.held(runs) == digests(runs)

    def test_a_view_that_stays_away_is_not_waited_for_and_the_next_call_pushes(self, runs: Path) -> None:
        view, before = Faulty(self.make(runs)), time.monotonic()
        view.before = refuse
        assert self.push(runs, view, deadline_s=0.3) == 4
        assert time.monotonic() - before < 30
        assert self.push(runs) == 0
        assert self.held(runs) == digests(runs)

    def test_a_view_that_hangs_is_not_waited_for(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(views, "STEP_S", 0.1)
        monkeypatch.setattr(views, "SILENT_S", 0.5)
        view, over, before = Faulty(self.make(runs)), threading.Event(), time.monotonic()
        view.before = lambda call, item: over.wait(60)
        pusher = self.pusher(runs, view)
        for item in stored(runs):
            pusher.put(item)
        assert pusher.finish(Conclusion()) == 4
        assert pusher.behind
        assert time.monotonic() - before < 30
        over.set()
        assert pusher._thread is not None
        pusher._thread.join()

    def test_a_record_that_is_refused_is_named_and_holds_up_no_other(self, runs: Path) -> None:
        view, said, refused = Faulty(self.make(runs)), list[str](), PLAN.trials[0].key
        view.before = lambda call, item: refuse(call, item) if item and item.record.key == refused else None
        pusher = self.pusher(runs, view, said)
        pusher.start()
        for item in stored(runs):
            pusher.put(item)
        assert until(lambda: bool(said), 60)
        assert pusher.finish(Conclusion(), deadline_s=0.5) == 1
        assert len(said) == 1
        assert {key for key, _ in self.held(runs)} == {trial.key for trial in PLAN.trials} - {refused}

    def test_a_view_that_comes_back_empty_gets_every_record_again(self, runs: Path, empty_views: Path) -> None:
        view = Faulty(self.make(runs))
        pusher = self.pusher(runs, view)
        first, *rest = stored(runs)
        pusher.start()
        pusher.put(first)
        assert until(lambda: sum(self.held(runs).values()) == 1, 60)
        view.before = refuse
        for item in rest:
            pusher.put(item)
        time.sleep(0.1)
        shutil.copy(empty_views / self.FILE, runs / "new")
        (runs / "new").replace(runs / self.FILE)
        view.before = lambda call, item: None
        assert pusher.finish(Conclusion()) == 0
        assert self.held(runs) == digests(runs)

    def test_deleted_in_mid_campaign_it_is_made_again_with_every_record_once(self, runs: Path) -> None:
        deleted = threading.Event()

        def train(trial: Trial) -> Record:
            if trial == PLAN.trials[3]:
                assert until(lambda: sum(self.held(runs).values()) >= 1, 60)
                (runs / self.FILE).unlink()
                deleted.set()
            return outcome(trial)

        result = go(PLAN, runs, Instant(train, jobs=1))
        assert (deleted.is_set(), result.trained, result.behind) == (True, 4, {})
        assert self.held(runs) == digests(runs)

    @pytest.mark.parametrize("harm", ["cut off", "overwritten"])
    def test_a_damaged_file_is_set_aside_and_the_next_call_makes_it_again_without_training(
        self, runs: Path, harm: str
    ) -> None:
        go(PLAN, runs)
        file = runs / self.FILE
        content = file.read_bytes()
        damaged = content[: len(content) // 3] if harm == "cut off" else b"no database at all, only words " * 500
        file.write_bytes(damaged)
        assert any(fault.where == self.NAME for fault in check_campaign(PLAN, RunOptions(runs=runs)).faults)
        assert file.read_bytes() == damaged  # a check changes nothing
        result = go(PLAN, runs)
        assert (result.trained, result.behind) == (0, {})
        assert self.held(runs) == digests(runs)
        (aside,) = runs.glob(f"{self.FILE}.damaged*")
        assert aside.read_bytes() == damaged
        assert check_campaign(PLAN, RunOptions(runs=runs)).sound

    def test_training_goes_on_and_ends_while_a_view_raises_and_the_next_call_mends_it(
        self, runs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        view, notes = {"MLflow": MlflowView, "Optuna": OptunaView}[self.NAME], Notes()

        def bug(*_: Any) -> None:
            raise RuntimeError("a bug in the view")

        with monkeypatch.context() as patch:
            patch.setattr(view, "known", bug)
            patch.setattr(views, "FAILING_S", 0.5)
            result = go(PLAN, runs, notes=notes)
        assert (result.trained, result.missing, result.behind) == (4, (), {self.NAME: 4})
        assert all(result.records[trial.key].same_result(outcome(trial)) for trial in PLAN.trials)
        told = [message for message in notes.messages if "a bug in the view" in message]
        assert len(told) <= 1
        assert go(PLAN, runs).behind == {}
        assert self.held(runs) == digests(runs)

    def test_a_runs_folder_may_have_a_name_that_means_something_in_an_address(self, tmp_path: Path) -> None:
        runs = tmp_path / self.ODD
        assert self.push(runs) == 0
        assert self.held(runs) == digests(runs)


class TestOptuna(ViewContract):
    FILE, NAME, ODD = "optuna.db", "Optuna", "a #?%20{x}"

    def make(self, runs: Path, plan: CampaignPlan = PLAN) -> View:
        return OptunaView(runs)

    def held(self, runs: Path) -> Counter[tuple[str, str]]:
        with contextlib.suppress(sqlite3.Error):
            found: dict[int, dict[str, str]] = {}
            for trial, key, value in rows(
                runs / self.FILE, "SELECT trial_id, key, value_json FROM trial_user_attributes"
            ):
                found.setdefault(trial, {})[key] = json.loads(value)
            return Counter((one["key"], one["record"]) for one in found.values() if "record" in one)
        return Counter()


class TestMlflow(ViewContract):
    FILE, NAME, ODD = "mlflow.db", "MLflow", "a #{x}"

    def make(self, runs: Path, plan: CampaignPlan = PLAN) -> View:
        return MlflowView(f"sqlite:///{runs}/mlflow.db", runs, seal(plan, runs).to_json())

    def held(self, runs: Path) -> Counter[tuple[str, str]]:
        """The artifacts hold the very files."""
        query = """SELECT k.value, d.value, r.artifact_uri FROM runs r
            JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = 'ablate.key'
            JOIN tags d ON d.run_uuid = r.run_uuid AND d.key = 'ablate.record'
            JOIN tags c ON c.run_uuid = r.run_uuid AND c.key = 'ablate.complete'
            WHERE r.lifecycle_stage = 'active'"""
        with contextlib.suppress(sqlite3.Error):
            return Counter((key, digest) for key, digest, _ in rows(runs / self.FILE, query))
        return Counter()
