"""The campaign from Python: plan, run, judge, on a Study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.paths import default_runs, tracking_uri

if TYPE_CHECKING:
    from ablate.verdicts.verdict import Judgement


def plan(study: Study, *, data_root: Path | None = None) -> CampaignPlan:
    """The arms and trials of a study.

    Raises:
        StudyError, DataError: the arms or the data will not do.
    """
    return make_plan(study, data_root)


def run(
    study: Study,
    *,
    runs: Path | None = None,
    uri: str | None = None,
    data_root: Path | None = None,
    jobs: int | None = None,
    threads: int | None = None,
    device: str = "auto",
) -> tuple[Record, ...]:
    """Trains what is missing and returns every record of the study, in the order of the plan.

    Args:
        study: as loaded.
        runs: the runs folder; None: $ABLATE_RUNS, or ./runs.
        uri: the MLflow store; None: $MLFLOW_TRACKING_URI, or sqlite in ``runs``.
        data_root: where data sets lie; None: $ABLATE_DATA, or ./data.
        jobs: trials at a time; None: as many as train fastest and fit into memory.
        threads: of each trial; None: likewise.
        device: auto, cpu or cuda.

    Raises:
        AblateError: the study, the data, the runs folder or the store will not do.
    """
    from ablate.campaign.dispatch import run_campaign
    from ablate.campaign.machine import choose_device

    result = run_campaign(
        plan(study, data_root=data_root),
        runs=runs or default_runs(),
        tracking_uri=uri,
        data_root=data_root,
        jobs=jobs,
        threads=threads,
        device=choose_device(device),
    )
    return tuple(result.records.values())


def judge(study: Study, *, runs: Path | None = None, uri: str | None = None) -> Judgement:
    """The verdicts on a study that was run, from what MLflow holds.

    Raises:
        AblateError: this study, as it stands, was not run there.
    """
    from ablate.campaign.tracking import Tracking
    from ablate.verdicts.judge import judge as judge_records

    folder = runs or default_runs()
    campaign = Tracking(tracking_uri(folder, uri), folder / "artifacts").load_campaign(study.name, study.digest)
    return judge_records(campaign.plan, campaign.records)
