"""A record as MLflow shows it: params, tags and metrics, as plain data. How they are stored is `tracking.py`'s."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ablate.design.plan import Arm, CampaignPlan, Trial
from ablate.design.record import Record

KIND, KEY, STATUS, COMPLETE, DIGEST, PHASE, KEPT = (
    f"ablate.{name}" for name in ("kind", "key", "status", "complete", "digest", "phase", "weights")
)
CAMPAIGN, TRIAL = "campaign", "trial"
PARAM_LENGTH = 500
CURVE = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
MEASURED = ("train_s", "eval_s", "wall_s", "images_per_s", "peak_bytes")
Costs = Mapping[str, float | int | None]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One MLflow run to be.

    Attributes:
        name: what the list of runs shows.
        params: what decides the result.
        tags: what it is and where it comes from.
        metrics: (name, value, step) each.
        start_ms, end_ms: milliseconds since 1970.
        ok: whether the run is shown as finished.
    """

    name: str
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    metrics: tuple[tuple[str, float, int], ...] = ()
    start_ms: int = 0
    end_ms: int = 0
    ok: bool = True


def trial_entry(record: Record, trial: Trial, arm: Arm, cost: Costs) -> Entry:
    """A trial's run: factors and recipe as params; curves by epoch, cost, accuracy and memory as metrics."""
    measured = record.measured
    tags = {
        KIND: TRIAL,
        KEY: record.key,
        STATUS: record.status,
        PHASE: trial.phase,
        "arm": trial.arm,
        "seed": str(trial.seed),
        "git_commit": measured.commit,
        "hardware": measured.hardware,
        "device": measured.device,
        "threads": str(measured.threads),
        "settings": ", ".join(measured.settings),
        "attempts": str(measured.attempts),
        "reason": record.reason[:4000],
        "notes": "\n".join(record.notes)[:4000],
        **{f"version.{name}": version for name, version in measured.versions.items()},
    }
    start_ms = int(measured.started_at * 1000)
    return Entry(
        name=f"{trial.arm} {'tuning ' * (trial.phase == 'tuning')}seed {trial.seed}",
        tags={name: value for name, value in tags.items() if value},
        params=_params(trial, arm),
        metrics=_metrics(record, cost),
        start_ms=start_ms,
        end_ms=start_ms + int(measured.wall_s * 1000),
        ok=record.status != "failed",
    )


def campaign_entry(plan: CampaignPlan) -> Entry:
    """The campaign's run, the parent of its trials' runs."""
    study = plan.study
    tags = {
        KIND: CAMPAIGN,
        DIGEST: study.digest,
        "budget": study.budget,
        "title": study.title,
        "question": study.question,
        "source": study.source,
        "data": plan.data.name,
    }
    return Entry(
        name=f"{study.name} {study.budget} {study.digest}",
        tags={name: value for name, value in tags.items() if value},
        params={f"recipe.{name}": str(value) for name, value in study.recipe.model_dump(mode="json").items()},
    )


def _params(trial: Trial, arm: Arm) -> dict[str, str]:
    params = {
        "arm": trial.arm,
        "seed": str(trial.seed),
        "data": trial.data.name,
        **{f"factor.{name}": str(level) for name, level in arm.factors.items()},
        **{f"change.{change.field}": f"{change.before} to {change.after}" for change in arm.changes},
        **{f"recipe.{name}": str(value) for name, value in trial.recipe.model_dump(mode="json").items()},
    }
    return {_safe(name): value[:PARAM_LENGTH] for name, value in params.items()}


def _metrics(record: Record, cost: Costs) -> tuple[tuple[str, float, int], ...]:
    last = record.curve[-1].epoch if record.curve else 0
    final = [(name, value, last) for name, value in record.metrics.items()]
    measured = [(f"measured.{name}", float(getattr(record.measured, name)), 0) for name in MEASURED]
    costs = [(f"cost.{name}", float(value), 0) for name, value in cost.items() if value is not None]
    curve = [(f"curve.{name}", float(getattr(p, name)), p.epoch) for p in record.curve for name in CURVE]
    # a loss that is no longer a number is in the record; databases differ in what they make of it
    return tuple(metric for metric in (*final, *measured, *costs, *curve) if math.isfinite(metric[1]))


def _safe(name: str) -> str:
    """``stages[2].conv`` as ``stages.2.conv``: MLflow's names have no brackets."""
    return name.replace("[", ".").replace("]", "")
