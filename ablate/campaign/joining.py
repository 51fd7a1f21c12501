"""The helper's side of --join: work for the dispatcher that holds the campaign, then take its place."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ablate.campaign.disk import writable
from ablate.campaign.executors import Executor, Lost, Progress
from ablate.campaign.lock import Held
from ablate.campaign.sharing import OWNER
from ablate.campaign.spool import ALIVE, PLACES, Spool, desk, holding, is_held, job_from_json
from ablate.files import write_whole

T = TypeVar("T")
LISTEN_S = 0.2
AGAIN_S = 1.0  # before the campaign is asked for again, where its dispatcher has no work yet or has just ended


def run_or_help(
    run: Callable[[], T], *, runs: Path, study: str, executor: Callable[[], Executor], say: Callable[[str], None]
) -> T:
    """Runs the campaign if nobody does; else helps whoever does until it has ended, and then runs what is left.

    Args:
        run: the campaign.
        runs: its runs folder.
        study: its name.
        executor: makes what runs the trials that the dispatcher hands over.
        say: told in a sentence what goes on.

    Raises:
        AblateError: what ``run`` raises, but for its being run already.
    """
    told = False
    while True:
        try:
            return run()
        except Held as held:
            if not told:
                say(f"{held.what} is being run by {held.holder}; this process helps.")
            told = True
        helped = help_out(runs, study, executor)
        if helped:
            say(f"Helped with {helped} trials.")
        time.sleep(AGAIN_S)


def help_out(runs: Path, study: str, executor: Callable[[], Executor]) -> int:
    """Works for the dispatcher until it has ended; how many trials were finished. Returns at once if it has not begun.

    Raises:
        AblateError: the dispatcher is of another version of ablate, or the disk is full or cannot be written.
    """
    owner = desk(runs.resolve(), study) / OWNER
    if not is_held(owner):
        return 0
    spool = Spool(owner.parent / f"{socket.gethostname()}-{os.getpid()}")
    with writable(runs), holding(spool.folder / ALIVE):
        helper = _Helper(spool, executor())
        try:
            write_whole(spool.folder / PLACES, str(helper.executor.capacity).encode())
            while is_held(owner):
                helper.step()
        finally:
            helper.executor.close()
            shutil.rmtree(spool.folder, ignore_errors=True)
    return helper.finished


class _Helper:
    def __init__(self, spool: Spool, executor: Executor) -> None:
        self.spool = spool
        self.executor = executor
        self.finished = 0
        self._numbers: dict[str, str] = {}  # key -> number of the job that runs
        self._seen: set[str] = set()
        self._told = 0

    def step(self) -> None:
        """Takes up what is new, drops what is no longer wanted, tells what has happened."""
        jobs = self.spool.jobs()
        for key in [key for key, number in self._numbers.items() if number not in jobs]:
            self.executor.cancel(key)
            del self._numbers[key]
        for number in jobs.keys() - self._seen:
            self._seen.add(number)
            self._take_up(number, jobs[number])
        for event in self.executor.events(LISTEN_S):
            if event.key not in self._numbers:
                continue
            number = self._numbers[event.key]
            if not isinstance(event, Progress):
                del self._numbers[event.key]
                self.finished += not isinstance(event, Lost)
            self._told += 1
            self.spool.put_event(self._told, number, event)

    def _take_up(self, number: str, path: Path) -> None:
        try:
            job = job_from_json(path.read_text())
        except FileNotFoundError:  # no longer wanted
            return
        self._numbers[job.key] = number
        self.executor.submit(job)
