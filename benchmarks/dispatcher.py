"""What the dispatcher itself costs: campaigns of a null trainer, which ends at once.

    python benchmarks/dispatcher.py 100 10000

prints, for each size, the dispatcher's processor time and wall time a trial, and the peak of its resident memory.
What is claimed: at 10,000 trials at most 1.3 times the processor time a trial at 100, and under 1 GB. MLflow's and
Optuna's loading and the making of their databases come once a campaign, so they are done before the clock starts.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ablate.campaign.costs import ArmCosts
from ablate.campaign.dispatch import run_campaign
from ablate.campaign.executors import TrialContext
from ablate.campaign.local import LocalExecutor
from ablate.design.datasets import KNOWN
from ablate.design.plan import Arm, CampaignPlan, Trial
from ablate.design.record import EpochPoint, Measured, Record
from ablate.design.study import Plan, Study
from ablate.model.zoo import NETS


def null(trial: Trial, context: TrialContext) -> Record:
    """An outcome of four epochs and a thousand predictions, at once."""
    curve = tuple(
        EpochPoint(epoch=n, train_loss=1.0, train_accuracy=0.5, val_loss=1.0, val_accuracy=0.5, lr=0.1)
        for n in (1, 2, 3, 4)
    )
    for point in curve:
        context.on_epoch(point, 1000.0)
    return Record.of(
        trial,
        "finished",
        metrics={"test_accuracy": 0.5, "test_loss": 1.0},
        curve=curve,
        predictions=bytes(1000),
        measured=Measured(wall_s=0.01, started_at=time.time()),
    )


def plan_of(trials: int) -> CampaignPlan:
    """Two arms, half the trials each."""
    study = Study(name="dispatcher", arms={"relu": {"activation": "relu"}}, plan=Plan(seeds=max(1, trials // 2)))
    control = NETS["mobilenet_v2_mnist"]()
    nets = {"control": control, "relu": control.with_blocks(activation="relu")}
    arms = tuple(Arm(name=name, spec=net, recipe=study.recipe, data=study.data) for name, net in nets.items())
    return CampaignPlan(
        study=study,
        data=KNOWN["mnist5k"],
        arms=arms,
        trials=tuple(
            Trial(study=study.name, arm=arm.name, seed=seed, spec=arm.spec, recipe=study.recipe, data=study.data)
            for seed in range(study.plan.seeds)
            for arm in arms
        ),
    )


def no_costs(plan: CampaignPlan, *_: object) -> ArmCosts:
    return {arm.name: {"params": 1, "macs": 1} for arm in plan.arms}


def campaign(plan: CampaignPlan, runs: Path) -> None:
    executor = LocalExecutor(2, train=null, preload=("ablate.design.record",))
    result = run_campaign(plan, runs=runs, prepare=no_costs, executor=executor)
    assert not result.missing
    assert not result.waiting


def measure(trials: int) -> None:
    """One size, in this process."""
    with tempfile.TemporaryDirectory() as place:
        runs = Path(place)
        small = plan_of(2)
        campaign(replace(small, study=small.study.model_copy(update={"name": "warm-up"})), runs)
        plan = plan_of(trials)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        campaign(plan, runs)
        cpu_ms = (time.process_time() - cpu_s) / trials * 1000
        wall_ms = (time.perf_counter() - wall_s) / trials * 1000
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{trials:6d} trials: {cpu_ms:6.1f} ms processor, {wall_ms:6.1f} ms wall a trial; peak {peak_mb:5.0f} MB")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        sys.path.insert(0, str(Path(__file__).parent))
        import dispatcher

        dispatcher.measure(int(sys.argv[1]))
    for size in sys.argv[1:] if len(sys.argv) > 2 else []:
        subprocess.run([sys.executable, __file__, size], check=True)
