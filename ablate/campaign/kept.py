"""Weights that a study keeps: which finished trials lack them, or have others than were written."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path

from ablate.campaign.outbox import WEIGHTS
from ablate.campaign.stored import TrialRun, best, local_folder
from ablate.design.plan import CampaignPlan

REMEDY = "delete the run in MLflow to have its trial trained again"


def checksum(path: Path) -> str:
    """sha256 of a file; empty where it cannot be read."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def lack_of_weights(plan: CampaignPlan, runs: Iterable[TrialRun]) -> str:
    """A sentence where finished trials have no weights, though the study keeps them; else nothing."""
    lacking = sum(not run.weights for run in _finished(plan, runs))
    return (
        f"{lacking} finished trials have no weights, since they were trained before keep_weights was set, and are not "
        f"trained again; delete their runs in MLflow, or name another folder with --runs, to have them"
        if lacking
        else ""
    )


def weights_faults(plan: CampaignPlan, runs: Iterable[TrialRun]) -> dict[str, str]:
    """Trial key -> what is wrong with the weights that the study keeps; those on a server are not read."""
    found = {run.key: _fault(run) for run in _finished(plan, runs)}
    return {key: fault for key, fault in found.items() if fault}


def _finished(plan: CampaignPlan, runs: Iterable[TrialRun]) -> list[TrialRun]:
    keys = [trial.key for trial in plan.trials] if plan.study.keep_weights else []
    return [run for run in best(runs, keys).values() if run.status == "finished"]


def _fault(run: TrialRun) -> str:
    if not run.weights:
        return "has no weights, since it was trained before keep_weights was set"
    folder = local_folder(run.artifacts)
    if folder is not None and checksum(folder / WEIGHTS) != run.weights:
        return f"has no {WEIGHTS} that matches its checksum"
    return ""
