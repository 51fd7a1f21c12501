"""What a study's further levels say of its contrasts: a frame for the figure, printed tables, and sentences."""

from __future__ import annotations

import pandas as pd

from ablate.reporting import words
from ablate.reporting.results import Results
from ablate.reporting.style import FEWEST_SEEDS, p_text
from ablate.verdicts.random_effects import Pooled
from ablate.verdicts.stability import LevelContrast, Stability, TermStability

FEW_SETS = 6  # data sets below which the exact test over them cannot reach .05


def levels(results: Results) -> pd.DataFrame:
    """term, level, own, value, low, high (printed units) and outcome; a row a contrast and level that was judged."""
    found, factor = results.judgement.stability, results.unit.factor
    rows = [
        {
            "term": term.term,
            "level": one.level,
            "own": one.own,
            "value": factor * one.estimate,
            "low": None if one.low is None else factor * one.low,
            "high": None if one.high is None else factor * one.high,
            "outcome": one.outcome,
        }
        for term in (() if found is None else found.terms)
        for one in term.levels
        if one.estimate is not None
    ]
    return pd.DataFrame(rows, columns=["term", "level", "own", "value", "low", "high", "outcome"])


def level_rows(results: Results) -> pd.DataFrame:
    """Every contrast at every level with its interval and outcome, and the word for them together."""
    found = results.judgement.stability
    if found is None:
        return pd.DataFrame()
    return pd.DataFrame(
        [
            {
                "contrast": term.term,
                **{_head(found, one): _cell(results, one) for one in term.levels},
                "together": term.word,
                "why": words.proper(term.why),
            }
            for term in found.terms
        ]
    )


def interaction_rows(results: Results) -> pd.DataFrame:
    """How much each contrast differs between two levels, with the interval that holds for all of them together."""
    found, unit = results.judgement.stability, results.unit
    return pd.DataFrame(
        [
            {
                "contrast": term.term,
                "levels": f"{one.second} − {one.first}",
                f"difference of differences ({unit.short})": unit.signed(one.estimate),
                "joint interval": unit.interval(one.low, one.high),
                "p": p_text(one.p),
                "adjusted p": p_text(one.adjusted_p),
            }
            for term in (() if found is None else found.terms)
            for one in term.interactions
        ]
    )


def pooled_rows(results: Results) -> pd.DataFrame:
    """Over data sets: each contrast's random-effects mean, and where it is expected on a new data set."""
    found, unit = results.judgement.stability, results.unit
    return pd.DataFrame(
        [
            {
                "contrast": term.term,
                "data sets": str(term.pooled.num_sets),
                f"mean ({unit.short})": unit.signed(term.pooled.mean),
                f"{words.confidence(results)} interval": unit.interval(term.pooled.low, term.pooled.high),
                "p, unadjusted": p_text(term.pooled.p),
                "SD between data sets": unit.value(term.pooled.tau),
                "on a new data set": unit.interval(term.pooled.prediction_low, term.pooled.prediction_high),
                "against the margin": against_margin(term.pooled, results.judgement.margin),
            }
            for term in (() if found is None else found.terms)
            if term.pooled is not None
        ]
    )


def against_margin(found: Pooled, margin: float) -> str:
    """What the prediction interval says of a new data set."""
    low, high = found.prediction_low, found.prediction_high
    if low is None or high is None:
        return "two data sets predict nothing"
    if -margin < low and high < margin:
        return "within the margin"
    if low >= margin or high <= -margin:
        return "beyond the margin"
    if low > 0 or high < 0:
        return "of one sign, its size is open"
    return "open"


def sentences(results: Results) -> list[str]:
    """A line a contrast: ``"relu_bottleneck over recipe.epochs = 2, 4, 8 holds: worse at every level asked ..."``."""
    found = results.judgement.stability
    if found is None:
        return []
    levels_asked = ", ".join(map(str, found.levels))
    return [
        f"{term.term} over {found.field} = {levels_asked} {_verb(term)}: "
        f"{words.proper(term.why)}{_sizes(results, term)}"
        for term in found.terms
    ]


def rule(results: Results) -> str:
    """How the word came about, and what it does not touch."""
    found = results.judgement.stability
    if found is None:
        return ""
    each = f"{words.count(found.num_seeds, 'paired seed')} at every level; the study's own is {found.own}."
    told = [
        each,
        f"No verdict depends on this section; it has its own alpha ({found.alpha:g}).",
        "At each level the contrasts are judged by the study's rule.",
        "Holds: the same is shown at every level.",
        "Changes sign: differences of both signs are found.",
        "Fades: a difference is found at one level, none at another, and it is shown to be smaller there.",
        "Levels are compared seed by seed, by step-down max-T over all contrasts and pairs of levels.",
    ]
    if found.over_data_sets:
        told.append(_over_sets(found))
    if found.exploratory:
        told.append(f"Exploratory: {found.exploratory}.")
    return " ".join(told)


def _over_sets(found: Stability) -> str:
    k = len(found.levels)
    told = (
        f"Over data sets each one is a unit: the mean is that of a random-effects model (REML, Hartung and Knapp) with "
        f"{words.count(k - 1, 'degree')} of freedom, the interval for a new data set has {k - 2}."
    )
    if k < FEW_SETS:
        told += (
            f" {k} data sets show what holds on these {k}. They can hardly predict another one: with so few degrees of "
            f"freedom the intervals are wide, and an exact test over data sets needs {FEW_SETS}."
        )
    return told


def _verb(term: TermStability) -> str:
    return {"cannot tell": "is open"}.get(term.word, term.word)


def _sizes(results: Results, term: TermStability) -> str:
    """``" (−1.54, −0.80 points)"``; nothing where no level has a difference."""
    if all(one.estimate is None for one in term.levels):
        return ""
    sizes = ", ".join(results.unit.signed(one.estimate) for one in term.levels)
    return f" ({sizes} {results.unit.short})"


def _head(found: Stability, one: LevelContrast) -> str:
    return f"{found.field} = {one.level}{' (own)' * one.own}"


def _cell(results: Results, one: LevelContrast) -> str:
    if one.estimate is None:
        return f"not judged: {words.proper(one.why)}"
    unit = results.unit
    span = f" {unit.interval(one.low, one.high)}" if one.n >= FEWEST_SEEDS else ""
    return f"{unit.signed(one.estimate)}{span} {one.outcome}"
