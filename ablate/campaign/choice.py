"""Which executor runs a campaign, as the command line says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ablate.campaign.executors import Executor
from ablate.campaign.local import LocalExecutor
from ablate.campaign.machine import choose_jobs
from ablate.errors import AblateError, one_of


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What was asked for; None: nothing.

    Attributes:
        executor: ``local`` or ``ray``.
        device: ``cpu`` or ``cuda``.
        jobs: trials at a time.
        ray_address, cpus_per_trial, gpus_per_trial: as of ``RayExecutor``; for ``ray`` only.
    """

    executor: str = "local"
    device: str = "cpu"
    jobs: int | None = None
    ray_address: str | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None


def choose_executor(wishes: Wishes) -> Executor:
    """The executor that was asked for; it takes nothing until it is used.

    Raises:
        AblateError: there is no such executor, or something that it has no use for was asked for.
    """
    if wishes.executor not in EXECUTORS:
        raise AblateError(f"--executor {one_of(wishes.executor, EXECUTORS)}")
    return EXECUTORS[wishes.executor](wishes)


def _local(wishes: Wishes) -> Executor:
    for name in ("ray_address", "cpus_per_trial", "gpus_per_trial"):
        if getattr(wishes, name) is not None:
            raise AblateError(f"--{name.replace('_', '-')} goes with --executor ray; this is --executor local")
    return LocalExecutor(choose_jobs(wishes.jobs, wishes.device))


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
    if wishes.jobs is not None:
        choose_jobs(wishes.jobs, wishes.device)
    return RayExecutor(address=wishes.ray_address or LOCAL, jobs=wishes.jobs, cpus_per_trial=cpus, gpus_per_trial=gpus)


EXECUTORS: dict[str, Callable[[Wishes], Executor]] = {"local": _local, "ray": _ray}
