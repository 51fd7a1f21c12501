from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import outcome, plan_of
from hypothesis import given
from hypothesis import strategies as st

from ablate.campaign.api import load
from ablate.campaign.options import CampaignStopped, RunOptions
from ablate.campaign.records import LAYOUT, Held, RecordStore, adopt, plan_path, seal, sealed_plans, writable
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.errors import AblateError

PLAN = plan_of("control", "other", seeds=2)
TRIAL = PLAN.trials[0]
RECORD = outcome(TRIAL)


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path, "faults")


def test_a_record_is_one_json_file_named_by_study_and_key_and_reads_back(store: RecordStore, tmp_path: Path) -> None:
    assert (store.read(RECORD.key), store.keys()) == (None, set())
    store.put(RECORD)
    path = tmp_path / "records" / "faults" / f"{RECORD.key}.json"
    assert json.loads(path.read_text())["key"] == RECORD.key
    assert store.read(RECORD.key) == RECORD
    assert store.keys() == {RECORD.key}
    assert [found.name for found in path.parent.iterdir()] == [path.name]


DAMAGES = {
    "cut off": lambda text: text[: len(text) // 2].encode(),
    "no text": lambda text: b"\xff half a rec",
    "empty": lambda text: b"",
    "changed": lambda text: text.replace('"seed": 0', '"seed": 4').encode(),
    "of another trial": lambda text: outcome(PLAN.trials[1]).to_json().encode(),
    "of a newer version": lambda text: text.replace('"format": 1', '"format": 99').encode(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_the_record_of_its_trial_is_never_taken_but_named_and_set_aside(
    store: RecordStore, damage: str
) -> None:
    store.put(RECORD)
    path = store.path(RECORD.key)
    content = DAMAGES[damage](RECORD.to_json())
    path.write_bytes(content)
    with pytest.raises(AblateError, match=re.escape(str(path))):
        store.read(RECORD.key)
    assert path.read_bytes() == content  # reading changes nothing
    record, message = store.take(RECORD.key)
    assert record is None
    assert message.startswith(f"{path}: ")
    assert message.endswith(f"set aside as {path.name}.damaged")
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    assert store.keys() == set()
    assert store.take(RECORD.key) == (None, "")


@given(st.data())
def test_a_bit_turned_over_anywhere_in_a_record_is_noticed(data: st.DataObject) -> None:
    content = bytearray(RECORD.to_json().encode())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = type(RECORD).from_json(content.decode())
    except (AblateError, UnicodeDecodeError):
        return
    assert read == RECORD  # white space


def test_another_studys_record_of_the_same_trial_is_not_this_ones(store: RecordStore, tmp_path: Path) -> None:
    RecordStore(tmp_path, "another").put(RECORD)
    assert store.read(RECORD.key) is None
    assert store.keys() == set()


def test_a_forgotten_record_is_kept_aside_and_its_checkpoint_goes(store: RecordStore) -> None:
    assert not store.forget(RECORD.key)
    store.put(RECORD)
    store.folder(RECORD.key).mkdir(parents=True)
    (store.folder(RECORD.key) / "checkpoint.pt").touch()
    assert store.forget(RECORD.key)
    assert store.read(RECORD.key) is None
    assert store.forgotten(RECORD.key) == [RECORD.to_json()]
    assert store.replaced() == [RECORD]
    assert store.keys() == set()
    assert not store.folder(RECORD.key).exists()


def test_a_result_that_was_forgotten_first_stays_the_first_however_often_its_trial_is_forgotten(
    store: RecordStore,
) -> None:
    failed = replace(RECORD, status="failed", reason="no memory")
    second = replace(RECORD, metrics={**RECORD.metrics, "test_accuracy": 0.25})
    for record in (failed, RECORD, second, second):
        store.put(record)
        assert store.forget(RECORD.key)
    store.put(second)
    assert store.replaced() == [RECORD]
    assert [Record.from_json(text) for text in store.forgotten(RECORD.key)] == [failed, RECORD, second, second]
    assert store.accept(RECORD.key, RECORD.to_json()) is None
    assert store.accept(RECORD.key, second.to_json()) is None


def test_a_record_that_an_earlier_version_forgot_is_the_first_one(store: RecordStore) -> None:
    store.put(RECORD)
    path = store.path(RECORD.key)
    path.replace(path.with_name(f"{path.name}.forgotten"))
    second = replace(RECORD, metrics={**RECORD.metrics, "test_accuracy": 0.25})
    store.put(second)
    store.forget(RECORD.key)
    assert store.replaced() == [RECORD]
    assert store.accept(RECORD.key, second.to_json()) is None


def test_the_checkpoint_of_a_failure_stays_and_that_of_an_outcome_goes(store: RecordStore) -> None:
    failure, other = replace(RECORD, status="failed"), outcome(PLAN.trials[1])
    for record in (failure, other):
        store.put(record)
        store.folder(record.key).mkdir(parents=True)
    store.clear_finished([failure, other])
    assert store.folder(failure.key).exists()
    assert not store.folder(other.key).exists()
    store.remove(failure.key)
    store.remove(failure.key)
    assert store.read(failure.key) is None


def old_record(runs: Path, key: str) -> Path:
    """Where ablate 0.1 left the record of a trial, and left it for good with ``--keep``."""
    path = runs / "trials" / "faults" / key / "record.json"
    path.parent.mkdir(parents=True)
    return path


def test_records_of_the_earlier_version_are_taken_over_to_the_byte(store: RecordStore, tmp_path: Path) -> None:
    keys = [trial.key for trial in PLAN.trials]
    first, second, damaged, _ = keys
    for trial in PLAN.trials[:2]:
        old_record(tmp_path, trial.key).write_text(outcome(trial).to_json())
    old_record(tmp_path, damaged).write_bytes(b"\xff half a rec")
    newer = replace(outcome(PLAN.trials[1]), reason="a record that is here already")
    store.put(newer)
    adopt(store, keys)
    assert store.keys() == {first, second}
    assert store.path(first).read_text() == RECORD.to_json()
    assert store.read(second) == newer
    assert (tmp_path / "trials" / "faults" / first / "record.json").exists()


def test_a_runs_folder_says_its_layout_and_one_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    with writable(tmp_path / "runs"):
        pass
    path = tmp_path / "runs" / "layout.json"
    assert json.loads(path.read_text()) == {"layout": LAYOUT}
    path.write_text('{"layout": 99}')
    with pytest.raises(AblateError, match=rf"has layout 99, made by a newer version of ablate; .* up to {LAYOUT}"):
        writable(tmp_path / "runs").__enter__()
    path.write_text("[]")
    with pytest.raises(AblateError, match=r"layout\.json: must hold"):
        writable(tmp_path / "runs").__enter__()


def test_many_may_ask_at_once_whether_the_runs_folder_can_be_written(tmp_path: Path) -> None:
    def ask(_: int) -> None:
        with writable(tmp_path):
            pass

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(ask, range(500)))) == 500
    assert [path.name for path in tmp_path.iterdir()] == ["layout.json"]


@pytest.mark.parametrize(("number", "kind"), [(28, CampaignStopped), (13, AblateError)])
def test_errors_of_the_disk_become_sentences_that_name_the_file(
    tmp_path: Path, number: int, kind: type[AblateError]
) -> None:
    with pytest.raises(kind) as told, writable(tmp_path):
        raise OSError(number, os.strerror(number), "/there/file")
    if kind is CampaignStopped:
        assert told.value.resumable
        assert str(told.value).startswith(f"{tmp_path}: the disk is full")
    else:
        assert str(told.value).startswith("/there/file: cannot be read or written (Permission denied)")


def test_the_lock_names_the_process_that_holds_it_and_is_let_go_when_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from ablate.campaign.records import RecordStore\n"
        "with RecordStore(Path(sys.argv[1]), 'faults').locked(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    store = RecordStore(tmp_path, "faults")
    with pytest.raises(Held, match=rf"'faults' is being run by process {holder.pid} on \S+ since [\d-]+ [\d:]+; wait"):
        store.locked().__enter__()
    with RecordStore(tmp_path, "another").locked():
        pass
    holder.kill()
    holder.communicate()
    with store.locked():
        pass


def test_a_plan_is_sealed_once_and_never_written_again(tmp_path: Path) -> None:
    sealed = seal(PLAN, tmp_path)
    path = plan_path(tmp_path, PLAN.study)
    assert path == tmp_path / "plans" / f"faults.{PLAN.study.digest}.json"
    content, stamp = path.read_bytes(), path.stat().st_mtime_ns
    assert seal(PLAN, tmp_path) == sealed
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, stamp)
    assert sealed.plan == PLAN


