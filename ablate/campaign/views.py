"""Views of the records: what a view is, and the thread that pushes records to one while training continues.

A view is made from records and can be made again. Nothing waits for it: one that is away, slow or damaged is named
once, and what it lacks is pushed when it answers, or by the next call.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from ablate.campaign.options import ArmCosts
from ablate.campaign.records import RecordStore
from ablate.design.identity import digest
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record
from ablate.errors import AblateError
from ablate.files import read_whole, write_whole
from ablate.formats import parse

BACK_OFF_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
DEADLINE_S = 120.0  # for what a view lacks when the campaign is over
SILENT_S = 60.0  # of these, without any progress: a new sqlite store takes so long on a busy machine
FAILING_S = 15.0  # of these, while the view refuses or does not answer
SIDECARS = ("", "-wal", "-shm", "-journal")  # a database, and the files of sqlite that belong to it
STEP_S = 5.0  # how long a call that does not return is waited for at the very end


class ViewError(AblateError):
    """A view does not answer, or refuses; the message names it and says why."""


@dataclass(frozen=True)
class Item:
    """A record on its way to a view.

    Attributes:
        path: the record's file, whose content is pushed as it is.
        digest: sha256 of that file.
        weights: the weights that the trial kept; None: none.
    """

    trial: Trial
    record: Record
    path: Path
    digest: str
    weights: Path | None = None

    @classmethod
    def of(cls, store: RecordStore, trial: Trial, record: Record) -> Self:
        """A record as it is on disk now."""
        path, weights = store.path(record.key), store.weights(record.key)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        return cls(trial, record, path, content, weights if weights.is_file() else None)

    @property
    def text(self) -> str:
        """The record as it was written."""
        return self.path.read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What a campaign came to, as a view shows it.

    Attributes:
        complete: whether every trial that is needed has its outcome.
        note: the verdicts as Markdown.
        metrics: name -> number, of the campaign as a whole.
        report: the folder of the report; None: there is none.
    """

    complete: bool = True
    note: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    report: Path | None = None


class View(Protocol):
    """A place where people browse records. Every call may fail with any exception; the next one is tried anew."""

    @property
    def name(self) -> str:
        """As a message names it, without passwords."""
        ...

    def load(self) -> None:
        """Imports what the view needs. Imports of one library in two threads at once can deadlock."""
        ...

    def known(self, plan: CampaignPlan, costs: ArmCosts) -> dict[str, str]:
        """Makes the view ready for this campaign; digest by key of the records of the study that it holds."""
        ...

    def push(self, plan: CampaignPlan, item: Item, costs: ArmCosts) -> str:
        """Makes the view hold this record once; returns the digest of the record that it holds then."""
        ...

    def finish(self, plan: CampaignPlan, items: Sequence[Item], conclusion: Conclusion, costs: ArmCosts) -> None:
        """Shows what the campaign came to."""
        ...

    def close(self) -> None:
        """Closes its connections; the next call opens new ones."""
        ...

    def state(self) -> list[Any] | None:
        """What changes whenever anything in the view does; None where that cannot be told without asking it."""
        ...


