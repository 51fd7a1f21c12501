"""An arm against the control: every number that a Contrast shows, from the records of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ablate.design.plan import CampaignPlan
from ablate.verdicts import power, stats
from ablate.verdicts.bootstrap import crossed
from ablate.verdicts.failures import is_asymmetric, outliers
from ablate.verdicts.gather import ArmResults
from ablate.verdicts.priors import upper_sd
from ablate.verdicts.sequential import Decided, Look, planned_looks
from ablate.verdicts.stats import Floats
from ablate.verdicts.verdict import Contrast

IMAGES_METRIC = "test_accuracy"  # the predictions that are kept are those on the test images


@dataclass(frozen=True)
class Rule:
    """The decision rule of a study, fixed before the runs.

    Attributes:
        metric, higher_is_better, alpha, margin: as the study says.
        looks: the planned looks; one for an ordinary study.
        num_contrasts: size of the family.
        num_test, num_classes: of the data.
        unit: of the metric, as the study says.
        tuned: whether the arms' recipes were tuned before.
        no_worse: whether "no worse" is asked for in place of "equivalent".
    """

    metric: str
    higher_is_better: bool
    alpha: float
    margin: float
    looks: tuple[Look, ...]
    num_contrasts: int
    num_test: int
    num_classes: int
    unit: str = ""
    tuned: bool = False
    no_worse: bool = False

    @property
    def good(self) -> Literal[1, -1] | None:
        """The sign of a good difference where "no worse" is asked for, else None."""
        if not self.no_worse:
            return None
        return 1 if self.higher_is_better else -1

    @classmethod
    def of(cls, plan: CampaignPlan, *, higher_is_better: bool, num_contrasts: int) -> Rule:
        """The rule that a plan's study declares."""
        decision = plan.study.decision
        return cls(
            metric=decision.metric,
            higher_is_better=higher_is_better,
            alpha=decision.alpha,
            margin=decision.margin,
            looks=planned_looks(plan.study.plan, alpha=decision.alpha),
            num_contrasts=num_contrasts,
            num_test=plan.data.num_test,
            num_classes=plan.data.num_classes,
            unit=decision.unit,
            tuned=plan.study.tuned,
            no_worse=decision.ask == "no_worse",
        )


def describe(arm: ArmResults, control: ArmResults, metric: str, n: int, confidence: float) -> Contrast:
    """The contrast over the first n pairs of seeds, without what needs the family or the margin."""
    return paired_contrast(arm.name, metric, arm.seeds(n), arm.values(metric, n), control.values(metric, n), confidence)


def paired_contrast(
    arm: str, metric: str, seeds: tuple[int, ...], values: Floats, against: Floats, confidence: float
) -> Contrast:
    """The contrast of the arm's values (n,) and the control's (n,), paired in the order of the seeds."""
    differences = values - against
    paired = stats.paired_interval(differences, confidence)
    welch = stats.welch_interval(values, against, confidence)
    repeat = stats.repeat_interval(differences, confidence)
    return Contrast(
        arm=arm,
        metric=metric,
        seeds=seeds,
        differences=tuple(float(difference) for difference in differences),
        control_mean=float(against.mean()),
        arm_mean=float(values.mean()),
        mean_difference=float(differences.mean()),
        sd_difference=stats.spread(differences),
        correlation=stats.correlation(values, against),
        low=paired.low,
        high=paired.high,
        p=stats.sign_flip_p(differences),
        welch_low=welch.low,
        welch_high=welch.high,
        repeat_low=repeat.low,
        repeat_high=repeat.high,
        median_difference=float(np.median(differences)),
        outliers=tuple(seeds[place] for place in outliers(differences)),
        asymmetric=is_asymmetric(differences),
        pairing_helps=None if paired.width is None or welch.width is None else paired.width < welch.width,
    )


def judged(arm: ArmResults, control: ArmResults, decided: Decided, rule: Rule, num_contrasts: int) -> Contrast:
    """The contrast at its look, with adjusted p-values, equivalence, power, and the interval for new images."""
    n = decided.look.seeds
    alpha = rule.alpha * decided.look.share
    plain = describe(arm, control, rule.metric, n, 1 - alpha)
    tost = stats.paired_interval(plain.differences, 1 - 2 * alpha)
    contrast = replace(
        plain,
        unit=rule.unit,
        joint_low=decided.joint.low,
        joint_high=decided.joint.high,
        tost_low=tost.low,
        tost_high=tost.high,
        adjusted_p=decided.adjusted_p,
        equivalence_p=decided.equivalence_p,
        equivalence_holm_p=decided.equivalence_holm_p,
    )
    return with_power(_with_images(contrast, arm, control, rule, 1 - alpha), rule, alpha, num_contrasts)


def with_power(contrast: Contrast, rule: Rule, alpha: float, num_contrasts: int) -> Contrast:
    """What the paired seeds could have found, and how many would settle the question, at the spread seen.

    Seeds that are too few for the exact test to decide anything are too few to plan with as well: two of them can show
    a tenth of the true spread, or three times as much.
    """
    sd = contrast.sd_difference
    if sd is None:
        return contrast
    last = rule.alpha * rule.looks[-1].share
    settle = None
    if rule.margin and power.reachable(contrast.n, alpha):
        settle = power.seeds_to_settle(
            rule.margin, upper_sd(sd, contrast.n), alpha=last, num_contrasts=num_contrasts, no_worse=rule.no_worse
        )
    effect = rule.margin / sd if sd else 0.0
    return replace(
        contrast,
        detectable=power.detectable(contrast.n, sd, alpha=alpha, num_contrasts=num_contrasts),
        margin_power=power.power(effect, contrast.n, alpha=alpha, num_contrasts=num_contrasts) if effect else None,
        exaggeration=power.exaggeration(effect, contrast.n, alpha=alpha, num_contrasts=num_contrasts),
        seeds_to_settle=settle,
    )


def _with_images(contrast: Contrast, arm: ArmResults, control: ArmResults, rule: Rule, confidence: float) -> Contrast:
    if contrast.metric != IMAGES_METRIC or contrast.n < 2:
        return contrast
    labels = {record.test_labels for results in (arm, control) for record in results.records[: contrast.n]}
    # of training of the user's own the records alone say how many examples there are: two bytes each
    examples = rule.num_test or len(control.records[0].predictions) // 2
    mine, theirs = (results.correct(contrast.n, examples) for results in (arm, control))
    if mine is None or theirs is None or len(labels) > 1 or examples < 2:
        return contrast
    found = crossed(mine, theirs, confidence=confidence)
    return replace(
        contrast,
        images_low=found.interval.low,
        images_high=found.interval.high,
        seed_share=found.components.share_of("seeds"),
        both_share=found.components.share_of("both"),
        image_share=found.components.share_of("images"),
    )