def test_sealed_plans_come_oldest_first_without_another_studys_and_without_a_damaged_one(tmp_path: Path) -> None:
    more = plan_of("control", "other", seeds=3)
    first, second = seal(more, tmp_path), seal(PLAN, tmp_path)
    seal(plan_of("control", name="faults.too"), tmp_path)
    assert sealed_plans(tmp_path, "faults") == [first, second]
    plan_path(tmp_path, PLAN.study).write_bytes(b"\xff")
    assert sealed_plans(tmp_path, "faults") == [first]
    assert seal(PLAN, tmp_path).plan == PLAN  # a damaged one is set aside and sealed again
    assert plan_path(tmp_path, PLAN.study).with_suffix(".json.damaged").read_bytes() == b"\xff"


def test_the_plan_that_is_run_last_before_any_trial_begins_is_the_last_sealed(tmp_path: Path) -> None:
    store, more, key = RecordStore(tmp_path, "faults"), plan_of("control", "other", seeds=3), PLAN.trials[0].key
    seal(PLAN, tmp_path), seal(more, tmp_path)
    store.folder(key).mkdir(parents=True)
    (store.folder(key) / "output.log").touch()  # of an attempt that ended before its first epoch
    again = seal(PLAN, tmp_path)
    assert sealed_plans(tmp_path, "faults")[-1] == again
    assert seal(PLAN, tmp_path) == again
    (store.folder(key) / "checkpoint.pt").touch()
    late = seal(more, tmp_path)
    assert late.sealed_at < again.sealed_at  # its trials have begun under the other plan
    store.clear(key)
    store.put(outcome(PLAN.trials[0]))
    assert seal(more, tmp_path) == late


