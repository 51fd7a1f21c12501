"""What is seen while a campaign runs: every line arrives, one bar stays, and nothing in it commands the terminal."""

from __future__ import annotations

import io
import re
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ablate.design.plan import make_plan
from ablate.design.read import load_study
from ablate.reporting import progress
from ablate.reporting.console import screen, text
from ablate.reporting.progress import Bars, Lines, Tally, duration


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
    """A plan whose arms train for so many epochs; the first is called relu_bottleneck."""
    names = ("relu_bottleneck", *(f"arm{i}" for i in range(1, len(epochs))))
    recipes = [SimpleNamespace(epochs=one) for one in epochs]
    arms = [SimpleNamespace(name=name, recipe=one, spec=None) for name, one in zip(names, recipes, strict=True)]
    data = SimpleNamespace(split=lambda spec: (4000, 400))
    study = SimpleNamespace(name="a_study", searched=False, own_training=False)
    return SimpleNamespace(
        arms=arms, data=data, study=study, at=lambda trial: None, level_trials=(),
        trials=[SimpleNamespace(arm=one.name, recipe=one.recipe, spec=None) for one in arms],
    )  # fmt: skip


def trial(seed: int, arm: str = "relu_bottleneck", epochs: int = 3) -> Any:
    recipe = SimpleNamespace(epochs=epochs)
    title = f"{arm}, seed {seed}"
    return SimpleNamespace(
        key=f"{arm}{seed}", arm=arm, seed=seed, title=title, phase="confirm", recipe=recipe, data=None, spec=None
    )


def record(seed: int, reason: str = "") -> Any:
    return SimpleNamespace(
        key=f"relu_bottleneck{seed}", arm="relu_bottleneck", status="failed" if reason else "finished",
        curve=(1,), reason=reason,
        metrics={"test_accuracy": 0.942, "val_accuracy": 0.9}, measured=SimpleNamespace(attempts=3),
    )  # fmt: skip


def shown(written: str) -> list[str]:
    """The lines of a terminal after ``written``: text, cursor up, erased lines; colours are left out."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if piece == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\r":
            column = 0
        elif piece.endswith("A"):
            row -= int(piece[2:-1] or 1)
        elif piece.endswith("K"):
            lines[row] = ""
        elif not piece.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + piece + lines[row][column + len(piece) :]
            column += len(piece)
    return [line.rstrip() for line in lines if line.strip()]


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


def test_nothing_is_said_to_be_left_when_it_is_over(clock: Clock) -> None:
    tally = Tally(plan(1))
    tally.begin(2)
    clock.now = 10
    tally.epoch("a", 1)
    tally.epoch("b", 1)
    assert tally.left() == ""


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
    lines.finished(trial(3), record(3))
    assert out.getvalue() == "[1/1] relu_bottleneck, seed 3: test accuracy 94.20 %\n"


@pytest.mark.parametrize("width", [80, 120])
def test_every_printed_line_arrives_and_one_bar_stays(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(progress, "REFRESH_S", 0.001)
    out = io.StringIO()
    bars = Bars(plan(3), Console(file=out, force_terminal=True, width=width, height=40))
    seeds, messages = 60, 60

    def ledger() -> None:
        for number in range(messages):
            bars.said(f"message {number} of the ledger")

    with bars.drawn():
        bars.began(plan(3), seeds)
        other = threading.Thread(target=ledger)
        other.start()
        for seed in range(seeds):
            bars.started(trial(seed), 1)
            bars.progress(trial(seed), SimpleNamespace(epoch=1, val_accuracy=0.9), 1700.0)  # type: ignore[arg-type]
            if seed:
                bars.finished(trial(seed - 1), record(seed - 1))
        other.join()
    lines = shown(out.getvalue())
    told = {f"message {number} of the ledger" for number in range(messages)}
    told |= {f"relu_bottleneck, seed {seed}: test accuracy 94.20 %" for seed in range(seeds - 1)}
    assert told <= set(lines)
    assert len(lines) == len(told) + 1, "one bar stays, the campaign's"
    assert f"{seeds - 1}/{seeds}" in lines[-1]
    assert "took" in lines[-1]
    assert "left" not in lines[-1]


def test_eighty_columns_cut_no_counter(clock: Clock) -> None:
    out = io.StringIO()
    bars = Bars(plan(300), Console(file=out, force_terminal=True, width=80, height=40))
    with bars.drawn():
        bars.began(plan(300), 12)
        long = trial(1, arm="classic+relu_bottleneck+relu_activation+full", epochs=300)
        bars.started(long, 1)
        clock.now = 4000
        point = SimpleNamespace(epoch=120, val_accuracy=0.9312)
        bars.progress(long, point, 1712.0)  # type: ignore[arg-type]
        with bars._lock:
            bars._refresh()
            drawn = shown(out.getvalue())
    assert max(map(len, drawn)) <= 80
    assert any("0/12" in line and "67 min, about" in line and "left" in line for line in drawn)
    assert any("120/300" in line and "93.1 % val., 1,712 images/s, 7 min" in line for line in drawn)


@given(message=st.text(st.characters(exclude_categories=["Cs"])))
def test_no_control_character_of_a_record_reaches_the_terminal(message: str) -> None:
    out = io.StringIO()
    lines = Lines(plan(1), Console(file=out, width=200))
    lines._tally.begin(1)
    lines.failed(trial(3), record(3, reason=message or "x"))
    lines.retried(trial(3), message)
    lines.said(message)
    Console(file=out, width=200).print(text(message))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out.getvalue())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_an_output_that_is_not_utf8_shows_escapes_instead_of_ending_the_command(encoding: str) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    screen(file=out).print(text("−1.54 points, 1.00×"))
    written = raw.getvalue().decode(encoding)
    assert "1.54 points" in written
    assert ("−" in written) == (encoding == "utf-8")


def test_a_trial_at_another_level_says_which() -> None:
    made = make_plan(load_study("linear_bottleneck", budget="stability"))
    tally = Tally(made)
    assert tally.name(made.trials[0]) == "control, seed 0"
    assert tally.name(made.level_trials[-1]) == "relu_bottleneck, seed 7, recipe.epochs 8"
