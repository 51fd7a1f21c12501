from __future__ import annotations

from pathlib import Path

import pytest

from ablate.campaign.queue import WINDOW, TrialQueue, open_queue, queue_states
from ablate.errors import AblateError

KEYS = [f"{number:016x}" for number in range(5)]


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
    with pytest.raises(AblateError, match=r"nowhere/queue.db: the queue cannot be opened: unable to open database"):
        open_queue(tmp_path / "nowhere" / "queue.db", "it")


@pytest.mark.parametrize("url", ["mysql://me:secret@host/db", "sqlite:///queue.db", "queue.db"])
def test_a_queue_of_another_kind_is_refused_and_its_password_kept(url: str) -> None:
    with pytest.raises(AblateError, match=r"--queue takes postgresql\+psycopg://") as caught:
        open_queue(url, "it")
    assert "secret" not in str(caught.value)