def test_after_the_clock_was_set_back_the_plan_that_was_run_last_is_still_the_one_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = plan_of("control", "other", seeds=3)
    first = seal(PLAN, tmp_path)
    monkeypatch.setattr("time.time", lambda: first.sealed_at - 400 * 86_400)
    second = seal(more, tmp_path)
    assert second.sealed_at < first.sealed_at
    assert sealed_plans(tmp_path, "faults") == [first, second]
    assert load(RunOptions(runs=tmp_path), "faults").plan.study == more.study
    assert seal(PLAN, tmp_path).number == 3  # run again before any of its trials began


def renamed(plan: CampaignPlan, name: str) -> CampaignPlan:
    study = plan.study.model_copy(update={"name": name})
    trials = tuple(dataclasses.replace(trial, study=name) for trial in plan.trials)
    return replace(plan, study=study, trials=trials)


def test_two_studies_that_share_trials_keep_a_record_each(tmp_path: Path) -> None:
    other = renamed(PLAN, "another")
    assert [trial.key for trial in other.trials] == [trial.key for trial in PLAN.trials]
    RecordStore(tmp_path, "another").put(outcome(other.trials[0]))
    assert RecordStore(tmp_path, "faults").read(TRIAL.key) is None


def test_a_record_that_a_view_gives_is_kept_only_if_it_is_sound_of_this_trial_and_not_forgotten(tmp_path: Path) -> None:
    store, (first, second) = RecordStore(tmp_path, "faults"), plan_of("control", seeds=2).trials
    text = outcome(first).to_json()
    assert store.accept(first.key, text[:-9]) is None
    assert store.accept(second.key, text) is None
    assert store.keys() == set()
    assert store.accept(first.key, text) == outcome(first)
    assert store.path(first.key).read_text() == text
    store.forget(first.key)
    assert store.accept(first.key, text) is None
