"""How many trials at a time, with how many threads each: arithmetic on measured rates and on memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ablate.design.forecast import estimated_rate
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record
from ablate.measure.cost import Cost, estimate

WORTH = 10  # a measurement is made where the campaign takes so many times as long
MARGIN = 1.05  # another packing must be so much quicker than one thread a trial

# Bytes, measured in workers on Linux with torch 2.15; docs/performance.md has the figures.
WORKER_BYTES = 50_000_000  # of a worker's own, beside what it shares with the server that it is forked from
SHARED_BYTES = 600_000_000  # that server, and the dispatcher with MLflow
STEP_FACTOR = 1.5  # peak of a step over the tensors that live when its backward pass begins
STEP_BYTES = 120_000_000  # and a constant: the kernels' code and workspaces, evaluation, a checkpoint
EVAL_BATCH = 256  # as training/feed.py evaluates


@dataclass(frozen=True, order=True)
class Packing:
    """``jobs`` trials at a time with ``threads`` threads each."""

    jobs: int
    threads: int

    def __str__(self) -> str:
        trials = "1 trial" if self.jobs == 1 else f"{self.jobs} trials"
        return f"{trials} at a time with {self.threads} thread{'s' * (self.threads > 1)} each"


def candidates(cores: int, most_jobs: int) -> tuple[Packing, ...]:
    """Every way to share out the cores evenly, and the most jobs that fit with what that leaves them; most jobs first.

    Args:
        cores: processors there are.
        most_jobs: how many workers fit into memory, at least 1.
    """
    jobs = {number for number in range(1, cores + 1) if cores % number == 0} | {most_jobs}
    return tuple(Packing(n, cores // n) for n in sorted(jobs, reverse=True) if n <= min(most_jobs, cores))


def quickest(rates: Mapping[Packing, float], trials: int) -> Packing:
    """The packing that is through with ``trials`` equal trials first.

    The last round of a packing with many jobs may leave some of them idle. The one with most jobs is taken unless
    another takes it down by ``MARGIN``.

    Args:
        rates: training images a second of all the jobs of a packing together.
        trials: how many there are to train.
    """

    def seconds(packing: Packing) -> float:
        rounds = -(-trials // packing.jobs)
        return rounds * packing.jobs / rates[packing]

    usual, best = max(rates), min(rates, key=seconds)
    return best if seconds(usual) > MARGIN * seconds(best) else usual


def fitting(available: int | None, worker: int) -> int | None:
    """How many workers of so many bytes fit into what is available, at least 1; None where that is not known."""
    return None if available is None else max(1, (available - SHARED_BYTES) // worker)


def worker_bytes(plan: CampaignPlan, trials: Iterable[Trial], records: Iterable[Record]) -> int:
    """The most memory that a worker of these trials takes, the part that all share aside.

    Of an arm that was trained on a processor before, the measured peak; of the others the estimated one, times the
    largest ratio of measured to estimated where there are measurements.
    """
    measured: dict[str, int] = {}
    for record in records:
        if record.measured.device == "cpu" and record.status != "failed":
            measured[record.arm] = max(measured.get(record.arm, 0), record.measured.peak_bytes)
    measured = {arm: peak for arm, peak in measured.items() if peak}
    estimated = {arm.name: _step_bytes(plan, arm.name) for arm in plan.arms}
    ratio = max((peak / estimated[arm] for arm, peak in measured.items() if arm in estimated), default=1.0)
    peaks = [measured.get(arm) or ratio * estimated[arm] for arm in {trial.arm for trial in trials}]
    return WORKER_BYTES + _image_bytes(plan) + int(max(peaks, default=0))


def _step_bytes(plan: CampaignPlan, arm: str) -> int:
    cost = _cost(plan, arm)
    training = STEP_FACTOR * cost.train_peak_bytes
    return int(max(training, EVAL_BATCH * cost.inference_peak_bytes)) + STEP_BYTES


def _cost(plan: CampaignPlan, arm: str) -> Cost:
    data, recipe = plan.data, plan.arm(arm).recipe
    shape = (data.channels, data.height, data.width)
    return estimate(plan.arm(arm).spec, shape, batch_size=recipe.batch_size, optimizer=recipe.optimizer)


def _image_bytes(plan: CampaignPlan) -> int:
    """All images as bytes, and the training images once more: while they are split, or padded for crops."""
    data = plan.data
    return data.channels * data.height * data.width * (2 * data.num_train + data.num_test)


def worth_measuring(campaign_s: float, measurement_s: float) -> bool:
    """Whether finding the best packing can pay for itself."""
    return campaign_s >= WORTH * measurement_s


def measurement_s(
    plan: CampaignPlan, packings: Iterable[Packing], *, steps: int, least_s: float, start_s: float
) -> float:
    """About how long it takes to measure these packings, one after the other.

    Args:
        plan: of the campaign, whose control is measured.
        packings: to be measured.
        steps: the fewest that each process takes.
        least_s: that each of them computes at least.
        start_s: of a process, and of its net.
    """
    step_s = plan.study.recipe.batch_size / estimated_rate(plan.control.spec, plan.data)
    return sum(start_s + max(least_s, steps * step_s) for _ in packings)
