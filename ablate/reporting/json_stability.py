"""The parts of a judgement's JSON that are about several levels or data sets; see json_output.py."""

from __future__ import annotations

from pydantic import Field

from ablate.reporting.json_parts import Part
from ablate.verdicts.stability import Stability, TermStability, Word
from ablate.verdicts.verdict import Outcome


class PooledJson(Part):
    """The random-effects mean over data sets."""

    num_sets: int = Field(description="data sets pooled")
    standard_error: float = Field(description="of the mean, after Hartung and Knapp")
    p: float = Field(description="t test of the mean being 0, num_sets - 1 degrees of freedom; not adjusted")
    tau: float = Field(description="standard deviation of the true effects between data sets")
    i_squared: float = Field(description="share (0 to 1) of the variance that lies between data sets")
    heterogeneity_p: float = Field(description="Cochran's Q test of equal effects on all data sets")
    prediction_low: float | None = Field(description="interval for the effect on a new data set")
    prediction_high: float | None = Field(description="its other end")


class LevelJson(Part):
    """One contrast at one level of the field that a study's stability is asked over."""

    level: str | int | float | bool = Field(description="which")
    own: bool = Field(description="true: the study's own level, on which its verdicts rest")
    n: int = Field(description="paired seeds; 0: not judged")
    difference: float | None = Field(description="arm minus control, or the effect; null: not judged")
    standard_error: float | None = Field(description="of the difference")
    low: float | None = Field(description="interval at 1 - alpha")
    high: float | None = Field(description="its other end")
    adjusted_p: float | None = Field(description="adjusted over the contrasts of this level")
    outcome: Outcome = Field(description="at this level, by the study's rule")
    why: str = Field(description="why it is not judged; else empty")


class InteractionJson(Part):
    """How much a contrast differs between two levels, seed by seed."""

    first: str | int | float | bool = Field(description="the level that is subtracted")
    second: str | int | float | bool = Field(description="the level that it is subtracted from")
    estimate: float = Field(description="in the metric's unit")
    low: float | None = Field(description="interval that holds together with those of all interactions")
    high: float | None = Field(description="its other end")
    p: float = Field(description="exact sign-flip p, not adjusted")
    adjusted_p: float = Field(description="adjusted over all contrasts and pairs of levels")


class TermJson(Part):
    """What the levels say of one contrast."""

    term: str = Field(description="an arm, or an effect of a factorial study")
    word: Word = Field(description="the answer")
    why: str = Field(description="a sentence on it")
    levels: list[LevelJson] = Field(description="the contrast at every level")
    interactions: list[InteractionJson] = Field(description="between every two levels")
    pooled: PooledJson | None = Field(description="where the levels are data sets: the random-effects mean over them")

    @classmethod
    def of(cls, term: TermStability) -> TermJson:
        """The contrast under the names of the schema."""
        return cls.like(
            term,
            levels=[LevelJson.like(one, difference=one.estimate) for one in term.levels],
            interactions=[InteractionJson.like(one) for one in term.interactions],
            pooled=None if term.pooled is None else PooledJson.like(term.pooled),
        )


class StabilityJson(Part):
    """The contrasts at several levels of one field. No verdict rests on it."""

    field: str = Field(description="whose levels: recipe.epochs, data.name")
    alpha: float = Field(description="error rate of the interactions, apart from that of the verdicts")
    num_seeds: int = Field(description="paired seeds at every level")
    exploratory: str = Field(description="why it was not sealed beforehand; empty if it was, or if that is not known")
    terms: list[TermJson] = Field(description="one a contrast")

    @classmethod
    def of(cls, found: Stability) -> StabilityJson:
        """The levels under the names of the schema."""
        return cls.like(found, terms=[TermJson.of(one) for one in found.terms])
