"""How much of a campaign its runs folder holds already: read, without training anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.campaign.options import RunOptions
from ablate.campaign.records import RecordStore, every_sealed_plan
from ablate.campaign.schedule import unfold
from ablate.design.plan import CampaignPlan, Trial, make_plan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.errors import AblateError

if TYPE_CHECKING:
    from ablate.verdicts.tally import Tally
    from ablate.verdicts.verdict import Contrast


def progress_of(plan: CampaignPlan, runs: Path) -> tuple[CampaignPlan, int, dict[str, float]]:
    """The plan as far as its records lead, how many of its trials have one, and measured training images a second.

    A rate is that of one record an arm.
    """
    store = RecordStore(runs, plan.study.name)
    keys = store.keys()
    plan, trials = _unfolded(plan, store, keys) if keys else (plan, plan.trials)
    here = [trial for trial in trials if trial.key in keys]
    rates: dict[str, float] = {}
    for arm, key in {
        trial.arm: trial.key for trial in here if trial.phase == "confirm" and plan.at(trial) is None
    }.items():
        with contextlib.suppress(AblateError):
            if (record := store.read(key)) is not None:
                rates[arm] = pace(record)
    return plan, len(here), rates


def pace(record: Record) -> float:
    """Training images a second; with the user's own training code, trials a second."""
    measured = record.measured
    return measured.images_per_s or (1 / measured.wall_s if measured.wall_s else 0.0)


def seen_of(plan: CampaignPlan, runs: Path) -> tuple[Contrast, ...]:
    """The contrasts of the records that a study has so far; in a study that tunes, of the recipes that were found."""
    from ablate.verdicts.power_analysis import seen_contrasts

    store = RecordStore(runs, plan.study.name)
    schedule, records = unfold(plan, _reader(store, store.keys()))
    return seen_contrasts(schedule.plan, records)


def asked_of(runs: Path) -> Tally | None:
    """What all campaigns of a runs folder asked and found, those of one study with other rules or seeds included.

    None where there is none.
    """
    sealed = every_sealed_plan(runs)
    if not sealed:
        return None
    from ablate.verdicts.judge import judge
    from ablate.verdicts.tally import tally

    judged = []
    for one in sealed:
        store = RecordStore(runs, one.plan.study.name)
        schedule, records = unfold(one.plan, _reader(store, store.keys()))
        of_study = [other for other in sealed if other.plan.study.name == one.plan.study.name]
        judged.append((schedule.plan, judge(schedule.plan, records, of_study, store.replaced())))
    return tally(judged)


def _unfolded(plan: CampaignPlan, store: RecordStore, keys: Container[str]) -> tuple[CampaignPlan, tuple[Trial, ...]]:
    """Plan and trials of a campaign; where it tunes or searches, with what its records have led to."""
    if not plan.study.explores:
        return plan, (*plan.trials, *plan.level_trials)
    schedule, _ = unfold(plan, _reader(store, keys))
    return schedule.plan, schedule.trials


def _reader(store: RecordStore, here: Container[str]) -> Callable[[list[str]], Mapping[str, Record]]:
    def read(wanted: list[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for key in wanted:
            with contextlib.suppress(AblateError):
                if key in here and (record := store.read(key)) is not None:
                    found[key] = record
        return found

    return read


def done_of(study: Study, how: RunOptions) -> int:
    """How many trials of a study have a record; a study that was never run is not planned for it."""
    if not RecordStore(how.runs, study.name).records.is_dir():
        return 0
    try:
        return progress_of(make_plan(study, how.data_root), how.runs)[1]
    except AblateError:  # its data are not here
        return 0
