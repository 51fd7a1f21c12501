"""What MLflow shows of a campaign, as plain data: params, tags and metrics of its runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ablate.campaign.views import Item
from ablate.design.levels import moved_field
from ablate.design.own_training import OwnTraining
from ablate.design.plan import Arm, CampaignPlan, Trial
from ablate.design.record import Record
from ablate.verdicts.search import curve_metric

KIND, KEY, RECORD, COMPLETE, DIGEST, PHASE, STATUS, WRITER, MODEL_TAG = (
    f"ablate.{name}" for name in ("kind", "key", "record", "complete", "digest", "phase", "status", "writer", "model")
)
CAMPAIGN, ARM, TRIAL = "campaign", "arm", "trial"
SEARCH = "search"  # the run that holds a search's trials, as an arm's holds its own
PARAM_LENGTH = 500
MEASURED = {  # MLflow charts what begins so on a page of its own, after accuracy and loss
    "system/train_s": "train_s",
    "system/eval_s": "eval_s",
    "system/wall_s": "wall_s",
    "system/images_per_s": "images_per_s",
    "system/peak_bytes": "peak_bytes",
}
Metrics = tuple[tuple[str, float, int], ...]  # name, value, step
Costs = Mapping[str, float | int | None]


@dataclass(frozen=True, kw_only=True)
class Payload:
    """One MLflow run to be.

    Attributes:
        name: what the list of runs shows.
        params: what decides the result, and what it costs.
        tags: what it is and where it comes from.
        metrics: what came of it.
        start_ms, end_ms: milliseconds since 1970.
        ok: whether the run is shown as finished.
    """

    name: str
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    metrics: Metrics = ()
    start_ms: int = 0
    end_ms: int = 0
    ok: bool = True


def trial_payload(plan: CampaignPlan, item: Item, cost: Costs) -> Payload:
    """A trial's run: what its arm is, recipe, seed and costs as params; accuracy, loss and their curves as metrics."""
    record, trial = item.record, item.trial
    measured = record.measured
    tags = {
        KIND: TRIAL,
        KEY: record.key,
        RECORD: item.digest,
        STATUS: record.status,
        PHASE: trial.phase,
        "arm": trial.arm,
        "seed": str(trial.seed),
        "git_commit": measured.commit,
        "hardware": measured.hardware,
        "device": measured.device,
        "threads": str(measured.threads),
        "kernels": measured.kernels,
        "settings": ", ".join(measured.settings),
        "attempts": str(measured.attempts),
        "reason": record.reason[:4000],
        "notes": "\n".join(record.notes)[:4000],
        **{f"version.{name}": version for name, version in measured.versions.items()},
    }
    start_ms = int(measured.started_at * 1000)
    return Payload(
        name=trial.title.replace(", ", f" {_level(plan, trial)}"),
        tags={name: value for name, value in tags.items() if value},
        params=_params(plan, trial, cost),
        metrics=_metrics(record),
        start_ms=start_ms,
        end_ms=start_ms + int(measured.wall_s * 1000),
        ok=record.status != "failed",
    )


def campaign_payload(plan: CampaignPlan) -> Payload:
    """The campaign's run, under which its arms' runs are."""
    study = plan.study
    tags = {
        KIND: CAMPAIGN,
        DIGEST: study.digest,
        "budget": study.budget,
        "title": study.title,
        "question": study.question,
        "source": study.source,
        "trainer" if study.own_training else "data": plan.data.name,
    }
    return Payload(
        name=f"{study.name} on {plan.data.name}, {study.budget}, {study.plan.seeds} seeds ({study.digest[:8]})",
        tags={name: value for name, value in tags.items() if value},
        params={} if study.own_training else recipe_params(study.recipe.model_dump(mode="json")),
    )


def arm_payload(plan: CampaignPlan, arm: Arm, cost: Costs) -> Payload:
    """An arm's run, under which its trials' runs are."""
    return Payload(
        name=arm.name,
        tags={KIND: ARM, DIGEST: plan.study.digest, "arm": arm.name, **_latencies(cost)},
        params=_safe({"arm": arm.name, **levels(plan, arm), **_costs(cost)}),
    )


def search_payload(plan: CampaignPlan) -> Payload:
    """The run under which the trials of a search are."""
    return Payload(name=SEARCH, tags={KIND: ARM, DIGEST: plan.study.digest, "arm": SEARCH})


