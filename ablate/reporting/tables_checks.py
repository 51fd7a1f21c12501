"""Printed text on what is behind the verdicts: checks of effects, failure rates, sensitivity to the tuning."""

from __future__ import annotations

import pandas as pd

from ablate.reporting.results import Results
from ablate.reporting.style import p_text


def effect_check_rows(results: Results) -> pd.DataFrame:
    """What the table of effects leaves out: two F ratios; empty where they cannot be formed."""
    checks = results.judgement.effect_checks
    if checks is None:
        return pd.DataFrame()
    terms, error, by_seed = checks.df
    return pd.DataFrame(
        [
            {
                "check": "lack of fit: interactions of three and more factors",
                "F": f"{checks.lack_of_fit:.2f}",
                "degrees of freedom": f"{terms}, {error}",
                "p": p_text(checks.lack_of_fit_p),
            },
            {
                "check": "effects that vary from seed to seed",
                "F": f"{checks.by_seed:.2f}",
                "degrees of freedom": f"{by_seed}, {error}",
                "p": p_text(checks.by_seed_p),
            },
        ]
    )


def failure_rows(results: Results) -> pd.DataFrame:
    """How often each arm's training diverged or ended far worse than its other seeds."""
    return pd.DataFrame(
        [
            {
                "arm": arm,
                "failed": f"{rate.failed} of {rate.of}",
                "not excluded, up to": f"{100 * rate.upper:.0f} %",
                "adjusted p against the control": p_text(rate.adjusted_p),
            }
            for arm, rate in results.judgement.failure_rates.items()
        ]
    )


def sensitivity_rows(results: Results) -> pd.DataFrame:
    """Each arm minus the control by the tuning's own trials, at several settings; empty where nothing was tuned."""
    measure = results.unit
    return pd.DataFrame(
        [
            {
                "arm": one.arm,
                f"each at its own best{measure.behind}": measure.signed(one.own),
                "both at the control's best": measure.signed(one.at_control),
                "both at the arm's best": measure.signed(one.at_arm),
                "lowest to highest over all": measure.interval(one.low, one.high),
                "settings": str(one.settings),
            }
            for one in results.judgement.sensitivities
        ]
    )
