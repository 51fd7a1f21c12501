"""A judgement as JSON for programs: one versioned schema, made from the models below. Numbers are not rounded.

docs/json.md carries the fields and the schema; `json_reference.py` makes that part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from ablate.reporting.json_parts import NEXT, UNIT, VERSION, Part, written
from ablate.reporting.json_stability import PooledJson, StabilityJson
from ablate.reporting.results import Costs
from ablate.verdicts.judgement import CoPrimaryFindings, Judgement
from ablate.verdicts.verdict import Contrast, Outcome, Verdict


class ContrastJson(Part):
    """An arm minus the control. Differences are in the metric's own unit."""

    arm: str = Field(description="whose contrast")
    metric: str = Field(description="in what")
    data_set: str | None = Field(description="on which of several data sets; null: on the only one, or over all")
    difference: float = Field(description="mean of the arm minus mean of the control")
    low: float | None = Field(description="interval of the difference at 1 - alpha; null: not known (one run)")
    high: float | None = Field(description="its other end")
    joint_low: float | None = Field(description="interval that holds together with those of all contrasts")
    joint_high: float | None = Field(description="its other end")
    p: float = Field(description="exact two-sided p, not adjusted")
    adjusted_p: float | None = Field(description="p adjusted over the contrasts; null: no verdict rests on it")
    equivalence_p: float | None = Field(description="p of the equivalence tests, not adjusted; null: no margin")
    equivalence_adjusted_p: float | None = Field(description="the same, adjusted over the contrasts")
    tost_low: float | None = Field(description="the interval at 1 - 2 alpha that belongs to the equivalence tests")
    tost_high: float | None = Field(description="its other end")
    paired: bool = Field(description="true: paired by seed; false: two samples")
    n: int = Field(description="paired seeds; of two samples the arm's runs; over data sets their number")
    control_n: int = Field(description="the same of the control")
    seeds: list[int] = Field(description="the arm's seeds; empty over data sets")
    differences: list[float] = Field(description="arm minus control, by seed or by data set; empty for two samples")
    control_mean: float = Field(description="mean of the control")
    arm_mean: float = Field(description="mean of the arm")
    sd_difference: float | None = Field(description="standard deviation of the differences")
    correlation: float | None = Field(description="of arm and control over the pairs")
    detectable: float | None = Field(description="smallest true difference that this many runs find with 80 % power")
    seeds_to_settle: int | None = Field(description="that settle it at the margin; null: too few here, or over 10,000")
    welch_low: float | None = Field(description="the interval that ignores the pairing")
    welch_high: float | None = Field(description="its other end")
    repeat_low: float | None = Field(description="where a repeat with as many new seeds is expected, at 1 - alpha")
    repeat_high: float | None = Field(description="its other end")
    median_difference: float | None = Field(description="of the differences")
    outliers: list[int] = Field(description="seeds whose difference is too far from the others for a normal sample")
    asymmetric: bool | None = Field(description="whether the differences are more skewed than 95 % of normal samples")
    images_low: float | None = Field(description="interval for new test images as well as new seeds")
    images_high: float | None = Field(description="its other end")
    seed_share: float | None = Field(description="share of the variance that only more seeds would remove")
    both_share: float | None = Field(description="share that either more seeds or more test images would remove")
    image_share: float | None = Field(description="share that only more test images would remove")
    pooled: PooledJson | None = Field(description="over data sets: the random-effects mean")

    @classmethod
    def of(cls, contrast: Contrast) -> ContrastJson:
        """The contrast under the names of the schema."""
        return cls.like(
            contrast,
            data_set=contrast.data_set or None,
            difference=contrast.mean_difference,
            equivalence_adjusted_p=contrast.equivalence_holm_p,
            paired=contrast.control_runs is None,
            control_n=contrast.n if contrast.control_runs is None else contrast.control_runs,
            pooled=None if contrast.pooled is None else PooledJson.like(contrast.pooled),
        )


