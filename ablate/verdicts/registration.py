"""Whether a judgement is the one that was sealed before its trials were trained, or exploratory, and why."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablate.design.own_training import OwnTraining
from ablate.design.plan import Arm, CampaignPlan, trials
from ablate.design.record import Record
from ablate.design.sealed import SealedPlan, every_trial, shared_trials
from ablate.design.study import Study
from ablate.design.tuning import at_setting

# What a study says that changes no verdict: texts, what is kept, the metrics that are exploratory in any case, and the
# further levels, of which ``levels_not_sealed`` tells.
FREE = ("name", "title", "question", "source", "keep_weights", "budget", "decision.also", "stability")
_ABSENT = "absent"
COMMIT_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Registration:
    """How a judgement relates to what was sealed.

    Attributes:
        sealed: the plan that was sealed before the trials, the last of several; the first that shares trials with the
            judged plan where all came too late. None: nothing was sealed.
        reasons: why the judgement is exploratory; empty if it follows the sealed plan.
        first_trial_at: when the first of its trials started, seconds since 1970; None before any record.
    """

    sealed: SealedPlan | None = field(repr=False)  # of a large study its text is long; the sentence says which it is
    reasons: tuple[str, ...] = ()
    first_trial_at: float | None = None

    @property
    def is_confirmatory(self) -> bool:
        """Whether rule, expectations, arms and seeds are those that were sealed before the first trial."""
        return not self.reasons

    @property
    def sentence(self) -> str:
        """For a report: ``"sealed 2026-11-24 21:03 UTC at commit 1f2e3d4, 40 s before the first trial"``."""
        seal = "" if self.sealed is None else _seal(self.sealed)
        if self.reasons:
            return f"exploratory: {'; '.join(self.reasons)}{f' ({seal})' if seal else ''}"
        if self.sealed is None or self.first_trial_at is None:
            return f"{seal}, before the first trial"
        return f"{seal}, {_duration(self.first_trial_at - self.sealed.sealed_at)} before the first trial"


def registration(
    plan: CampaignPlan,
    sealed: Sequence[SealedPlan],
    records: Mapping[str, Record],
    replaced: Sequence[Record] = (),
) -> Registration:
    """Whether the judgement of ``records`` under ``plan`` was sealed before they were trained.

    A sealed plan concerns the judgement if it is of a study of that name and shares trials with it. The last of these
    that is older than every trial counts: whoever seals several rules does not choose among them afterwards. The
    judgement is confirmatory if that plan says the same as ``plan``. Seeds beyond the sealed number always make it
    exploratory: a plan with one look has spent its whole alpha there, and a study that may add seeds says so, with its
    most seeds, before it is sealed. So do results that were replaced once they were known.

    Args:
        plan: that the records are judged by.
        sealed: every sealed plan of the runs folder, in any order.
        records: by trial key.
        replaced: records that were set aside on purpose.
    """
    related = sorted(
        (one for one in sealed if one.plan.study.name == plan.study.name and shared_trials(one.plan, plan)),
        key=lambda one: one.order,
    )
    starts = _starts(plan, records)
    first = min((start for start in starts if start > 0), default=None)
    if not related:
        return Registration(sealed=None, reasons=("no plan was sealed before these trials",), first_trial_at=first)
    before = [one for one in related if all(one.sealed_at <= start for start in starts)]
    counts = before[-1] if before else related[0]
    again = [told for old in replaced if (told := _trained_again(old, records.get(old.key), plan.study))]
    reasons = (*_changes(counts.plan, plan), *_too_late(counts, starts), *again)
    return Registration(sealed=counts, reasons=reasons, first_trial_at=first)


def levels_not_sealed(plan: CampaignPlan, sealed: Sequence[SealedPlan], records: Mapping[str, Record]) -> str:
    """Why what the further levels say is exploratory; empty where they were sealed before any of their trials."""
    keys = {trial.key for trial in (*every_trial(plan), *plan.level_trials)}
    starts = [one.measured.started_at for key, one in records.items() if key in keys and one.status != "failed"]
    related = [
        one
        for one in sealed
        if one.plan.study.name == plan.study.name
        and one.plan.study.stability == plan.study.stability
        and not _changes(one.plan, plan)
    ]
    if not related:
        return "these levels were not asked for in a plan that was sealed"
    if not any(all(one.sealed_at <= start for start in starts) for one in related):
        return "the plan that asks for these levels was sealed after the first trial"
    return ""


def plan_as_sealed(plan: CampaignPlan, sealed: SealedPlan) -> CampaignPlan:
    """The plan that judges the records by what was sealed.

    Of a study that tunes or searches, with the recipes or the arms that were found since: they were not known when it
    was sealed.
    """
    if plan.study.searched and sealed.plan.study.searched:
        return dataclasses.replace(plan, study=sealed.plan.study)
    found, old = {arm.name: arm for arm in plan.arms}, sealed.plan
    if all(arm.setting is None and not arm.settings for arm in plan.arms):
        return old
    arms = tuple(_with_setting(arm, found[arm.name]) if arm.name in found else arm for arm in old.arms)
    return dataclasses.replace(old, arms=arms, trials=trials(old.study, arms, old.data), tuning=plan.tuning)


def _with_setting(arm: Arm, found: Arm) -> Arm:
    """An arm as it was sealed, with the setting that its tuning has found since."""
    if isinstance(arm.spec, OwnTraining):
        tuned = at_setting(arm, found.setting or {})
        return dataclasses.replace(tuned, setting=found.setting, settings=found.settings)
    return dataclasses.replace(arm, recipe=found.recipe, setting=found.setting, settings=found.settings)


def _starts(plan: CampaignPlan, records: Mapping[str, Record]) -> list[float]:
    """When each trial with a result started; 0 where the record does not say."""
    keys = {trial.key for trial in every_trial(plan)}
    return [records[key].measured.started_at for key in keys if key in records and records[key].status != "failed"]


def _changes(before: CampaignPlan, now: CampaignPlan) -> tuple[str, ...]:
    """What the two plans say differently, of what decides a verdict: a sentence each."""
    old, new = _flat(_decides(before.study)), _flat(_decides(now.study))
    told = [
        f"{key} was {_told(old.get(key, _ABSENT))} when the plan was sealed and is {_told(new.get(key, _ABSENT))} now"
        for key in [*old, *(key for key in new if key not in old)]
        if old.get(key, _ABSENT) != new.get(key, _ABSENT)
    ]
    if not told and not now.study.explores:
        told = [f"{arm} trains other nets than those sealed" for arm in _other_nets(before, now)]
    return tuple(told)


def _other_nets(before: CampaignPlan, now: CampaignPlan) -> list[str]:
    """Arms whose trials differ although the studies say the same: the code that makes arms of a study has changed."""
    keys = {arm.name: [trial.key for trial in before.arm_trials(arm.name)] for arm in before.arms}
    return [arm.name for arm in now.arms if keys.get(arm.name) != [trial.key for trial in now.arm_trials(arm.name)]]


def _decides(study: Study) -> dict[str, Any]:
    plain = study.model_dump(mode="json")
    for path in FREE:
        *tables, key = path.split(".")
        holder = plain
        for table in tables:
            holder = holder[table]
        holder.pop(key, None)
    return plain


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys to plain values, without what is not written; an arm's changes stay together as one entry."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict) and prefix != "arms.":
            found |= _flat(value, f"{prefix}{key}.")
        elif value not in (None, ""):
            found[prefix + key] = value
    return found


def _told(value: Any) -> str:
    return _ABSENT if value is _ABSENT else json.dumps(value)


def _too_late(sealed: SealedPlan, starts: Sequence[float]) -> tuple[str, ...]:
    """Sentences on the trials that started before the seal, or may have."""
    older = [start for start in starts if 0 < start < sealed.sealed_at]
    undated = sum(start == 0 for start in starts)
    told = []
    if older:
        earlier = _duration(sealed.sealed_at - min(older))
        which = f"{len(older)} of {len(starts)} trials"
        told.append(f"{which} started before the plan was sealed, the first {earlier} before")
    if undated:
        told.append(f"{undated} of {len(starts)} records do not say when their trial started")
    return tuple(told)


def _trained_again(old: Record, now: Record | None, study: Study) -> str:
    """A sentence where the result of a trial was set aside on purpose and another one is in its place; else empty."""
    if now is None or old.status == "failed" or (old.status, old.metrics) == (now.status, now.metrics):
        return ""
    was, has = (_result(one, study) for one in (old, now))
    when = f" of {_utc(old.measured.started_at)}" if old.measured.started_at else ""
    return f"{old.arm} seed {old.seed} was trained again after its result{when} was known: {was} then, {has} now"


def _result(record: Record, study: Study) -> str:
    metric = study.decision.metric
    if metric not in record.metrics:
        return record.status
    value = record.metrics[metric]
    return f"{100 * value:.2f} %" if metric.endswith("accuracy") else f"{value:.4g} {study.decision.unit}".rstrip()


def _seal(sealed: SealedPlan) -> str:
    return f"sealed {_utc(sealed.sealed_at)}" + (f" at commit {_short(sealed.commit)}" if sealed.commit else "")


def _short(commit: str) -> str:
    return commit[:COMMIT_DIGITS] + "-dirty" * commit.endswith("-dirty")


def _utc(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