def arm_metrics(plan: CampaignPlan, records: Iterable[Record]) -> Metrics:
    """Mean over seeds with its 95 % interval (Student's t), of the deciding metric and of each epoch's validation.

    And ``system/minutes``, the time of all trainings of the arm together.
    """
    done = [record for record in records if record.status == "finished"]
    curves = [{point.epoch: point.values for point in record.curve} for record in done]
    last = max((epoch for curve in curves for epoch in curve), default=0)
    found: list[tuple[str, float, int]] = []
    metric = plan.study.decision.metric
    found += _interval(metric, [record.metrics[metric] for record in done if metric in record.metrics], last)
    if done:
        found.append(("system/minutes", shown(sum(record.measured.wall_s for record in done) / 60), last))
    name = curve_metric(plan.study)
    for epoch in sorted({epoch for curve in curves for epoch in curve}):
        points = [curve[epoch][name] for curve in curves if name in curve.get(epoch, {})]
        found += _interval(name, points, epoch) if metric != name or epoch < last else []
    return tuple(found)


def _interval(name: str, values: list[float], step: int) -> list[tuple[str, float, int]]:
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return []
    mean = statistics.fmean(values)
    found = [(name, shown(mean), step)]
    if len(values) > 1:
        from scipy import stats

        half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
        ends = (("low", mean - half), ("high", mean + half))
        found += [(f"{name}_{end}", shown(value), step) for end, value in ends]
    return found


def shown(value: float) -> float:
    """Six digits of a mean or an interval: MLflow prints every digit that it is given."""
    return float(f"{value:.6g}")


def levels(plan: CampaignPlan, arm: Arm) -> dict[str, str]:
    """The level of every field that some arm changes, the control's included, so that two runs compare at a glance."""
    found: dict[str, str] = {}
    for other in (*plan.arms, *(candidate.arm for candidate in plan.search)):
        for change in other.changes:
            found.setdefault(change.field, str(change.before))
    found |= {change.field: str(change.after) for change in arm.changes}
    return found | {name: str(level) for name, level in arm.factors.items()}


def _level(plan: CampaignPlan, trial: Trial) -> str:
    """``"recipe.epochs 8, "`` of a trial at another level than the study's own."""
    at = plan.at(trial)
    return "" if at is None else f"{moved_field(plan.study)} {at.level}, "


def _params(plan: CampaignPlan, trial: Trial, cost: Costs) -> dict[str, str]:
    at = plan.at(trial)
    own = at.plan if at else plan
    moved = {moved_field(plan.study): str(at.level)} if at else {}
    return _safe(
        {
            "arm": trial.arm,
            "seed": str(trial.seed),
            **levels(own, own.arm(trial.arm)),
            **moved,
            **_trained_with(trial),
            **({} if at else _costs(cost)),
        }
    )


def _trained_with(trial: Trial) -> dict[str, str]:
    """Data and recipe; with the user's own training code, the fields that it was given and what trained."""
    if isinstance(trial.spec, OwnTraining):
        return {"trainer": trial.spec.name} | {name: str(value) for name, value in trial.spec.keywords}
    return {"data": trial.data.name} | recipe_params(trial.recipe.model_dump(mode="json"))


def recipe_params(recipe: Mapping[str, object]) -> dict[str, str]:
    """``recipe.lr`` and its sisters."""
    return {f"recipe.{name}": str(value) for name, value in recipe.items()}


def _costs(cost: Costs) -> dict[str, str]:
    """Without latencies, which differ from arm to arm by noise: a comparison of two runs would open with them."""
    return {
        f"cost.{name}": str(value)
        for name, value in cost.items()
        if value is not None and not name.startswith("latency")
    }


def _latencies(cost: Costs) -> dict[str, str]:
    """``2.1 ms (2 to 2.4)``: median, shortest and longest."""
    found = {}
    for name in ("latency", "latency_batch"):
        values = [cost.get(f"{name}{which}_ms") for which in ("", "_low", "_high")]
        middle, low, high = (f"{value:.3g}" if value is not None else "" for value in values)
        if middle:
            found[f"cost.{name}"] = f"{middle} ms" + (f" ({low} to {high})" if low and high else "")
    return found


def _metrics(record: Record) -> Metrics:
    """Every metric under its own name, a step an epoch; a loss that is no number is in the record alone."""
    last = record.curve[-1].epoch if record.curve else 0
    final = [(name, value, last) for name, value in record.metrics.items()]
    curve = [
        (name, float(value), point.epoch)
        for point in record.curve
        for name, value in point.values.items()
        if point.epoch < last or name not in record.metrics
    ]
    measured = [(name, float(getattr(record.measured, field)), 0) for name, field in MEASURED.items()]
    if not record.measured.images_per_s:  # the user's own training code
        measured = [metric for metric in measured if metric[0] != "system/images_per_s"]
    return tuple(metric for metric in (*final, *curve, *measured) if math.isfinite(metric[1]))


def _safe(params: Mapping[str, str]) -> dict[str, str]:
    """``stages[2].conv`` as ``stages.2.conv``: MLflow's names have no brackets."""
    return {name.replace("[", ".").replace("]", ""): value[:PARAM_LENGTH] for name, value in params.items()}
