"""Contenders timed in turns, A B A B, and compared by the ratios of neighbouring turns.

A contender is one or several processes that stay up for the whole comparison and wait, asleep, for their turn; only
one contender runs at a time. What drifts (clock rate, temperature, neighbours on the machine) drifts for both sides of
a ratio, and start-up stays outside unless a turn reports its own seconds.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TURN_LIMIT_S = 300.0


@dataclass(frozen=True)
class Work:
    """What one turn of one process did: so many images, and its own seconds where it does not count from go to done."""

    images: int
    seconds: float | None = None


Turn = Callable[[], Work]


@dataclass(frozen=True)
class Ratio:
    """Median of pairwise ratios with the lowest and the highest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """``above[i] / below[i]`` over the turns that ran side by side."""
    pairs = [a / b for a, b in zip(above, below, strict=True)]
    return Ratio(statistics.median(pairs), min(pairs), max(pairs))


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One side of a comparison.

    Attributes:
        name: as it stands in tables.
        make: "module:function", called in each process with ``settings``; gives what a turn calls.
        processes, threads: how many processes, and how many threads each may use.
        warm_up: whether a turn outside the clock comes first; whole trials, which start cold in a campaign, have none.
    """

    name: str
    make: str
    settings: dict[str, Any] = field(default_factory=dict)
    processes: int = 1
    threads: int = 1
    warm_up: bool = True


class _Team:
    """The running processes of a contender."""

    def __init__(self, contender: Contender, folder: str) -> None:
        self.name = contender.name
        context = multiprocessing.get_context("spawn")
        self._members: list[tuple[Connection, Any]] = []
        with _environment(contender.threads, TMPDIR=folder):
            for _ in range(contender.processes):
                ours, theirs = context.Pipe()
                arguments = (contender, theirs)
                process = context.Process(target=_serve, args=arguments)
                process.start()
                theirs.close()
                self._members.append((ours, process))

    def turn(self) -> float:
        """Images a second of the whole contender in one turn."""
        started = time.perf_counter()
        for pipe, _ in self._members:
            pipe.send("go")
        works = [self._answer(pipe) for pipe, _ in self._members]
        wall = time.perf_counter() - started
        own = [work.seconds for work in works if work.seconds is not None]
        return sum(work.images for work in works) / (max(own) if own else wall)

    def wait_ready(self) -> None:
        for pipe, _ in self._members:
            self._answer(pipe)

    def _answer(self, pipe: Connection) -> Work:
        if not pipe.poll(TURN_LIMIT_S):
            raise TimeoutError(f"{self.name}: no answer in {TURN_LIMIT_S:g} s")
        answer = pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(f"{self.name}: {answer}")
        return answer

    def close(self) -> None:
        for pipe, process in self._members:
            pipe.close()
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def _serve(contender: Contender, pipe: Connection) -> None:
    try:
        import torch

        torch.set_num_threads(contender.threads)
        module, function = contender.make.split(":")
        turn: Turn = getattr(importlib.import_module(module), function)(**contender.settings)
        if contender.warm_up:  # kernels are chosen and memory is claimed outside the clock
            turn()
        pipe.send(Work(0))
        while True:
            pipe.recv()
            pipe.send(turn())
    except EOFError:
        return
    except Exception:  # noqa: BLE001 - told to the parent, which raises it
        pipe.send(traceback.format_exc())


def _answer_once(call: str, settings: dict[str, Any], pipe: Connection) -> None:
    try:
        module, function = call.split(":")
        pipe.send((True, getattr(importlib.import_module(module), function)(**settings)))
    except Exception:  # noqa: BLE001 - told to the parent, which raises it
        pipe.send((False, traceback.format_exc()))


def call_apart(call: str, *, threads: int = 1, limit_s: float = TURN_LIMIT_S, **settings: Any) -> Any:
    """What "module:function" returns in a fresh process of ``threads`` threads: nothing measured earlier is in it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with _environment(threads):
        process = context.Process(target=_answer_once, args=(call, settings, theirs))
        process.start()
    theirs.close()
    try:
        if not ours.poll(limit_s):
            raise TimeoutError(f"{call}: no answer in {limit_s:g} s")
        done, answer = ours.recv()
    except EOFError:
        raise RuntimeError(f"{call}: its process ended without an answer") from None
    finally:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
    if not done:
        raise RuntimeError(f"{call}: {answer}")
    return answer


@contextmanager
def _environment(threads: int, **variables: str) -> Iterator[None]:
    """What processes started in here inherit."""
    wanted = {**dict.fromkeys(THREAD_VARIABLES, str(threads)), **variables}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def race(contenders: Sequence[Contender], rounds: int) -> dict[str, list[float]]:
    """Images a second of each contender in each round, by name; every round gives each one turn, in order."""
    speeds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))  # for all that they write
        teams = []
        for contender in contenders:
            team = _Team(contender, folder)
            stack.callback(team.close)
            team.wait_ready()
            teams.append(team)
        for _ in range(rounds):
            for team in teams:
                speeds[team.name].append(team.turn())
                print(f"    {team.name}: {speeds[team.name][-1]:,.0f} images/s", file=sys.stderr, flush=True)
    return speeds
