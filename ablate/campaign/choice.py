"""Which executor runs a campaign, as the command line says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ablate.campaign.executors import Executor
from ablate.campaign.local import LocalExecutor
from ablate.campaign.machine import choose_device, choose_jobs
from ablate.errors import AblateError, one_of


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What was asked for; None: nothing.

    Attributes:
        executor: ``local`` or ``ray``.
        device: ``auto``, ``cpu`` or ``cuda``.
        jobs, threads: trials at a time, and threads of each.
        ray_address, cpus_per_trial, gpus_per_trial: as of ``RayExecutor``; for ``ray`` only.
    """

    executor: str = "local"
    device: str = "auto"
    jobs: int | None = None
    threads: int | None = None
    ray_address: str | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What comes of the wishes.

    Attributes:
        executor: of a campaign; None: ``run_campaign``'s own.
        device: of the trials.
        helping: makes the executor of a process that helps another with --join.
    """

    executor: Executor | None
    device: str
    helping: Callable[[], Executor]


def choose(wishes: Wishes) -> Choice:
    """Executor and device, before anything is written.

    Raises:
        AblateError: as of ``choose_executor``, ``trial_device`` and ``choose_jobs``.
    """
    executor, device = choose_executor(wishes), trial_device(wishes)
    jobs = choose_jobs(wishes.jobs, device, wishes.threads)
    return Choice(executor=executor, device=device, helping=lambda: executor or LocalExecutor(jobs))


def trial_device(wishes: Wishes) -> str:
    """``cpu`` or ``cuda``. On a cluster ``auto`` is cuda where trials take GPUs; this machine need not have one.

    Raises:
        AblateError: ``cuda`` is asked for on this machine, which has none.
    """
    if wishes.executor == "local":
        return choose_device(wishes.device)
    return ("cuda" if wishes.gpus_per_trial else "cpu") if wishes.device == "auto" else wishes.device


def choose_executor(wishes: Wishes) -> Executor | None:
    """The executor that was asked for, not yet connected to anything; None: ``run_campaign``'s own.

    Raises:
        AblateError: there is no such executor, or something that it has no use for was asked for.
    """
    if wishes.executor not in EXECUTORS:
        raise AblateError(f"--executor {one_of(wishes.executor, EXECUTORS)}")
    return EXECUTORS[wishes.executor](wishes)


def _local(wishes: Wishes) -> None:
    for name in ("ray_address", "cpus_per_trial", "gpus_per_trial"):
        if getattr(wishes, name) is not None:
            raise AblateError(f"--{name.replace('_', '-')} goes with --executor ray; this is --executor local")


def _ray(wishes: Wishes) -> Executor:
    from ablate.campaign.ray_executor import LOCAL, RayExecutor

    cpus = 1.0 if wishes.cpus_per_trial is None else wishes.cpus_per_trial
    gpus = wishes.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if wishes.device == "cuda" else 0.0
    if cpus <= 0:
        raise AblateError(f"--cpus-per-trial must be above 0, got {cpus:g}")
    if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
        raise AblateError(f"--gpus-per-trial must be a fraction of a GPU or a whole number of them, got {gpus:g}")
    if wishes.device == "cuda" and gpus == 0:
        raise AblateError("--gpus-per-trial must be above 0 with --device cuda, got 0")
    if wishes.jobs is not None and wishes.jobs < 1:
        raise AblateError(f"--jobs must be at least 1, got {wishes.jobs}")
    return RayExecutor(address=wishes.ray_address or LOCAL, jobs=wishes.jobs, cpus_per_trial=cpus, gpus_per_trial=gpus)


EXECUTORS: dict[str, Callable[[Wishes], Executor | None]] = {"local": _local, "ray": _ray}
