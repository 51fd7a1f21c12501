"""What is made ready before the first trial: the data, then the arms' costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ablate.campaign.costs import ArmCosts, measure_costs
from ablate.campaign.subprocesses import run_in_subprocess
from ablate.design.plan import CampaignPlan
from ablate.paths import default_data_root

Prepare = Callable[[CampaignPlan, "Settings", Callable[[str], None]], ArmCosts]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a campaign is carried out; ``run_campaign`` says what each means."""

    runs: Path
    data_root: Path | None
    jobs: int
    threads: int
    device: str
    retries: int
    time_limit_s: float | None
    keep: bool
    queue: str | None = None


@dataclass(frozen=True)
class Preparation:
    """Called in a process of its own."""

    plan: CampaignPlan
    settings: Settings

    def __call__(self, say: Callable[[str], None]) -> ArmCosts:
        """The costs, when the data are there."""
        import torch

        from ablate.model.fused import absence
        from ablate.training.data import prepare

        settings = self.settings
        reason = absence()  # whatever the device: what $ABLATE_KERNELS should not say is told here
        if reason and settings.device == "cpu" and settings.threads == 1:
            say(f"{reason}: torch's own kernels train, which takes longer (docs/performance.md).")
        prepare(self.plan.study.data, settings.data_root or default_data_root(), settings.runs / "data", report=say)
        device = settings.device
        if device == "cuda" and not torch.cuda.is_available():  # the nodes of a cluster have what this machine lacks
            say("This machine has no GPU, so that latencies are those of its processor.")
            device = "cpu"
        return measure_costs(self.plan, settings.runs / "costs", device, settings.threads, say)


def prepare_in_subprocess(plan: CampaignPlan, settings: Settings, say: Callable[[str], None]) -> ArmCosts:
    """Data made ready and costs measured, without loading torch into this process."""
    return run_in_subprocess(Preparation(plan, settings), say=say, threads=settings.threads)
