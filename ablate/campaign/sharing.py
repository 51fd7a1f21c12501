"""The dispatcher's side of --join: what its own executor has no room for goes to helpers, each job to one of them."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ablate.campaign.executors import Event, Executor, Finished, Job, Lost, Progress
from ablate.campaign.outbox import Outbox
from ablate.campaign.spool import PLACES, Spool, holding
from ablate.design.datasets import prepared_file
from ablate.paths import default_data_root

OWNER = "owner"
LOOK_S = 0.25  # how often helpers are looked for, and listened to
HELPERS_LOST = 5  # after so many under one trial, the trial itself is suspected


@dataclass(eq=False)
class _Helper:
    spool: Spool
    places: int
    jobs: dict[str, Job] = field(default_factory=dict)  # by number


class SharedExecutor:
    """An executor and the helpers that have joined.

    Args:
        own: the dispatcher's.
        folder: where helpers put their folders.
        say: told when a helper comes and goes.
    """

    def __init__(self, own: Executor, folder: Path, say: Callable[[str], None]) -> None:
        self._own = own
        self._folder = folder
        self._say = say
        self._here: set[str] = set()
        self._helpers: dict[Path, _Helper] = {}
        self._lost: Counter[str] = Counter()
        self._early: list[Event] = []
        self._numbers = itertools.count(1)
        self._looked = float("-inf")
        self._open = contextlib.ExitStack()
        self._open.enter_context(holding(folder / OWNER))

    @property
    def capacity(self) -> int:
        """The executor's own and the helpers'."""
        self._look()
        return self._own.capacity + sum(helper.places for helper in self._helpers.values())

    def submit(self, job: Job) -> None:
        """See ``Executor.submit``."""
        if len(self._here) >= self._own.capacity:
            for helper in self._helpers.values():
                if len(helper.jobs) < helper.places:
                    self._hand_over(job, helper)
                    return
        self._here.add(job.key)
        self._own.submit(job)

    def events(self, timeout_s: float) -> list[Event]:
        """See ``Executor.events``."""
        self._look()
        found, self._early = self._early, []
        for helper in self._helpers.values():
            found += self._hear(helper)
        patience_s = 0.0 if found else min(timeout_s, LOOK_S) if self._helpers else timeout_s
        own = self._own.events(patience_s)
        self._here.difference_update(event.key for event in own if not isinstance(event, Progress))
        return found + own

    def cancel(self, key: str) -> None:
        """See ``Executor.cancel``."""
        self._here.discard(key)
        self._own.cancel(key)
        for helper in self._helpers.values():
            for number in [number for number, job in helper.jobs.items() if job.key == key]:
                helper.spool.drop_job(number)
                del helper.jobs[number]

    def close(self) -> None:
        """Ends what runs here; the helpers see that the dispatcher has ended, and end theirs."""
        self._own.close()
        self._helpers.clear()
        self._open.close()

    def _hand_over(self, job: Job, helper: _Helper) -> None:
        number = f"{next(self._numbers):06d}"
        data = prepared_file(job.trial.data, job.data_root or default_data_root(), job.cache).resolve()
        helper.jobs[number] = job
        helper.spool.put_job(number, replace(job, data_file=data))

    def _hear(self, helper: _Helper) -> list[Event]:
        found = []
        for number, event in helper.spool.take_events():
            if number not in helper.jobs:
                continue  # it was cancelled
            found.append(event)
            if not isinstance(event, Progress):
                helper.spool.drop_job(number)
                del helper.jobs[number]
        return found

    def _look(self) -> None:
        """Takes in helpers that have come, and gives up those that have gone."""
        if time.monotonic() < self._looked + LOOK_S:
            return
        self._looked = time.monotonic()
        for folder in {path.parent for path in self._folder.glob(f"*/{PLACES}")} - set(self._helpers):
            spool = Spool(folder)
            if spool.alive:
                self._helpers[folder] = _Helper(spool, spool.places)
                self._say(f"{folder.name} helps with {spool.places} trials at a time.")
            else:
                shutil.rmtree(folder, ignore_errors=True)
        for helper in [helper for helper in self._helpers.values() if not helper.spool.alive]:
            self._give_up(helper)

    def _give_up(self, helper: _Helper) -> None:
        self._early += self._hear(helper)
        for job in helper.jobs.values():
            record = Outbox(job.folder.parent).get(job.key)
            if record is not None and record.status != "failed":  # written, but not told any more
                self._early.append(Finished(job.key, record))
                continue
            self._lost[job.key] += 1
            blameless = self._lost[job.key] < HELPERS_LOST
            self._early.append(Lost(job.key, "its helper has ended", blameless=blameless))
        del self._helpers[helper.spool.folder]
        shutil.rmtree(helper.spool.folder, ignore_errors=True)
        self._say(f"{helper.spool.folder.name} helps no longer.")