class VerdictJson(Part):
    """What is said about one arm. The numbers are those of its contrast, repeated here for scripts."""

    arm: str = Field(description="its name")
    outcome: Outcome = Field(description="the verdict")
    difference: float | None = Field(description="as in contrast; null where nothing could be measured")
    low: float | None = Field(description="as in contrast")
    high: float | None = Field(description="as in contrast")
    p: float | None = Field(description="as in contrast")
    adjusted_p: float | None = Field(description="as in contrast")
    n: int | None = Field(description="as in contrast")
    why: str = Field(description="a sentence or two for people")
    expected: str | None = Field(description="what was expected beforehand; null: nothing")
    held: bool | None = Field(description="whether that came true; null: nothing was expected, or it is not decided")
    tested: bool = Field(description="whether the runs could have contradicted what was expected")
    settled_at: int | None = Field(description="of a study until settled: seeds at which the outcome was decided")
    contrast: ContrastJson | None = Field(description="every number behind the verdict")

    @classmethod
    def of(cls, verdict: Verdict) -> VerdictJson:
        """The verdict under the names of the schema."""
        contrast = None if verdict.contrast is None else ContrastJson.of(verdict.contrast)
        numbers = ("difference", "low", "high", "p", "adjusted_p", "n")
        return cls.like(verdict, contrast=contrast, **{name: getattr(contrast, name, None) for name in numbers})


class SeedGainJson(Part):
    """How many times as many seeds the deciding metric needs to find its difference as a co-primary one does."""

    arm: str = Field(description="whose difference, found in both metrics")
    ratio: float = Field(description="below 1 the co-primary metric needs more")
    low: float = Field(description="its interval at 1 - alpha")
    high: float = Field(description="its other end")


class CoPrimaryJson(Part):
    """The verdicts in a co-primary metric, in one family with those in the deciding one."""

    metric: str = Field(description="which")
    unit: str | None = Field(description=UNIT)
    higher_is_better: bool = Field(description="its direction")
    margin: float = Field(description="smallest difference that matters, in its unit")
    verdicts: list[VerdictJson] = Field(description="one an arm")
    gains: list[SeedGainJson] = Field(description="the gain in seeds, of arms whose difference was found in both")

    @classmethod
    def of(cls, found: CoPrimaryFindings) -> CoPrimaryJson:
        """The findings under the names of the schema."""
        return cls.like(
            found,
            unit=found.unit or None,
            verdicts=[VerdictJson.of(one) for one in found.verdicts],
            gains=[SeedGainJson.like(one, arm=arm) for arm, one in found.gains.items()],
        )


class EffectJson(Part):
    """A main effect or two-way interaction of a factorial study."""

    term: str = Field(description="a factor, or two with a colon between them")
    contrast: str = Field(description="what is subtracted from what")
    estimate: float = Field(description="in the metric's unit")
    low: float | None = Field(description="interval at 1 - alpha")
    high: float | None = Field(description="its other end")
    joint_low: float | None = Field(description="interval that holds together with those of all effects")
    joint_high: float | None = Field(description="its other end")
    p: float = Field(description="exact sign-flip p of the seeds' estimates, not adjusted")
    adjusted_p: float = Field(description="adjusted over all effects")
    outcome: Outcome = Field(description="the verdict")
    aliases: list[str] = Field(description="effects of a fractional design that cannot be distinguished from this one")


class FailureRateJson(Part):
    """How often an arm's training failed: it diverged, or ended far worse than the other seeds."""

    arm: str = Field(description="whose")
    failed: int = Field(description="seeds that failed")
    of: int = Field(description="seeds")
    upper: float = Field(description="the highest rate (0 to 1) that they do not exclude, with 95 % confidence")
    p: float | None = Field(description="Fisher's exact test against the control's rate; null for the control")
    adjusted_p: float | None = Field(description="the same, adjusted over the arms")


class RegistrationJson(Part):
    """Whether a study's rule, expectations, arms and seeds are those that were sealed before its first trial."""

    is_confirmatory: bool = Field(description="true: as sealed before the first trial; false: exploratory")
    reasons: list[str] = Field(description="why it is exploratory")
    sentence: str = Field(description="the same for people")


