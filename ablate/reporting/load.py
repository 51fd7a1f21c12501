"""From a runs folder to the Results of a campaign; neither the study file nor torch is needed."""

from __future__ import annotations

from pathlib import Path

from ablate.reporting.results import Results, results_of


def load_results(study_name: str, *, runs: Path, tracking_uri: str | None = None, digest: str | None = None) -> Results:
    """Reads a campaign back and judges it again.

    Args:
        study_name: the study's name.
        runs: the runs folder.
        tracking_uri: the MLflow store; None: $MLFLOW_TRACKING_URI, or sqlite in ``runs``.
        digest: which campaign; None: the newest.

    Raises:
        AblateError: there is no such campaign, or the store cannot be read.
    """
    from ablate.campaign.tracking import Tracking
    from ablate.paths import tracking_uri as resolve

    campaign = Tracking(resolve(runs, tracking_uri), runs / "artifacts").load_campaign(study_name, digest)
    return results_of(campaign.plan, campaign.costs, campaign.records)


def keep_in_mlflow(results: Results, page: Path, *, runs: Path, tracking_uri: str | None = None) -> None:
    """Keeps a report with its campaign's run in MLflow, and the verdicts as the run's note.

    Raises:
        AblateError: the store cannot be reached.
    """
    from ablate.campaign.tracking import Tracking
    from ablate.paths import tracking_uri as resolve
    from ablate.reporting.markdown import note

    tracking = Tracking(resolve(runs, tracking_uri), runs / "artifacts")
    study = results.plan.study
    found = tracking.find_campaign(study.name, study.digest)
    if found is not None:
        tracking.log_report(found.run_id, page.parent, note(results))
