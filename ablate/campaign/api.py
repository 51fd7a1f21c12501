"""The campaign from Python: plan, run, judge; and what a runs folder holds of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ablate.campaign.options import CampaignResult, RunOptions
from ablate.campaign.records import RecordStore, plan_path, sealed_plans, writable
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.record import Record
from ablate.design.sealed import SealedPlan
from ablate.design.study import Study
from ablate.errors import AblateError
from ablate.files import write_whole

if TYPE_CHECKING:
    from ablate.verdicts.verdict import Judgement


def plan(study: Study, *, data_root: Path | None = None) -> CampaignPlan:
    """The arms and trials of a study.

    Raises:
        StudyError, DataError: the arms or the data cannot be used.
    """
    return make_plan(study, data_root)


def run(study: Study, options: RunOptions | None = None) -> CampaignResult:
    """Trains what is missing and returns every record of the study, in the order of the plan.

    Args:
        study: as loaded.
        options: the runs folder, trials at a time, device and the rest; None: the defaults.

    Raises:
        AblateError: the study, the data or the runs folder cannot be used.

    Example:
        >>> import ablate
        >>> study = ablate.load_study("linear_bottleneck")
        >>> result = ablate.run(study, ablate.RunOptions(jobs=2))  # doctest: +SKIP
        >>> len(result.records)  # doctest: +SKIP
        16
    """
    from ablate.campaign.run import run_campaign

    options = options or RunOptions()
    return run_campaign(plan(study, data_root=options.data_root), options)


def judge(study: Study, options: RunOptions | None = None) -> Judgement:
    """The verdicts on a study that was run, from its records.

    Raises:
        AblateError: this study, as it is, was not run in the runs folder.
    """
    from ablate.verdicts.judge import judge as judge_records

    options = options or RunOptions()
    held = load(options, study.name, study.digest)
    return judge_records(held.plan, held.records, sealed=sealed_plans(options.runs, study.name))


def load(options: RunOptions, study: str, digest: str | None = None) -> CampaignResult:
    """A campaign as the runs folder holds it; where it holds none, it is pulled from MLflow. Trains nothing.

    Neither the study file nor torch is needed.

    Args:
        options: the runs folder, and MLflow's address.
        study: its name.
        digest: which campaign, by the first of its 16 hex digits; None: the newest.

    Raises:
        AblateError: there is no such campaign.
    """
    from ablate.campaign.prepare import known_costs
    from ablate.campaign.schedule import unfold

    found = [one for one in sealed_plans(options.runs, study) if one.plan.study.digest.startswith(digest or "")]
    if not found:
        found = _pulled(options, study, digest)
    if not found:
        which = f" {digest}" if digest else ""
        raise AblateError(f"{options.runs}: holds no campaign{which} of the study {study!r}; run the study first")
    store = RecordStore(options.runs, study)
    here = store.keys()

    def read(keys: list[str]) -> dict[str, Record]:
        records = {key: _sound(store, key) for key in keys if key in here}
        return {key: record for key, record in records.items() if record is not None}

    schedule, records = unfold(found[-1].plan, read)
    costs, _ = known_costs(schedule.plan, options.cache / "costs", records)
    return CampaignResult(
        plan=schedule.plan, needed=tuple(trial.key for trial in schedule.trials), records=records, costs=costs
    )


def _sound(store: RecordStore, key: str) -> Record | None:
    try:
        return store.read(key)
    except AblateError:
        return None


def _pulled(options: RunOptions, study: str, digest: str | None) -> list[SealedPlan]:
    """The campaign's sealed plan from MLflow, its records written to the runs folder; empty where MLflow has none."""
    from ablate.campaign.mlflow_view import MlflowView
    from ablate.campaign.schedule import unfold

    view, store = MlflowView(options.mlflow_uri, options.runs), RecordStore(options.runs, study)
    text = view.pull_plan(study, digest) if view.store.exists else ""
    if not text:
        return []
    sealed = SealedPlan.from_json(text)

    def read(keys: list[str]) -> dict[str, Record]:
        for key, content in view.pull(study, keys).items():
            store.keep(key, content)
        return {key: record for key in keys if (record := _sound(store, key)) is not None}

    with writable(options.runs):
        write_whole(plan_path(options.runs, sealed.plan.study), text.encode())
        unfold(sealed.plan, read)
    return [sealed]
