"""What this machine offers, and the worker layout that follows: trials at a time, and threads of each."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ablate.campaign.options import CampaignStopped, RunOptions
from ablate.design.arm_cost import estimated_cost
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record
from ablate.errors import AblateError
from ablate.measure.cost import Cost

# Bytes, measured in workers on Linux with torch 2.15; docs/performance.md has the figures.
WORKER_BYTES = 50_000_000  # of a worker's own, without what it shares with the server that it is forked from
SHARED_BYTES = 600_000_000  # that server, and the dispatcher with MLflow
STEP_FACTOR = 1.5  # peak of a step over the tensors that live when its backward pass begins
STEP_BYTES = 120_000_000  # and a constant: the kernels' code and workspaces, evaluation, a checkpoint
# Of a net of the user's own, which is not imported to tell; the records of its first trials say better.
UNKNOWN_STEP_BYTES, UNKNOWN_PARAMS = 600_000_000, 25_000_000
EVAL_BATCH = 256  # as training/feed.py evaluates

LEAST_FREE = 20_000_000  # bytes of disk; with less, records and checkpoints could not be written any more
KEPT_A_TRIAL = 60_000  # bytes of disk: a trial's rows in MLflow and Optuna, measured with sqlite, and its record
KEPT_AN_EPOCH = 2_500  # bytes of disk: an epoch's points in the record, MLflow and Optuna
STARTING = 20_000_000  # bytes of disk: empty databases, the report


@dataclass(frozen=True)
class Layout:
    """``jobs`` trials at a time with ``threads`` threads each, on ``device``."""

    jobs: int
    threads: int
    device: str = "cpu"


def cores() -> int:
    """Processors that this process may use: its affinity and its container's share are respected."""
    from loky import cpu_count

    return max(1, int(cpu_count()))


def available_bytes() -> int:
    """Memory that can still be taken; the limit of the control group (version 2) is respected."""
    import psutil

    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, taken = (group / "memory.max").read_text().strip(), int((group / "memory.current").read_text())
        return free if limit == "max" else max(0, min(free, int(limit) - taken))
    except (OSError, ValueError):
        return free


def choose_device(options: RunOptions) -> str:
    """``cpu`` or ``cuda``; ``auto`` takes cuda where there is one. Torch is loaded only if a GPU may be there.

    On a cluster ``auto`` is cuda where trials take GPUs; this machine need not have one.

    Raises:
        AblateError: ``cuda`` is asked for on this machine, which has none.
    """
    asked = options.device
    if options.executor != "local":
        return ("cuda" if options.gpus_per_trial else "cpu") if asked == "auto" else asked
    if asked == "cpu" or (asked == "auto" and shutil.which("nvidia-smi") is None):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise AblateError("--device cuda: torch finds no CUDA device here; --device cpu works everywhere")
    return "cpu"


