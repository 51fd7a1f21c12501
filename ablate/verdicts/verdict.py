"""The nouns of a judgement: Contrast, Verdict, Effect. Plain frozen data.

A number that cannot be known (an interval from one seed) is None, never nan. Every difference is arm minus control in
the metric's own unit (accuracy: 0.01 is one point), whichever direction is good; better and worse take it into account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ablate.verdicts.random_effects import Pooled

Outcome = Literal["better", "worse", "equivalent", "no worse", "undecided", "not judged"]


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """An arm minus the control in one metric, paired by seed.

    Attributes:
        arm, metric, unit: whose contrast, in what, in which unit ("" where none is declared).
        seeds, differences: the arm's seeds and arm minus control in each pair, in the same order.
        control_mean, arm_mean, mean_difference: over the seeds; mean_difference = arm_mean - control_mean.
        sd_difference: standard deviation of the differences (n - 1); None from one seed.
        correlation: Pearson's r between the arm's and the control's values over the seeds; None when either is
            constant or there are fewer than three seeds.
        low, high: t interval of the mean difference at 1 - alpha, not adjusted for the family; None from one seed.
        joint_low, joint_high: the interval that holds together with those of all contrasts of the study at 1 - alpha;
            None from one seed and for exploratory metrics.
        p: exact two-sided sign-flip p.
        adjusted_p: after step-down max-T over the study's contrasts; equal to p for the noise floor; None for
            exploratory metrics.
        equivalence_p, equivalence_holm_p: two one-sided tests against the margin, before and after Holm; None for
            exploratory metrics, which have no margin.
        tost_low, tost_high: the interval that belongs to these tests, at 1 - 2 alpha: equivalence is never shown where
            it reaches beyond the margin.
        welch_low, welch_high: the interval that ignores the pairing; None from one seed.
        repeat_low, repeat_high: where the mean difference of a repeat with as many new seeds is expected, with the
            confidence of ``low`` and ``high``; None from one seed.
        pairing_helps: whether the paired interval is narrower than Welch's; None from one seed.
        detectable: the smallest true difference that this many seeds find with 80 % power, at the spread seen; None
            where the exact test cannot reach its level, or from one seed.
        seeds_to_settle: seeds after which a true difference of the margin is found, and a true zero shown equivalent,
            each with 80 % power at the upper 80 % confidence limit of the spread seen; None where the exact test cannot
            reach its level, or more than 10,000 would be needed.
        margin_power, exaggeration: probability (0 to 1) that these seeds find a true difference of the margin, and how
            many times its size it then seems on average; None where the spread is not known or it is hardly ever found.
        images_low, images_high: interval that holds for new test images as well as new seeds (crossed bootstrap);
            None without kept predictions or for a metric that is no test accuracy.
        seed_share, both_share, image_share: shares (0 to 1, their sum is 1) of the variance of the mean difference:
            what more seeds alone would remove, what either more seeds or more test images would, and what more test
            images alone would. None where ``images_low`` is.
        median_difference: of the differences; far from the mean where a few seeds make the mean.
        outliers: seeds whose difference lies too far from the others for a normal sample.
        asymmetric: whether the differences are more skewed than 95 % of normal samples; None below five seeds.
        control_runs: runs of the control where arm and control are two samples without pairs; ``differences`` is empty
            then, the interval Welch's and p that of the permutation test. None: paired by seed.
        data_set: of a contrast on one of several data sets, which one.
        pooled: of a contrast over several data sets: its random-effects mean; ``differences`` are the data sets' mean
            differences, ``seeds`` is empty, and p counts each data set as one unit.
    """

    arm: str
    metric: str
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    control_mean: float
    arm_mean: float
    mean_difference: float
    sd_difference: float | None
    correlation: float | None
    low: float | None
    high: float | None
    p: float
    joint_low: float | None = None
    joint_high: float | None = None
    adjusted_p: float | None = None
    equivalence_p: float | None = None
    equivalence_holm_p: float | None = None
    tost_low: float | None = None
    tost_high: float | None = None
    welch_low: float | None = None
    welch_high: float | None = None
    repeat_low: float | None = None
    repeat_high: float | None = None
    pairing_helps: bool | None = None
    detectable: float | None = None
    seeds_to_settle: int | None = None
    margin_power: float | None = None
    exaggeration: float | None = None
    images_low: float | None = None
    images_high: float | None = None
    seed_share: float | None = None
    both_share: float | None = None
    image_share: float | None = None
    median_difference: float | None = None
    outliers: tuple[int, ...] = ()
    asymmetric: bool | None = None
    control_runs: int | None = None
    unit: str = ""
    data_set: str = ""
    pooled: Pooled | None = None

    @property
    def n(self) -> int:
        """Number of paired seeds; of the arm's runs where they are not paired; of data sets where those are pooled."""
        return len(self.differences) or len(self.seeds)


