from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from ablate.reporting.progress import Lines, Tally, duration


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    new = Clock()
    monkeypatch.setattr("ablate.reporting.progress.time", new)
    return new


def plan(*epochs: int) -> Any:
    """A plan whose arms train for so many epochs; the first is the control."""
    names = ("control", *(f"arm{i}" for i in range(1, len(epochs))))
    recipes = [SimpleNamespace(epochs=one) for one in epochs]
    arms = [SimpleNamespace(name=name, recipe=one) for name, one in zip(names, recipes, strict=True)]
    return SimpleNamespace(arms=arms)


@pytest.mark.parametrize(
    ("seconds", "said"), [(4.2, "4 s"), (89, "89 s"), (125, "2 min"), (5400, "1 h 30 min"), (7500, "2 h 05 min")]
)
def test_a_duration_is_told_in_the_unit_a_person_would_use(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_what_is_left_is_the_pace_so_far_times_the_epochs_to_come(clock: Clock) -> None:
    tally = Tally(plan(4))
    tally.begin(2)
    assert tally.left() == ""
    clock.now = 10
    tally.epoch("a", 1)
    assert tally.left() == "about 70 s left"  # 7 epochs of 10 s


def test_arms_that_train_longer_count_with_their_own_epochs(clock: Clock) -> None:
    tally = Tally(plan(2, 6))
    tally.begin(2)
    clock.now = 10
    tally.epoch("a", 1)
    assert tally.left() == "about 70 s left"  # 8 epochs in all, one of them done in 10 s


def test_epochs_of_an_earlier_call_are_neither_this_calls_pace_nor_still_to_come(clock: Clock) -> None:
    tally = Tally(plan(30))
    tally.begin(2)
    clock.now = 10
    tally.epoch("a", 30)  # went on from its checkpoint after epoch 29
    tally.epoch("b", 29)
    assert tally.left() == "about 5 s left"  # one epoch, at two in 10 s


def test_lines_name_the_trial_its_result_and_its_place(clock: Clock) -> None:
    out = io.StringIO()
    lines = Lines(plan(1), Console(file=out, width=200))
    lines._tally.begin(1)
    trial = SimpleNamespace(arm="control", seed=3, phase="confirm")
    record = SimpleNamespace(
        key="k",
        arm="control",
        status="finished",
        metrics={"test_accuracy": 0.942, "val_accuracy": 0.9},
        curve=(1,),
        reason="",
    )
    lines.finished(trial, record)  # type: ignore[arg-type]
    assert out.getvalue() == "[1/1] control, seed 3: test accuracy 94.20 %\n"