class JudgementJson(Part):
    """The verdicts of a study, or of runs trained elsewhere: `ablate study`, `ablate report` and `ablate judge`."""

    schema_version: Literal[1] = Field(default=1, alias="schema", description=VERSION)
    document: Literal["judgement"] = Field(default="judgement", description="which document this is")
    control: str = Field(description="the arm that every other arm is compared with")
    metric: str = Field(description="the one that verdicts rest on")
    unit: str | None = Field(description=UNIT)
    higher_is_better: bool = Field(description="the metric's direction")
    alpha: float = Field(description="error rate over all contrasts")
    margin: float | None = Field(
        description="smallest difference that matters, in the metric's unit; null: none declared"
    )
    num_contrasts: int = Field(description="size of the family that p-values are adjusted over")
    num_seeds: int = Field(description="most seeds of an arm")
    stands: bool = Field(description="false: the noise floor did not pass, and every arm is not judged")
    verdicts: list[VerdictJson] = Field(description="one an arm, without control and noise floor")
    noise_floor: VerdictJson | None = Field(description="the verdict on the control against itself; null: no such arm")
    per_set: list[ContrastJson] = Field(description="of several data sets: each arm on each of them, not adjusted")
    co_primary: list[CoPrimaryJson] = Field(description="verdicts in further metrics that were declared to decide")
    exploratory: list[ContrastJson] = Field(description="contrasts of further metrics, not adjusted")
    steps: list[ContrastJson] = Field(description="where arms build on one another: each arm minus the one before it")
    effects: list[EffectJson] = Field(description="of a factorial study")
    stability: StabilityJson | None = Field(description="of a study that asks for further levels of a field")
    failure_rates: list[FailureRateJson] = Field(description="of a study: how often training failed, by arm")
    registration: RegistrationJson | None = Field(description="of a study; null: nothing is known of a sealed plan")
    as_sealed: JudgementJson | None = Field(description="of an exploratory judgement: the one under the sealed plan")
    warnings: list[str] = Field(description="what a reader must know, the gravest first")
    method: str = Field(description="the rule in words")
    costs: dict[str, dict[str, bool | int | float | None]] = Field(
        description="of a study: params, macs, latency_ms and so on, by arm; null: not known"
    )
    next: list[str] = Field(description=NEXT)

    @classmethod
    def of(
        cls, judgement: Judgement, *, control: str, costs: Costs = MappingProxyType({}), following: Sequence[str] = ()
    ) -> JudgementJson:
        """The judgement under the names of the schema; ``following``: commands to run next."""
        floor, seal, under_seal = judgement.noise_floor, judgement.registration, judgement.as_sealed
        return cls.like(
            judgement,
            control=control,
            unit=judgement.unit or None,
            margin=judgement.margin or None,
            verdicts=[VerdictJson.of(one) for one in judgement.verdicts],
            noise_floor=None if floor is None else VerdictJson.of(floor),
            per_set=[ContrastJson.of(one) for one in judgement.per_set],
            co_primary=[CoPrimaryJson.of(one) for one in judgement.co_primary],
            exploratory=[ContrastJson.of(one) for one in judgement.exploratory],
            steps=[ContrastJson.of(one) for one in judgement.steps],
            effects=[EffectJson.like(one) for one in judgement.effects],
            stability=None if judgement.stability is None else StabilityJson.of(judgement.stability),
            failure_rates=[FailureRateJson.like(one, arm=arm) for arm, one in judgement.failure_rates.items()],
            registration=None if seal is None else RegistrationJson.like(seal),
            as_sealed=None if under_seal is None else cls.of(under_seal, control=control, costs=costs),
            warnings=judgement.statements,
            costs={arm: dict(cost) for arm, cost in costs.items()},
            next=following,
        )


def judgement_json(
    judgement: Judgement, *, control: str, costs: Costs = MappingProxyType({}), following: Sequence[str] = ()
) -> str:
    """The judgement as a JSON document, indented, without a newline at its end.

    Args:
        judgement: of a study or of runs trained elsewhere.
        control: the control's name.
        costs: arm -> cost field -> number, of a study.
        following: commands to run next.
    """
    return written(JudgementJson.of(judgement, control=control, costs=costs, following=following))
