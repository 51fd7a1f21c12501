"""An executor that trains nothing: each record is made on the spot, in the order asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes import no_costs, outcome

from ablate.campaign.executor import Event, Executor, Finished, Job, Lost
from ablate.campaign.options import CampaignResult, Observer, RunOptions
from ablate.campaign.run import run_campaign
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import EpochPoint, Record


class Instant:
    """Runs ``jobs`` at a time; of those submitted the last ends first, so that order cannot matter.

    Args:
        train: makes a trial's record; None stands for a worker that was lost.
        stop_after: KeyboardInterrupt at the submission after so many.
    """

    def __init__(
        self, train: Callable[[Trial], Record | None], *, jobs: int = 3, stop_after: int | None = None
    ) -> None:
        self.capacity = jobs
        self.train = train
        self.left = stop_after
        self.submitted: list[Trial] = []
        self.open: list[Job] = []

    def submit(self, job: Job) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left = None if self.left is None else self.left - 1
        self.submitted.append(job.trial)
        self.open.append(job)

    def events(self, timeout_s: float) -> list[Event]:
        job = self.open.pop()
        record = self.train(job.trial)
        if record is not None:
            job.store.put(record)
        return [Lost(job.key, "lost") if record is None else Finished(job.key, record)]

    def cancel(self, key: str) -> None:
        self.open = [job for job in self.open if job.key != key]

    def close(self) -> None:
        self.open = []


def made(trial: Trial, accuracy: float, *, status: str = "finished") -> Record:
    """A record of this accuracy; a tuning trial's knows nothing of the test part."""
    metrics = {"val_accuracy": accuracy, "val_loss": 1 - accuracy, "train_loss": 0.1}
    if trial.phase == "confirm":
        metrics |= {"test_accuracy": accuracy, "test_loss": 1 - accuracy}
    point = EpochPoint(epoch=1, train_loss=0.1, train_accuracy=1.0, val_loss=0.2, val_accuracy=accuracy, lr=0.1)
    return Record(
        key=trial.key,
        study=trial.study,
        arm=trial.arm,
        seed=trial.seed,
        status=status,  # type: ignore[arg-type]
        metrics=metrics if status == "finished" else {},
        curve=(point,),
    )


def go(
    plan: CampaignPlan, runs: Path, executor: Executor | None = None, notes: Observer | None = None, **options: Any
) -> CampaignResult:
    """Runs a campaign without costs and further attempts; records are made on the spot unless told otherwise."""
    how = RunOptions(**{"runs": runs, "retries": 0, **options})
    return run_campaign(plan, how, prepare=no_costs, executor=executor or Instant(outcome), observer=notes)
