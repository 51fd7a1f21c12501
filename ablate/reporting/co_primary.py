"""The verdicts in co-primary metrics, as sentences and as a table, with the gain in seeds."""

from __future__ import annotations

import pandas as pd

from ablate.reporting import words
from ablate.reporting.results import Results
from ablate.reporting.style import number, p_text
from ablate.verdicts.judgement import SeedGain


def sentences(results: Results) -> list[str]:
    """``"in test loss, relu_bottleneck is worse than the control: ..."``, an arm a sentence."""
    return [
        f"in {found.metric.replace('_', ' ')}, {words.sentence(results, verdict, found.metric)}"
        + (f", {_told(found.gains[verdict.arm], results)}" if verdict.arm in found.gains else "")
        for found in results.judgement.co_primary
        for verdict in found.verdicts
    ]


def _told(gain: SeedGain, results: Results) -> str:
    """``"test accuracy needs 2.9 (1.1 to 7.8) times the seeds to find it"``."""
    metric = results.judgement.metric.replace("_", " ")
    return f"{metric} needs {gain.ratio:.2g} ({gain.low:.2g} to {gain.high:.2g}) times the seeds to find it"


def rows(results: Results) -> pd.DataFrame:
    """The verdicts in the co-primary metrics, with the gain in seeds; empty where the study declares none."""
    return pd.DataFrame(
        [
            {
                "metric": results.unit_of(found.metric).axis,
                "arm": verdict.arm,
                "difference": unit.signed(contrast.mean_difference if contrast else None),
                f"{words.confidence(results)} interval": words.interval(results, contrast),
                "adjusted p": p_text(contrast.adjusted_p if contrast else None),
                "margin": words.margin(results, found.metric),
                "verdict": verdict.outcome,
                "seeds to settle": number(contrast.seeds_to_settle if contrast else None, 0),
                f"times the seeds that {results.judgement.metric.replace('_', ' ')} needs": _gain(
                    found.gains.get(verdict.arm)
                ),
            }
            for found in results.judgement.co_primary
            for verdict in found.verdicts
            for contrast in [verdict.contrast]
            for unit in [results.unit_of(found.metric)]
        ]
    )


def _gain(gain: SeedGain | None) -> str:
    """``"2.9 [1.1, 7.8]"``."""
    return "–" if gain is None else f"{gain.ratio:.2g} [{gain.low:.2g}, {gain.high:.2g}]"
