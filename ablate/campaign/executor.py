"""What an executor is: something that trains jobs elsewhere and reports their progress.

The dispatcher knows this interface alone, so that processes of one machine and tasks of a cluster serve it alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ablate.campaign.records import RecordStore
from ablate.design.initial import weights_file
from ablate.design.plan import Trial
from ablate.design.record import Point, Record

OnEpoch = Callable[[Point, float], None]  # a point of the curve, and training images a second


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """Where a trial runs.

    Attributes:
        folder: its own folder, for its checkpoint; its content is from an earlier attempt at the same trial.
        data_root: where data sets lie; None: the default.
        cache: where the prepared data lie.
        data_file: the very file to read; None: where the name of the data leads to.
        device: ``cpu`` or ``cuda``.
        threads: how many threads it may use.
        init_file: likewise, of the weights to start from.
        on_epoch: to be called after each epoch.
    """

    folder: Path
    data_root: Path | None
    cache: Path
    device: str
    threads: int
    on_epoch: OnEpoch
    data_file: Path | None = None
    init_file: Path | None = None


# What trains one trial. It must be importable by name, since it is called in another process.
Trainer = Callable[[Trial, TrialContext], Record]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One attempt at a trial, as plain data that travels to wherever it is run.

    Attributes:
        store: where the record goes, and the folder of the trial's checkpoint is.
        attempt: 1 for the first.
        time_limit_s: the attempt is stopped when it takes longer; None: no limit.
        rest: as in ``TrialContext``.
    """

    trial: Trial
    store: RecordStore
    data_root: Path | None
    cache: Path
    device: str = "cpu"
    threads: int = 1
    attempt: int = 1
    time_limit_s: float | None = None
    data_file: Path | None = None
    init_file: Path | None = None

    @property
    def key(self) -> str:
        """The trial's key."""
        return self.trial.key

    @property
    def folder(self) -> Path:
        """The trial's folder."""
        return self.store.folder(self.key)


def init_file_of(trial: Trial, given: Path | None, data_root: Path | None) -> Path | None:
    """The file of weights that a trial starts from: the one given, else where its name leads to; None: it has none.

    Raises:
        WeightsError: there is no such file.
    """
    name = trial.recipe.init_from
    return given or (weights_file(name, data_root) if name else None)


@dataclass(frozen=True)
class Progress:
    """An epoch of a running job has ended."""

    key: str
    point: Point
    images_per_s: float


@dataclass(frozen=True)
class Finished:
    """A job has ended with a record; it holds its place no longer."""

    key: str
    record: Record


@dataclass(frozen=True)
class Lost:
    """A job has ended without a record; it holds its place no longer.

    Attributes:
        reason: in a few words: ``killed by SIGKILL``, ``ValueError: ...``, ``time limit of 60 s``.
        output: the last lines that it wrote.
        disk_full: it could not write, so that neither another attempt nor another trial will do better.
        blameless: the machine was lost, not the trial, so that the attempt does not count.
        place: whose disk is full, where it is not the dispatcher's.
    """

    key: str
    reason: str
    output: str = ""
    disk_full: bool = False
    blameless: bool = False
    place: str = ""


Event = Progress | Finished | Lost


class Executor(Protocol):
    """Trains jobs side by side. A job submitted ends with exactly one Finished or Lost, unless it is cancelled."""

    @property
    def capacity(self) -> int:
        """How many jobs it runs at a time; the dispatcher never has more submitted."""
        ...

    def submit(self, job: Job) -> None:
        """Starts a job and returns at once."""
        ...

    def events(self, timeout_s: float) -> list[Event]:
        """What has happened since the last call, in order a job; waits ``timeout_s`` at most if there is nothing."""
        ...

    def cancel(self, key: str) -> None:
        """Ends a running job without an event. Its last checkpoint stays; an unknown key is no error."""
        ...

    def close(self) -> None:
        """Cancels whatever runs and gives back what is held."""
        ...
