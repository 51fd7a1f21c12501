from __future__ import annotations

import contextlib
import sqlite3
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from ablate.campaign.queue import WINDOW, TrialQueue, open_queue, queue_states
from ablate.campaign.result import CampaignStopped
from ablate.errors import AblateError

KEYS = [f"{number:016x}" for number in range(5)]
ROUNDS = 4


def opened(path: Path, todo: list[str]) -> TrialQueue:
    queue, trouble = open_queue(path, "it")
    assert trouble == ""
    queue.add(todo)
    return queue


def handed_out(queue: TrialQueue) -> list[str]:
    keys = []
    while (key := queue.next()) is not None:
        keys.append(key)
    return keys


def test_each_key_is_handed_out_once_and_in_order(tmp_path: Path) -> None:
    keys = [f"{number:016x}" for number in range(WINDOW + 6)]
    queue = opened(tmp_path / "queue.db", keys)
    assert handed_out(queue) == keys
    for key in keys:
        queue.finished(key, 0.5)
    assert [state for _, state in queue_states(tmp_path / "queue.db", "it")] == ["COMPLETE"] * len(keys)


def test_what_a_dispatcher_left_running_is_handed_out_again(tmp_path: Path) -> None:
    first = opened(tmp_path / "queue.db", KEYS)
    assert (first.next(), first.next()) == (KEYS[0], KEYS[1])
    first.finished(KEYS[0], 0.5)
    second = opened(tmp_path / "queue.db", KEYS[1:])
    assert sorted(handed_out(second)) == KEYS[1:]
    assert second.done == {KEYS[0]}


def test_what_waits_but_is_no_longer_wanted_is_not_handed_out(tmp_path: Path) -> None:
    opened(tmp_path / "queue.db", KEYS).next()
    queue = opened(tmp_path / "queue.db", KEYS[3:])
    assert (queue.next(), queue.next(), queue.next()) == (KEYS[3], KEYS[4], None)


def test_outcomes_are_done_with_a_number_or_without_and_failures_are_not(tmp_path: Path) -> None:
    queue = opened(tmp_path / "queue.db", KEYS[:4])
    assert handed_out(queue) == KEYS[:4]
    queue.failed(KEYS[0])
    queue.finished(KEYS[1], None)
    queue.finished(KEYS[2], float("nan"))
    queue.finished(KEYS[3], 0.5)
    queue.learn(KEYS[4], None)
    assert opened(tmp_path / "queue.db", []).done == set(KEYS[1:])


def test_what_is_added_later_comes_behind_and_only_once(tmp_path: Path) -> None:
    queue = opened(tmp_path / "queue.db", KEYS[:2])
    queue.add(KEYS[1:4])
    assert handed_out(queue) == KEYS[:4]
    queue.add(KEYS[4:])
    assert handed_out(queue) == KEYS[4:]


def test_a_queue_out_of_reach_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "queue.db").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(AblateError, match=r"queue.db: the queue cannot be opened: unable to open database"):
        open_queue(tmp_path / "queue.db", "it")
    with pytest.raises(
        AblateError, match=r"file/queue.db: the queue cannot be opened: .*(File exists|Not a directory)"
    ):
        open_queue(tmp_path / "file" / "queue.db", "it")


def open_at_once(folder: Path, name: str, damage: bytes, barrier: Any, answers: Any) -> None:
    """One of several dispatchers that open the same files at the same instants."""
    for number in range(ROUNDS):
        path = folder / f"queue{number}.db"
        if damage:
            path.write_bytes(damage)
        barrier.wait(60)
        try:
            queue, trouble = open_queue(path, name)
            queue.add([name])
            answers.put((number, name, queue.next(), trouble))
        except Exception as error:  # noqa: BLE001 - told to the test
            answers.put((number, name, f"{type(error).__name__}: {error}", ""))


@pytest.mark.parametrize("damage", [b"", b"no database at all, only words " * 50])
def test_dispatchers_that_start_at_once_make_one_queue_between_them(tmp_path: Path, damage: bytes) -> None:
    context, names = get_context("spawn"), KEYS[:3]
    barrier, answers = context.Barrier(len(names)), context.Queue()
    processes = [context.Process(target=open_at_once, args=(tmp_path, n, damage, barrier, answers)) for n in names]
    for process in processes:
        process.start()
    told = sorted(answers.get(timeout=120) for _ in range(ROUNDS * len(names)))
    for process in processes:
        process.join()
    assert [answer[:3] for answer in told] == [(number, name, name) for number in range(ROUNDS) for name in names]
    assert sum(bool(trouble) for *_, trouble in told) == (ROUNDS if damage else 0)
    assert all(queue_states(tmp_path / f"queue{n}.db", name) for n in range(ROUNDS) for name in names)


def test_damage_that_nothing_reads_yet_is_found_when_the_queue_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    opened(path, KEYS).close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'trial_values'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(range(256)) * (size // 256))
    with pytest.raises(AblateError, match=r"queue.db: the queue cannot be read"):
        queue_states(path, "it")
    queue, trouble = open_queue(path, "it")
    assert "the queue was rebuilt" in trouble
    queue.close()


def test_a_disk_that_is_full_when_the_queue_is_opened_stops_the_campaign_to_go_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, make: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("ablate.campaign.queue_file.make_whole", full)
    with pytest.raises(CampaignStopped, match="the disk with the queue is full; make space and run the same command"):
        open_queue(tmp_path / "queue.db", "it")


def test_a_queue_that_breaks_in_mid_campaign_stops_it_in_a_sentence(tmp_path: Path) -> None:
    queue = opened(tmp_path / "queue.db", KEYS)
    queue.next()
    (tmp_path / "queue.db").write_bytes(b"no database at all, only words " * 500)
    for act in (queue.next, lambda: queue.finished(KEYS[0], 0.5), lambda: queue.learn(KEYS[4], 0.5)):
        with pytest.raises(CampaignStopped, match=r"queue.db: the queue cannot be used any more \(.*\); run the same"):
            act()
    queue.close()


def test_a_damaged_queue_is_not_taken_from_under_a_study_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    running = opened(path, KEYS)
    damaged = path.read_bytes()[:100] + bytes(1000) + path.read_bytes()[1100:]
    path.write_bytes(damaged)
    with pytest.raises(AblateError, match=r"the queue is damaged .* another study that runs uses it"):
        open_queue(path, "other")
    assert path.read_bytes() == damaged
    running.close()
    queue, trouble = open_queue(path, "other")
    assert "the queue was rebuilt" in trouble
    queue.close()


@pytest.mark.parametrize("url", ["mysql://me:secret@host/db", "sqlite:///queue.db", "queue.db"])
def test_a_queue_of_another_kind_is_refused_and_its_password_kept(url: str) -> None:
    with pytest.raises(AblateError, match=r"--queue takes postgresql\+psycopg://") as caught:
        open_queue(url, "it")
    assert "secret" not in str(caught.value)
