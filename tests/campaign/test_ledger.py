from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import no_costs, null, outcome, plan_of, until

from ablate.campaign import ledger as ledger_module
from ablate.campaign.dispatch import run_campaign
from ablate.campaign.ledger import Ledger
from ablate.campaign.local import LocalExecutor
from ablate.campaign.outbox import Outbox
from ablate.campaign.stored import TrialRun, best
from ablate.campaign.tracking import Tracking, TrackingError
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record

PLAN = plan_of("control", seeds=4)


class Flaky(Tracking):
    """A store that is away when it is told to be, before or after it has done what was asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder}/mlflow.db", folder / "artifacts")
        self.away = False
        self.break_off: list[str] = []  # what fails once, after it was done
        self.refused: set[str] = set()

    def begin_campaign(self, plan: CampaignPlan) -> str:
        self._refuse()
        return super().begin_campaign(plan)

    def write(self, *arguments: Any, **named: Any) -> str:
        self._refuse()
        if arguments[2].tags["ablate.key"] in self.refused:
            raise TrackingError("refused")
        run_id = super().write(*arguments, **named)
        if "write" in self.break_off:
            self.break_off.remove("write")
            raise TrackingError("the answer was lost")
        return run_id

    def _log(self, run_id: str, entry: Any) -> None:
        if "log" in self.break_off and entry.tags["ablate.kind"] == "trial":
            self.break_off.remove("log")
            raise TrackingError("broken off in the middle")
        super()._log(run_id, entry)

    def _refuse(self) -> None:
        if self.away:
            raise TrackingError("nobody answers")


@pytest.fixture(autouse=True)
def quick_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "BACK_OFF_S", (0.01, 0.05))


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Flaky:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return Flaky(tmp_path)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "trials")


def records(outbox: Outbox) -> list[Record]:
    made = [outcome(trial) for trial in PLAN.trials]
    for record in made:
        outbox.put(record)
    return made


def start(
    store: Flaky, outbox: Outbox, say: Callable[[str], None] = lambda _: None, stored: list[TrialRun] | None = None
) -> Ledger:
    return Ledger(store, PLAN, outbox, keep=False, say=say, stored=stored)


def exactly_once(store: Tracking) -> bool:
    runs = store.trial_runs("faults")
    return (
        len(runs) == len(PLAN.trials)
        and len(best(runs, [trial.key for trial in PLAN.trials])) == len(PLAN.trials)
        and all(record.same_result(outcome(trial)) for trial in PLAN.trials for record in [store.read(runs)[trial.key]])
    )


@pytest.mark.parametrize("break_off", [["write"], ["log"], ["write", "log"], ["log", "log", "write"]])
@pytest.mark.parametrize("stored", [None, []])
def test_a_call_that_broke_off_leaves_each_record_exactly_once(
    store: Flaky, outbox: Outbox, break_off: list[str], stored: list[TrialRun] | None
) -> None:
    store.break_off = break_off
    ledger = start(store, outbox, stored=stored)
    for record in records(outbox):
        ledger.put(record)
    assert ledger.finish(complete=True, patience_s=5) == 0
    assert exactly_once(store)
    assert not list(outbox.trials.iterdir())


def test_a_run_that_a_slow_server_makes_after_the_call_has_broken_off_is_removed(
    store: Flaky, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, create = list[Any](), store._create

    def slow(*arguments: Any) -> str:
        if not late and arguments[1].tags["ablate.kind"] == "trial":
            late.append(arguments)
            raise TrackingError("timed out")
        run_id = create(*arguments)
        if len(late) == 1 and arguments[1].tags["ablate.kind"] == "trial":
            late.append(create(*late[0]))
        return run_id

    monkeypatch.setattr(store, "_create", slow)
    ledger = start(store, outbox)
    for record in records(outbox):
        ledger.put(record)
    assert ledger.finish(complete=True, patience_s=5) == 0
    assert len(late) == 2
    assert exactly_once(store)


def test_a_store_that_is_away_costs_no_record_and_says_so_once(store: Flaky, outbox: Outbox) -> None:
    store.away = True
    said: list[str] = []
    ledger = start(store, outbox, said.append)
    for record in records(outbox):
        ledger.put(record)
    assert until(lambda: bool(said))
    time.sleep(0.3)
    assert len(said) == 1
    assert "nobody answers" in said[0]
    assert "records wait in" in said[0]
    store.away = False
    assert ledger.finish(complete=True, patience_s=5) == 0
    assert "answers again" in said[1]
    assert exactly_once(store)


def test_what_a_store_that_stays_away_did_not_get_waits_for_the_next_call(store: Flaky, outbox: Outbox) -> None:
    store.away = True
    ledger = start(store, outbox)
    for record in records(outbox):
        ledger.put(record)
    before = time.monotonic()
    assert ledger.finish(complete=True, patience_s=0.3) == 4
    assert time.monotonic() - before < 5
    assert len(outbox.waiting(trial.key for trial in PLAN.trials)) == 4
    store.away = False
    again = start(store, outbox)
    for record in outbox.waiting(trial.key for trial in PLAN.trials).values():
        again.put(record)
    assert again.finish(complete=True, patience_s=5) == 0
    assert exactly_once(store)


def test_a_record_that_is_refused_does_not_hold_up_the_others(store: Flaky, outbox: Outbox) -> None:
    store.refused = {PLAN.trials[0].key}
    ledger = start(store, outbox)
    for record in records(outbox):
        ledger.put(record)
    assert until(lambda: len(store.trial_runs("faults")) == 3)
    assert ledger.finish(complete=True, patience_s=0.3) == 1
    assert list(outbox.waiting(trial.key for trial in PLAN.trials)) == [PLAN.trials[0].key]


def test_a_record_replaces_the_failure_of_an_earlier_call(store: Flaky, outbox: Outbox) -> None:
    for status in ("failed", "finished"):
        ledger = start(store, outbox)
        for record in records(outbox):
            ledger.put(replace(record, status=status))  # type: ignore[arg-type]
        assert ledger.finish(complete=True, patience_s=5) == 0
    assert exactly_once(store)


def test_a_failure_is_handed_over_and_its_checkpoint_stays_for_the_next_call(store: Flaky, outbox: Outbox) -> None:
    failure = replace(outcome(PLAN.trials[0]), status="failed")
    outbox.put(failure)
    (outbox.folder(failure.key) / "checkpoint.pt").write_bytes(b"state")
    ledger = start(store, outbox)
    ledger.put(failure)
    assert ledger.finish(complete=False, patience_s=5) == 0
    assert [path.name for path in outbox.folder(failure.key).iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("steps", [0, 15, 30])
def test_a_dispatcher_killed_while_it_clears_a_trial_leaves_the_record_that_the_next_call_starts_from(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    record = outcome(PLAN.trials[0])
    folder, left, unlink = outbox.folder(record.key), iter(range(steps)), os.unlink
    folder.mkdir(parents=True)
    for number in range(30):
        (folder / str(number)).touch()
    (folder / "record.json").write_text(record.to_json())

    def dying(*given: Any, **named: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        unlink(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", dying)
        with pytest.raises(KeyboardInterrupt):
            outbox.settle(record.key)
    assert len(list(folder.iterdir())) == 31 - steps
    assert outbox.read(record.key) == record
    outbox.settle(record.key)
    assert not folder.exists()


def test_training_goes_on_and_ends_without_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ablate.campaign import dispatch

    monkeypatch.setattr(dispatch, "PATIENCE_S", 0.5)
    runs, uri = tmp_path / "runs", "http://127.0.0.1:9"  # the discard port: nobody listens
    said: list[str] = []

    class Listener(dispatch.Silent):
        def said(self, message: str) -> None:
            said.append(message)

    def go(plan: CampaignPlan) -> Any:
        executor = LocalExecutor(2, train=null, preload=())
        return run_campaign(plan, runs=runs, tracking_uri=uri, prepare=no_costs, executor=executor, observer=Listener())

    result = go(PLAN)
    assert (result.trained, result.waiting, len(result.records)) == (4, 4, 4)
    assert "does not answer" in said[0]
    second = go(PLAN)
    assert (second.trained, second.waiting) == (0, 4)
    shutil.rmtree(runs / "trials")  # as if only the server had them
    third = go(PLAN)
    assert (third.trained, len(third.unread)) == (0, 4)
