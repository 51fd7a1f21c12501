"""Claim: a campaign spends its time on training.

Goal: under 2 % of the workers' time is neither training nor evaluation, while trials run.

Measured: a campaign of 8 trials a core of mobilenet_v2_mnist on mnist5k, 4 epochs each: on 2 cores, as many as the
quick budget of studies/linear_bottleneck.toml has. Its time is cores x (last trial's end - first
trial's start), the trials' own from their records (train_s + eval_s). What a campaign does once, before the first trial
and after the last (data, costs of the arms, loading torch and MLflow, closing the run), is stated apart as a share of
the call's wall time; it does not grow with the trials.

    python benchmarks/overhead.py [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import table
from interleaved import call_apart
from table import Row

PART = "overhead"
BUDGET_S = 110
GOAL = 0.015


@dataclass(frozen=True)
class Spent:
    """Seconds of a campaign: the call; from first start to last end; in training and evaluation, over all workers."""

    call: float
    span: float
    trials: float
    within: float  # from each trial's start to its end, over all workers
    jobs: int

    @property
    def lost(self) -> float:
        """Share of the workers' time that is neither training nor evaluation."""
        return 1 - self.trials / (self.jobs * self.span)

    @property
    def lost_in_trials(self) -> float:
        """The part of it inside the trials: net, optimiser, data, checkpoints, memory."""
        return (self.within - self.trials) / (self.jobs * self.span)


def campaign(epochs: int, pairs: int, jobs: int) -> Spent:
    """Runs a campaign in a new folder and reads its records."""
    from workloads import MNIST, plan_of

    from ablate.campaign.options import RunOptions
    from ablate.campaign.run import run_campaign

    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        plan = plan_of(MNIST, folder, seeds=pairs, epochs=epochs)
        began = time.perf_counter()
        result = run_campaign(plan, RunOptions(runs=folder / "runs", data_root=folder, jobs=jobs))
        call = time.perf_counter() - began
    measured = [record.measured for record in result.records.values()]
    return Spent(
        call=call,
        span=max(m.started_at + m.wall_s for m in measured) - min(m.started_at for m in measured),
        trials=sum(m.train_s + m.eval_s for m in measured),
        within=sum(m.wall_s for m in measured),
        jobs=jobs,
    )


def measure(*, quick: bool = False) -> list[Row]:
    """The rows of this part."""
    jobs = table.cores()
    epochs, pairs = (1, -(-jobs // 2)) if quick else (4, 4 * jobs)
    spent: Spent = call_apart("overhead:campaign", epochs=epochs, pairs=pairs, jobs=jobs)
    trials = 2 * pairs
    once = 1 - spent.span / spent.call
    table.write_profile(
        PART,
        f"Of the workers' time from the first trial's start to the last one's end, {spent.lost:.2%} is neither "
        f"training nor evaluation: {spent.lost_in_trials:.2%} inside the trials (net, optimiser, data, checkpoints), "
        f"{spent.lost - spent.lost_in_trials:.2%} between them (a new process, the idle worker while the last trial "
        f"ends). What a campaign does once is {once:.1%} of this short call.",
    )
    claim = "share of a campaign's worker time that is neither training nor evaluation"
    fixed = f"done once a campaign, before the first and after the last trial: share of a call of {trials} trials"
    return [
        Row(part=PART, claim=claim, value=spent.lost, shown=f"{spent.lost:.2%}", relation="<", goal=GOAL),
        Row(part=PART, claim=fixed, value=once, shown=f"{once:.1%}"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Share of a campaign's time that is not training or evaluation.")
    parser.add_argument("--quick", action="store_true", help="one epoch, one trial a core")
    print(table.as_text(measure(quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