class Pusher:
    """Pushes one campaign's records to one view, from a thread of its own.

    Args:
        view: used by this thread alone.
        plan: of the campaign.
        stamp: the file that remembers what the view was last given.
        say: told once when the view goes away, and once when it is back.
    """

    def __init__(self, view: View, plan: CampaignPlan, stamp: Path, say: Callable[[str], None]) -> None:
        self._view = view
        self._plan = plan
        self._stamp = stamp
        self._say = say
        self._items: dict[str, Item] = {}
        self._pending: dict[str, Item] = {}
        self._held: dict[str, str] = {}  # digest by key, as far as is known
        self._stale = True  # whether the view has to be asked what it holds
        self._accepted: dict[str, str] = {}
        self._costs: ArmCosts = {}
        self._conclusion: Conclusion | None = None
        self._done = self._closing = self._told = False
        self._failures = 0
        self._moved = time.monotonic()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, item: Item) -> None:
        """Hands a record over; returns at once."""
        with self._wake:
            self._items[item.record.key] = self._pending[item.record.key] = item
            self._wake.notify_all()

    def update(self, plan: CampaignPlan, costs: ArmCosts) -> None:
        """The plan as it has grown, and the arms' costs."""
        with self._wake:
            self._plan, self._costs = plan, costs

    @property
    def started(self) -> bool:
        """Whether it has begun to push."""
        return self._thread is not None

    def start(self) -> None:
        """Begins to push. The view's libraries are imported first, in the caller's thread."""
        if self._thread is None:
            with contextlib.suppress(Exception):  # the thread will meet the same error, and tell it
                self._view.load()
            self._thread = threading.Thread(target=self._run, name=self._view.name, daemon=True)
            self._thread.start()

    def finish(self, conclusion: Conclusion, *, deadline_s: float | None = DEADLINE_S) -> int:
        """Waits until the view holds everything, but not beyond the deadline; how many records it lacks then."""
        if self._thread is None and self._is_current(conclusion):
            self._done = True
            return 0
        self.start()
        end = time.monotonic() + (deadline_s if deadline_s is not None else float("inf"))
        with self._wake:
            self._conclusion = conclusion
            self._moved = time.monotonic()
            self._wake.notify_all()
            while not self._done and time.monotonic() < min(end, self._moved + self._patience_s):
                self._wake.wait(0.1)
            self._closing = True
            self._wake.notify_all()
            left = 0 if self._done else len(self._lacking())
        assert self._thread is not None
        self._thread.join(
            timeout=min(STEP_S, deadline_s or STEP_S)
        )  # a call that does not return ends with the process
        return left

    @property
    def _patience_s(self) -> float:
        return FAILING_S if self._failures else SILENT_S

    @property
    def behind(self) -> bool:
        """Whether the view does not show the campaign as it is."""
        return not self._done

    def _lacking(self) -> list[str]:
        return [key for key, item in self._items.items() if self._held.get(key) not in self._right(item)]

    def _right(self, item: Item) -> set[str]:
        """The digests with which a view holds a record: its own, or that of another machine's newer one."""
        return {item.digest, self._accepted.get(item.record.key, item.digest)}

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._view.close()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._closing or self._stale or self._pending or self._concluding):
                    self._wake.wait()
                if self._closing:
                    return
            try:
                progress = self._step()
            except Exception as error:  # noqa: BLE001 - a thread that ended here would hold every record back
                self._failures += 1
                self._stumble(error, self._failures)
            else:
                if progress:
                    self._failures = 0
                    self._recover()

    @property
    def _concluding(self) -> bool:
        return self._conclusion is not None and not self._done

    def _step(self) -> bool:
        """Does the next thing; whether the view has come closer to what it should show."""
        if self._stale:
            self._ask()
            return not self._pending
        if self._pending:
            self._push(*next(iter(self._pending.items())))
            return True
        conclusion = self._conclusion
        assert conclusion is not None
        self._ask()  # what was pushed may have been deleted since
        if self._pending:
            return False
        self._view.finish(self._plan, list(self._items.values()), conclusion, self._costs)
        self._remember(conclusion)
        with self._wake:
            self._done = True
            self._wake.notify_all()
        return True

    def _push(self, key: str, item: Item) -> None:
        if self._held.get(key) not in self._right(item):
            try:
                self._accepted[key] = self._held[key] = self._view.push(self._plan, item, self._costs)
            except Exception:
                with self._wake:  # a record that is refused does not hold up the others
                    self._items[key] = self._items.pop(key)
                raise
        with self._wake:
            if self._pending.get(key) is item:
                del self._pending[key]

    def _ask(self) -> None:
        held = self._view.known(self._plan, self._costs)
        with self._wake:
            self._held, self._stale = held, False
            self._pending = {key: self._items[key] for key in self._lacking()}

    def _stumble(self, error: Exception, failures: int) -> None:
        # a call that failed may have been carried out all the same, so what the view holds is asked again
        self._stale = True
        if failures == 2 and not self._told:
            self._told = True
            why = str(error) if isinstance(error, AblateError) else f"{type(error).__name__}: {error}"
            kept = f"Training continues; every record is on disk, and {self._view.name} gets it later."
            self._say(f"{why.removesuffix('.')}. {kept}")
        with self._wake:
            if not self._closing:
                self._wake.wait_for(lambda: self._closing, timeout=BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1])

    def _recover(self) -> None:
        with self._wake:
            self._moved = time.monotonic()
        if self._told:
            self._told = False
            self._say(f"{self._view.name} answers again.")

    # What the view was last given, so that a call that changes nothing need not ask it

    def _content(self, conclusion: Conclusion) -> str:
        shown = [conclusion.complete, conclusion.note, sorted(conclusion.metrics.items())]
        held = sorted((key, item.digest) for key, item in self._items.items())
        return digest([self._plan.study.digest, held, shown])

    def _is_current(self, conclusion: Conclusion) -> bool:
        state = self._view.state()
        try:
            return state is not None and parse(read_whole(self._stamp)) == [state, self._content(conclusion)]
        except (OSError, ValueError, AblateError):
            return False

    def _remember(self, conclusion: Conclusion) -> None:
        state = self._view.state()
        if state is not None:
            write_whole(self._stamp, json.dumps([state, self._content(conclusion)]).encode())


def file_state(path: Path) -> list[Any]:
    """What changes whenever a file does."""
    try:
        found = path.stat()
        return [str(path), found.st_ino, found.st_size, found.st_mtime_ns]
    except OSError:
        return [str(path)]


def damage_of(file: Path) -> str:
    """What sqlite finds wrong with a file, or nothing; one that is missing or locked is not damaged."""
    if not file.exists():
        return ""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as found:
            (answer,) = found.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return ""
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return f"is damaged ({error})"
    return "" if answer == "ok" else f"is damaged ({str(answer).splitlines()[-1]})"


def set_aside(file: Path) -> None:
    """Renames a damaged database, with what sqlite keeps beside one that was cut off."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for part in (file.with_name(file.name + ending) for ending in SIDECARS):
        if part.exists():
            part.replace(part.with_name(f"{part.name}.damaged-{stamp}"))
