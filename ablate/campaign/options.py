"""The options of a campaign, its result, and the observer of its progress: plain data that every module here shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Point, Record
from ablate.errors import AblateError, one_of
from ablate.paths import default_data_root, default_runs
from ablate.paths import tracking_uri as resolve_uri

EXECUTORS = ("local", "ray")
ArmCosts = dict[str, dict[str, float | int | None]]  # arm -> cost field -> number


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a campaign is run. Nothing here changes what a trial computes, except ``threads`` and ``device``.

    Attributes:
        runs: the runs folder.
        data_root: the folder of data sets.
        tracking_uri: the MLflow store; None: $MLFLOW_TRACKING_URI, or sqlite in ``runs``.
        optuna_storage: URL of an Optuna storage; None: sqlite in ``runs``.
        device: ``auto``, ``cpu`` or ``cuda``.
        jobs: trials at a time; None: as many as processors and memory allow.
        threads: threads of each trial; None: as many as the campaign began with, or what ``jobs`` leaves.
        retries: further attempts after a trial failed or its worker was lost.
        time_limit_s: time limit of one attempt in seconds; None: no limit.
        executor: ``local`` or ``ray``.
        ray_address, cpus_per_trial, gpus_per_trial: see ``RayExecutor``.

    Raises:
        AblateError: an option holds a value that is not allowed.

    Example:
        >>> RunOptions(jobs=2).jobs
        2
    """

    runs: Path = field(default_factory=default_runs)
    data_root: Path = field(default_factory=default_data_root)
    tracking_uri: str | None = None
    optuna_storage: str | None = None
    device: str = "auto"
    jobs: int | None = None
    threads: int | None = None
    retries: int = 2
    time_limit_s: float | None = None
    executor: str = "local"
    ray_address: str | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None

    def __post_init__(self) -> None:
        for name in ("jobs", "threads"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise AblateError(f"--{name} must be at least 1, got {number}")
        if self.retries < 0:
            raise AblateError(f"--retries must be at least 0, got {self.retries}")
        if self.time_limit_s is not None and not 0 < self.time_limit_s < math.inf:
            raise AblateError(f"--time-limit must be above 0 seconds, got {self.time_limit_s:g}")
        if self.executor not in EXECUTORS:
            raise AblateError(f"--executor {one_of(self.executor, EXECUTORS)}")
        (self._check_ray if self.executor == "ray" else self._check_local)()
        object.__setattr__(self, "runs", Path(self.runs).resolve())
        object.__setattr__(self, "data_root", Path(self.data_root).resolve())

    def _check_local(self) -> None:
        for name in ("ray_address", "cpus_per_trial", "gpus_per_trial"):
            if getattr(self, name) is not None:
                raise AblateError(f"--{name.replace('_', '-')} is read with --executor ray, not with {self.executor}")

    def _check_ray(self) -> None:
        cpus, gpus = self.cpus_per_trial, None if self.gpus_per_trial is None else float(self.gpus_per_trial)
        if cpus is not None and not 0 < cpus < math.inf:
            raise AblateError(f"--cpus-per-trial must be above 0, got {cpus:g}")
        if gpus is not None and not (0 <= gpus <= 1 or (gpus > 1 and gpus.is_integer())):
            raise AblateError(f"--gpus-per-trial must be a fraction of a GPU or a whole number of them, got {gpus:g}")
        if self.device == "cuda" and gpus == 0:
            raise AblateError("--gpus-per-trial must be above 0 with --device cuda, got 0")

    @property
    def mlflow_uri(self) -> str:
        """The MLflow store that these options name."""
        return resolve_uri(self.runs, self.tracking_uri)

    @property
    def cache(self) -> Path:
        """The folder of files that can be rebuilt at any time: prepared data, measured costs."""
        return self.runs / "cache"


class CampaignStopped(AblateError):  # noqa: N818 - an end, not a mistake
    """The campaign had to stop. Finished trials are kept; the same command resumes it."""

    resumable = True


class CampaignInterrupted(CampaignStopped):
    """Ctrl-C. ``result`` is what there is so far."""

    def __init__(self, result: CampaignResult) -> None:
        self.result = result
        done, needed = len(result.records), len(result.needed)
        super().__init__(f"interrupted; {done} of {needed} trials are finished and kept")


@dataclass(frozen=True, kw_only=True)
class CampaignResult:
    """The result of a campaign.

    Attributes:
        plan: with the recipes that tuning found.
        needed: keys of the trials that the campaign needs; under ``until = "settled"``, those needed so far.
        records: trial key -> Record, failures included.
        costs: arm -> cost field -> number.
        trained: how many trials this call ran.
        behind: name of a view -> how many records it lacks; the next call pushes them.
    """

    plan: CampaignPlan
    needed: tuple[str, ...]
    records: dict[str, Record]
    costs: ArmCosts = field(default_factory=dict)
    trained: int = 0
    behind: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[Record, ...]:
        """The failures among the records."""
        return tuple(record for record in self.records.values() if record.status == "failed")

    @property
    def missing(self) -> tuple[str, ...]:
        """Keys of needed trials without an outcome: failed, or not run."""
        done = {key for key, record in self.records.items() if record.status != "failed"}
        return tuple(key for key in self.needed if key not in done)


class Observer(Protocol):
    """Follows a campaign. Called from the dispatcher's thread; ``said`` also from the threads of the views."""

    def began(self, plan: CampaignPlan, todo: int) -> None:
        """``todo`` trials are missing and will be run."""

    def added(self, trials: int) -> None:
        """``trials`` more trials will run than ``began`` reported."""

    def started(self, trial: Trial, attempt: int) -> None:
        """A trial runs; ``attempt`` is 1 for the first."""

    def progress(self, trial: Trial, point: Point, images_per_s: float) -> None:
        """An epoch has ended."""

    def finished(self, trial: Trial, record: Record) -> None:
        """A trial has finished or diverged."""

    def failed(self, trial: Trial, record: Record) -> None:
        """A trial has failed for good; the record says why."""

    def retried(self, trial: Trial, reason: str) -> None:
        """An attempt was lost; another follows."""

    def said(self, message: str) -> None:
        """Something that the user should read: a sentence."""


class Silent:
    """An Observer that does nothing."""

    def began(self, plan: CampaignPlan, todo: int) -> None: ...
    def added(self, trials: int) -> None: ...
    def started(self, trial: Trial, attempt: int) -> None: ...
    def progress(self, trial: Trial, point: Point, images_per_s: float) -> None: ...
    def finished(self, trial: Trial, record: Record) -> None: ...
    def failed(self, trial: Trial, record: Record) -> None: ...
    def retried(self, trial: Trial, reason: str) -> None: ...
    def said(self, message: str) -> None: ...
