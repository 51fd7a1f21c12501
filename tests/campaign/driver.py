"""A dispatcher to be killed: ``python driver.py RUNS TRAINER SEEDS [TRACKING_URI]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fakes import no_costs, outcome, plan_of, point

from ablate.campaign.executor import TrialContext
from ablate.campaign.local import TRAINING, LocalExecutor, run_in_subprocess
from ablate.campaign.options import ArmCosts, RunOptions
from ablate.campaign.resources import Layout
from ablate.campaign.run import run_campaign
from ablate.campaign.worker import train_trial
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record
from ablate.files import write_whole

EPOCHS = 4


def killing_plan(seeds: int) -> CampaignPlan:
    return plan_of("control", "other", seeds=seeds, data="synthetic", epochs=EPOCHS, name="kills")


def stepwise(trial: Trial, context: TrialContext) -> Record:
    """Sleeps through its epochs, and goes on after the last one that it kept."""
    kept = context.folder / "epoch"
    done = int(kept.read_text()) if kept.exists() else 0
    for epoch in range(done + 1, EPOCHS + 1):
        time.sleep(0.1)
        write_whole(kept, str(epoch).encode())
        context.on_epoch(point(epoch), 100.0)
    return outcome(trial)


def prepare_data(plan: CampaignPlan, options: RunOptions, layout: Layout, say: object) -> ArmCosts:
    run_in_subprocess(_prepare, plan, options, say=lambda message: None)
    return no_costs(plan, options, layout, lambda message: None)


def _prepare(plan: CampaignPlan, options: RunOptions, say: object) -> None:
    from ablate.training.data import prepare

    prepare(plan.study.data, options.data_root, options.cache / "data")


def main(runs: Path, trainer: str, seeds: int, uri: str | None) -> None:
    real = trainer == "real"
    result = run_campaign(
        killing_plan(seeds),
        RunOptions(runs=runs, data_root=runs, tracking_uri=uri, jobs=2, retries=5),
        prepare=prepare_data if real else no_costs,
        executor=LocalExecutor(2, train=train_trial if real else stepwise, preload=TRAINING if real else ()),
    )
    assert not result.missing, f"{len(result.missing)} records are missing"
    assert not result.behind, result.behind


if __name__ == "__main__":
    # under its importable name, so that workers find the trainer
    import driver

    driver.main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
