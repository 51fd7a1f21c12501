"""The power of a planned study against the true difference, as a figure for ``--plan --figure FILE``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ablate.design.plan import CampaignPlan
from ablate.errors import AblateError
from ablate.files import write_whole
from ablate.reporting.canvas import draw, page
from ablate.reporting.style import COLOURS, CONTROL_COLOUR, Unit, unit
from ablate.verdicts import power
from ablate.verdicts.power_analysis import PowerAnalysis, analyse_power
from ablate.verdicts.verdict import Contrast

POINTS = 31
FURTHER = (1.0, 1.5, 2.0)  # curves for so many times the planned seeds


def _unit(plan: CampaignPlan) -> Unit:
    decision = plan.study.decision
    return unit(decision.metric, decision.unit) if plan.study.own_training else unit(decision.metric)


def curve(plan: CampaignPlan, found: PowerAnalysis) -> pd.DataFrame:
    """seeds, difference (printed units), power (0 to 1): of the planned seeds, of half as many more, and of twice."""
    sizes = list(dict.fromkeys(round(times * found.seeds) for times in FURTHER))
    scale = _unit(plan).factor
    last = max(2 * plan.study.decision.margin, 1.6 * (found.detectable or 2.5 * found.sd))
    rows = [
        (n, scale * size, power.power(size / found.sd, n, alpha=found.alpha, num_contrasts=found.num_contrasts))
        for n in sizes
        for size in np.linspace(0, last, POINTS)[1:]
    ]
    return pd.DataFrame(rows, columns=["seeds", "difference", "power"])


def figure(table: pd.DataFrame, margin: float, measure: Unit, contrasts: int) -> Figure:
    """A line for each number of seeds; dashed: the margin, and 80 % power.

    Args:
        table: as ``curve`` makes it.
        margin: in printed units.
        measure: of the metric.
        contrasts: size of the family that the tests are adjusted over.
    """
    sizes = list(dict.fromkeys(table["seeds"]))
    with page(3.2) as (drawn, (axes,)):
        sns.lineplot(
            data=table, x="difference", y="power", hue="seeds", palette=list(COLOURS[: len(sizes)]), errorbar=None,
            linewidth=1.9, ax=axes,
        )  # fmt: skip
        axes.axvline(margin, color=CONTROL_COLOUR, linewidth=1, linestyle=(0, (3, 2)))
        axes.axhline(power.POWER, color=CONTROL_COLOUR, linewidth=1, linestyle=(0, (3, 2)))
        axes.set(xlim=(0, None), ylim=(0, 1.02), ylabel="probability that it is found")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel(
            f"true {measure.difference} of one arm among {contrasts}\n"
            f"dashed: margin of {margin:g} {measure.short}, 80 % power"
        )
        axes.legend(title="paired seeds", frameon=False, loc="lower right")
        return drawn


def write(plan: CampaignPlan, path: Path, seen: Sequence[Contrast] = ()) -> None:
    """Draws the power of a plan to a file.

    Args:
        plan: of the campaign.
        path: where to; its ending, .svg or .png, says as what.
        seen: contrasts so far, whose spread is counted with.

    Raises:
        AblateError: another ending, a file that cannot be written, or a spread of zero.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in ("svg", "png"):
        raise AblateError(f"--figure {path}: must end in .svg or .png")
    found = analyse_power(plan, seen)
    if not found.sd:
        raise AblateError(f"--figure {path}: the differences seen so far do not vary, so every difference is found")
    measure = _unit(plan)
    drawn = figure(curve(plan, found), plan.study.decision.margin * measure.factor, measure, found.num_contrasts)
    try:
        write_whole(path, draw(drawn, "svg" if kind == "svg" else "png"))
    except OSError as error:
        raise AblateError(f"{path}: cannot be written ({error.strerror or error})") from error
