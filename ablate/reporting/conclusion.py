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
    """Numbers by which campaigns sort and chart: contrasts, effects, the best mean, trials, minutes of training."""
    done = [record for record in results.trained() if record.status != "failed"]
    found = {"trials": len(done), "minutes": sum(record.measured.wall_s for record in done) / 60}
    contrasts = [verdict.contrast for verdict in results.judgement.verdicts if verdict.contrast is not None]
    if contrasts:
        means = [contrasts[0].control_mean, *(contrast.arm_mean for contrast in contrasts)]
        best = max(means) if results.judgement.higher_is_better else min(means)
        found[f"best/{results.judgement.metric}"] = best
    known = {**_contrasts(results), **_effects(results), **found}
    return {name: float(value) for name, value in known.items() if value is not None and math.isfinite(value)}


def _contrasts(results: Results) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
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
            found |= {f"{name}/{_plain(verdict.arm)}{behind}": value for name, value in numbers.items()}
    return found


def _effects(results: Results) -> dict[str, float | None]:
    """Of a factorial study; an effect of a factor with more than two levels is named with what is compared."""
    effects, found = results.judgement.effects, dict[str, float | None]()
    terms = [effect.term for effect in effects]
    for effect in effects:
        name = _plain(effect.term if terms.count(effect.term) == 1 else f"{effect.term} {effect.contrast}")
        numbers = {"": effect.estimate, "_low": effect.low, "_high": effect.high, "_adjusted_p": effect.adjusted_p}
        found |= {f"effect{end}/{name}": value for end, value in numbers.items()}
    return found


def _plain(arm: str) -> str:
    """An arm's name in the letters that MLflow allows in the name of a metric."""
    return re.sub(r"[^\w./ -]", "_", arm)
