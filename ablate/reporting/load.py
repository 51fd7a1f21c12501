"""From a runs folder to the Results of a campaign; neither the study file nor torch is needed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ablate.campaign.api import load
from ablate.campaign.options import CampaignResult, RunOptions
from ablate.campaign.optuna_driver import importance
from ablate.campaign.optuna_search import search_importance
from ablate.campaign.records import RecordStore, sealed_plans
from ablate.reporting.results import Results, results_of


def load_results(study_name: str, *, runs: Path, tracking_uri: str | None = None, digest: str | None = None) -> Results:
    """Reads a campaign back from its records and judges it again.

    Args:
        study_name: the study's name.
        runs: the runs folder.
        tracking_uri: an MLflow store to pull the campaign from where the runs folder lacks it; None:
            $MLFLOW_TRACKING_URI, or sqlite in ``runs``.
        digest: which campaign; None: the newest.

    Raises:
        AblateError: there is no such campaign.
    """
    options = RunOptions(runs=runs, tracking_uri=tracking_uri)
    return results_from(load(options, study_name, digest), options.runs)


def results_from(held: CampaignResult, runs: Path) -> Results:
    """The results of a campaign that was run or loaded, with the sealed plans of its runs folder."""
    sealed = sealed_plans(runs, held.plan.study.name)
    return results_of(
        held.plan,
        held.costs,
        held.records,
        sealed=sealed,
        replaced=RecordStore(runs, held.plan.study.name).replaced(),
        rank_factors=partial(search_importance if held.plan.study.searched else importance, held.plan, held.records),
    )
