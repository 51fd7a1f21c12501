"""What a campaign came to, as MLflow shows it with the campaign's run: verdicts as a note, contrasts as metrics."""

from __future__ import annotations

import math
import re
from pathlib import Path

from ablate.campaign.views import Conclusion
from ablate.reporting.markdown import note
from ablate.reporting.results import Results


def conclusion_of(results: Results, *, complete: bool, report: Path | None) -> Conclusion:
    """The note, the metrics and the report of a campaign's run.

    Args:
        results: of the campaign.
        complete: whether every trial that is needed has its outcome.
        report: the folder of the report; None: there is none.
    """
    return Conclusion(complete=complete, note=note(results), metrics=campaign_metrics(results), report=report)


def campaign_metrics(results: Results) -> dict[str, float]:
    """Numbers by which campaigns sort and chart: each contrast, the best arm's mean, trials and minutes of training."""
    found: dict[str, float] = {}
    for verdict in results.judgement.every_verdict:
        if (contrast := verdict.contrast) is not None:
            behind = "" if contrast.metric == results.judgement.metric else f"/{contrast.metric}"
            numbers = {
                "difference": contrast.mean_difference,
                "low": contrast.low,
                "high": contrast.high,
                "p": contrast.p,
                "adjusted_p": contrast.adjusted_p,
            }
            found |= {
                f"{name}/{_plain(verdict.arm)}{behind}": value for name, value in numbers.items() if value is not None
            }
    done = [record for record in results.trained() if record.status != "failed"]
    found |= {"trials": len(done), "minutes": sum(record.measured.wall_s for record in done) / 60}
    means = [
        mean
        for verdict in results.judgement.verdicts
        if (contrast := verdict.contrast) is not None
        for mean in (contrast.arm_mean, contrast.control_mean)
    ]
    if means:
        best = max(means) if results.judgement.higher_is_better else min(means)
        found[f"best/{results.judgement.metric}"] = best
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def _plain(arm: str) -> str:
    """An arm's name in the letters that MLflow allows in the name of a metric."""
    return re.sub(r"[^\w./ -]", "_", arm)