def expected_jobs(options: RunOptions) -> int:
    """Trials at a time to estimate a campaign's time by, before its plan is known."""
    return options.jobs or max(1, cores() // (options.threads or 1))


def choose_layout(
    plan: CampaignPlan, options: RunOptions, missing: Iterable[Trial], records: Mapping[str, Record]
) -> tuple[Layout, list[str]]:
    """The worker layout for the trials that are missing, and what the user should know about it.

    A trial gives the same numbers to the last bit only at the same number of threads, so a campaign keeps the number
    that its first trials ran with. Otherwise every processor trains a trial of its own, on one thread: that trains
    more images a second than several threads a trial, as far as memory allows (docs/performance.md).

    Args:
        plan: of the campaign.
        options: ``jobs`` and ``threads`` as asked for.
        missing: the trials that will be trained.
        records: of the campaign so far.
    """
    device = choose_device(options)
    if device != "cpu":
        return Layout(options.jobs or 1, options.threads or 1, device), []
    kept = _first_threads(records)
    threads = options.threads or kept
    worker, free = worker_bytes(plan, missing, records.values()), available_bytes()
    most = max(1, (free - SHARED_BYTES) // worker)
    usual = options.jobs or max(1, cores() // (threads or 1))
    jobs = options.jobs or min(usual, most)
    layout = Layout(jobs, threads or (1 if options.jobs else max(1, cores() // jobs)))
    return layout, [*_told_threads(layout, kept, options), *_told_memory(layout, usual, most, worker, free, options)]


def _first_threads(records: Mapping[str, Record]) -> int | None:
    """The number of threads that this campaign's first trials ran with, where some have run on a processor."""
    done = [r.measured for r in records.values() if r.status != "failed" and r.measured.device == "cpu"]
    return min(done, key=lambda measured: measured.started_at).threads if done else None


def _told_threads(layout: Layout, kept: int | None, options: RunOptions) -> list[str]:
    if kept is not None and kept != layout.threads:
        first = f"The first trials of this campaign ran with {kept} thread{'s' * (kept > 1)}"
        bits = "only at the same number does a trial give the same numbers to the last bit"
        return [f"{first}, these run with {layout.threads}: {bits}."]
    if kept is not None and kept > 1 and options.threads is None:
        return [f"{kept} threads a trial, as this campaign began."]
    return []


def _told_memory(layout: Layout, usual: int, most: int, worker: int, free: int, options: RunOptions) -> list[str]:
    """A sentence where memory cuts the number of jobs from what would be usual, or may not last."""
    if usual <= most:
        return []
    room = f"A trial takes about {worker / 1e6:,.0f} MB of memory, and {free / 1e6:,.0f} MB are free"
    if options.jobs is None:
        return [f"{room}: {layout.jobs} run at a time, not {usual}. --jobs N overrides this."]
    return [f"{room}: {usual} at a time may run out of memory."]


def worker_bytes(plan: CampaignPlan, trials: Iterable[Trial], records: Iterable[Record]) -> int:
    """The most memory that a worker of these trials takes, without the part that all workers share.

    Of an arm that was trained on a processor before, the measured peak; of the others the estimated one, times the
    largest ratio of measured to estimated where there are measurements.
    """
    measured: dict[str, int] = {}
    for record in records:
        if record.measured.device == "cpu" and record.status != "failed" and record.measured.peak_bytes:
            measured[record.arm] = max(measured.get(record.arm, 0), record.measured.peak_bytes)
    waiting = tuple(trials)
    missing = {trial.arm: plan.arm(trial.arm) for trial in waiting if plan.at(trial) is None}
    every = {arm.name: arm for arm in plan.arms} | missing
    estimated = {name: _step_bytes(estimated_cost(arm, plan.data)) for name, arm in every.items()}
    ratio = max((peak / estimated[arm] for arm, peak in measured.items() if arm in estimated), default=1.0)
    peaks = [measured.get(arm) or ratio * estimated[arm] for arm in missing]
    there = {at.level: at.plan for trial in waiting if (at := plan.at(trial))}.values()
    peaks += [ratio * _step_bytes(estimated_cost(arm, other.data)) for other in there for arm in other.arms]
    # all images as bytes, and the training images once more: while they are split, or padded for crops
    images = max(
        data.channels * data.height * data.width * (2 * data.num_train + data.num_test)
        for data in (plan.data, *(other.data for other in there))
    )
    return WORKER_BYTES + images + int(max(peaks, default=0))


def _step_bytes(cost: Cost | None) -> int:
    if cost is None:
        return UNKNOWN_STEP_BYTES
    return int(max(STEP_FACTOR * cost.train_peak_bytes, EVAL_BATCH * cost.inference_peak_bytes)) + STEP_BYTES


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written to the disk of ``folder``."""
    return shutil.disk_usage(folder).free


def disk_bytes(plan: CampaignPlan, trials: int, jobs: int) -> int:
    """Bytes of disk that ``trials`` more trials need: what is kept of each, and the checkpoints of ``jobs`` running."""
    study, data = plan.study, plan.data
    plans = (plan, *(at.plan for at in plan.levels))
    costs = [estimated_cost(arm, one.data) for one in plans for arm in one.arms]
    largest = max(cost.params if cost else UNKNOWN_PARAMS for cost in costs)
    # weights, two optimiser states, an average; each file has its successor beside it for a moment
    checkpoint = 0 if study.own_training else 4 * 4 * largest * 2
    record = KEPT_A_TRIAL + KEPT_AN_EPOCH * study.recipe.epochs + 2 * 2 * data.num_test
    weights = 4 * largest if study.keep_weights else 0
    return STARTING + trials * (record + weights) + jobs * checkpoint


def check_disk(plan: CampaignPlan, runs: Path, trials: int, jobs: int) -> None:
    """Refuses to start what the disk cannot hold.

    Raises:
        AblateError: too little is free; the message says how much is needed.
    """
    needed, free = disk_bytes(plan, trials, jobs), free_bytes(runs)
    if free < needed:
        raise AblateError(
            f"{runs}: {trials} trials need about {needed / 1e6:,.0f} MB of disk, and {free / 1e6:,.0f} MB are free; "
            f"free some space, or name a folder on another disk with --runs"
        )


def disk_full(place: str, done: int, needed: int) -> CampaignStopped:
    """What stops a campaign whose disk has filled up."""
    return CampaignStopped(
        f"{place}: the disk is full; the campaign has stopped with {done} of {needed} trials finished and kept; "
        f"free some space and rerun the command to resume"
    )