@dataclass(frozen=True, kw_only=True)
class FailureRate:
    """How often an arm's training failed: it diverged, or ended far worse than the other seeds.

    Attributes:
        failed, of: seeds.
        upper: the highest rate (0 to 1) that they do not exclude, with 95 % confidence: .31 for 0 of 8.
        p, adjusted_p: Fisher's exact test against the control's rate, before and after Holm; None for the control.
    """

    failed: int
    of: int
    upper: float
    p: float | None = None
    adjusted_p: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the study says about one arm.

    Attributes:
        arm: its name.
        outcome: "better" and "worse" than the control, "equivalent" within the margin, "no worse" than it by the margin
            (where the study asks that), "undecided", or "not judged".
        why: one or two plain sentences for people.
        contrast: the numbers behind it; None when seeds are missing, failed or diverged.
        expected, held: what the study file expected of this arm, and whether it came true; ``held`` is None when
            nothing was expected, nothing was decided, or the expectation was not tested.
        tested: whether the seeds could have contradicted the expectation; True where nothing was expected.
        settled_at: under ``until = "settled"``, the number of seeds at which the outcome was decided; else None.
    """

    arm: str
    outcome: Outcome
    why: str
    contrast: Contrast | None = None
    expected: str | None = None
    held: bool | None = None
    tested: bool = True
    settled_at: int | None = None

    def withheld(self, study: str) -> Verdict:
        """What is left of it where the noise floor did not pass."""
        why = f"the noise floor did not pass, so no verdict of {study} is valid."
        return Verdict(arm=self.arm, outcome="not judged", why=why, contrast=self.contrast, expected=self.expected)


@dataclass(frozen=True, kw_only=True)
class SimpleEffect:
    """The effect of one factor at one level of another: what an interaction consists of. Unadjusted.

    Attributes:
        factor, contrast, at: ``"conv"``, ``"full - depthwise"``, ``"residual = classic"``.
        estimate, low, high: in the metric's unit, with Student's t interval over the seeds; None from one seed.
    """

    factor: str
    contrast: str
    at: str
    estimate: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class EffectChecks:
    """What the table of effects leaves out.

    Attributes:
        lack_of_fit, lack_of_fit_p: F of the interactions of three and more factors, and its sign-flip p.
        by_seed, by_seed_p: F of the variation of effects from seed to seed over that of the higher interactions.
        df: numerator of the first, denominator of both, numerator of the second.
    """

    lack_of_fit: float
    lack_of_fit_p: float
    by_seed: float
    by_seed_p: float
    df: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A main effect or two-way interaction of a factorial study, estimated within each seed.

    Attributes:
        term: "residual", or "residual:conv" for an interaction.
        contrast: in words, what is subtracted from what: "classic - inverted".
        estimate, low, high: in the metric's unit. Main effect: the mean at a level minus the mean at the control's.
            Interaction: half the difference of two such differences. The interval is Student's over the seeds; None
            from one seed.
        joint_low, joint_high: the interval that holds together with those of all effects of the table.
        p, adjusted_p: exact sign-flip p of the seeds' estimates, and after step-down max-T over the table.
        aliases: the effects that cannot be told from this one in a fractional design.
        simple: of an interaction of two-level factors, the effect of each factor at each level of the other.
    """

    term: str
    contrast: str
    estimate: float
    low: float | None
    high: float | None
    p: float
    adjusted_p: float
    joint_low: float | None = None
    joint_high: float | None = None
    outcome: Outcome = "undecided"
    expected: str | None = None
    held: bool | None = None
    tested: bool = True
    aliases: tuple[str, ...] = ()
    simple: tuple[SimpleEffect, ...] = ()
