"""The judgement of runs that were trained elsewhere, from their results alone: arrays in, a Judgement out.

The rule is that of a study. An arm that shares seeds with the control is compared pair by pair; one that shares none is
compared as a second sample, by Welch's interval and a permutation test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ablate.verdicts import runs_wording as wording
from ablate.verdicts.contrast import Rule, paired_contrast, with_power
from ablate.verdicts.expected import could_fail, held
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.samples import Question, Sample, Values, sample
from ablate.verdicts.sequential import Decided, Look, concluded, decide, with_holm
from ablate.verdicts.stats import Interval, holm, paired_interval, welch_interval
from ablate.verdicts.two_samples import (
    detectable_two_samples,
    permutation_above_p,
    permutation_p,
    permutation_tost_p,
    smallest_p,
    welch_above_p,
    welch_tost_p,
)
from ablate.verdicts.verdict import Contrast, Outcome, Verdict


def judge_runs(values: Values, question: Question) -> Judgement:
    """The verdicts on runs trained elsewhere.

    Args:
        values: arm -> seed -> the metric, finite; the control, at least one other arm, and at least one run of each.
        question: the control, the metric's direction, alpha, margin.

    Example:
        >>> runs = {"base": {s: 0.90 for s in range(6)}, "new": {s: 0.91 + 0.001 * s for s in range(6)}}
        >>> judge_runs(runs, Question(metric="acc", control="base", higher_is_better=True)).verdicts[0].outcome
        'better'
    """
    samples = [sample(values, arm, question) for arm in question.arms(values)]
    decided = decide_samples(samples, question)
    verdicts = tuple(
        verdict(contrast_of(one, decided[one.arm], question, len(samples)), decided[one.arm], question)
        for one in samples
    )
    floor = _floor(values, question)
    stands = floor is None or floor.outcome not in ("better", "worse")
    said = [
        *([] if stands or floor is None else [wording.floor_failed(floor)]),
        wording.UNKNOWN,
        *wording.comparison(samples, unpaired=question.unpaired),
        *wording.out_of_reach(samples, question.alpha),
        *([wording.floor_passed(floor)] if stands and floor is not None else []),
        *wording.pairing(verdicts),
        *wording.outliers(verdicts),
        *([] if question.margin else [wording.NO_MARGIN]),
    ]
    return Judgement(
        metric=question.metric,
        higher_is_better=question.higher_is_better,
        alpha=question.alpha,
        margin=question.margin,
        num_seeds=max(len(one.seeds) for one in samples),
        num_contrasts=len(samples),
        stands=stands,
        verdicts=verdicts if stands else tuple(one.withheld("these runs") for one in verdicts),
        noise_floor=floor,
        statements=tuple(sentence for sentence in said if sentence),
        method=wording.method(samples, no_worse=question.no_worse),
    )


def decide_samples(
    samples: Sequence[Sample], question: Question, num_contrasts: int | None = None
) -> dict[str, Decided]:
    """Where each contrast is: as in a study where all arms have the same pairs, else each alone and Holm over them.

    ``num_contrasts``: the size of the family, where it is larger: arms that cannot be judged count in it.
    """
    family = len(samples) if num_contrasts is None else num_contrasts
    first = samples[0]
    if all(one.paired and one.seeds == first.seeds for one in samples):
        return decide(
            {one.arm: one.differences for one in samples},
            (Look(len(first.seeds), 1.0),),
            alpha=question.alpha,
            margin=question.margin,
            num_contrasts=family,
            good=question.good,
        )
    alone = [_alone(one, question, family) for one in samples]
    differ = holm([*(one.adjusted_p for one in alone), *[1.0] * (family - len(samples))])
    found = {one.arm: replace(by, adjusted_p=p) for one, by, p in zip(samples, alone, differ, strict=False)}
    return {arm: concluded(by, question.alpha, question.good) for arm, by in with_holm(found, family).items()}


def _alone(one: Sample, question: Question, family: int) -> Decided:
    """One contrast by itself: p-values for no other contrast, a joint interval for the family by the union bound."""
    alpha = question.alpha
    look = Look(len(one.seeds), 1.0)
    if one.paired:
        rule = {one.arm: one.differences}
        found = decide(rule, (look,), alpha=alpha, margin=question.margin, num_contrasts=1, good=question.good)[one.arm]
        joint = paired_interval(one.differences, 1 - alpha / family)
        return replace(found, conclusion="open", also_different=False, joint=joint)
    p = permutation_p(one.values, one.against)
    tost, exact = _margin_tests(one, question)
    return Decided(
        conclusion="open",
        also_different=False,
        look=look,
        p=p,
        equivalence_p=max(tost, exact),
        adjusted_p=p,
        looks_tost_p=tost,
        looks_exact_p=exact,
        equivalence_holm_p=1.0,
        interval=welch_interval(one.values, one.against, 1 - alpha),
        joint=welch_interval(one.values, one.against, 1 - alpha / family),
    )


def _margin_tests(one: Sample, question: Question) -> tuple[float, float]:
    """P-values of the margin's tests of two samples: Welch's and its permutation twin; 1 without a margin."""
    if not question.margin:
        return 1.0, 1.0
    values, against, margin = one.values, one.against, question.margin
    if question.good is None:
        return welch_tost_p(values, against, margin), permutation_tost_p(values, against, margin)
    sides = (values + margin, against) if question.good == 1 else (against + margin, values)
    return welch_above_p(*sides), permutation_above_p(*sides)


def contrast_of(one: Sample, decided: Decided | None, question: Question, num_contrasts: int) -> Contrast:
    """Every number of a contrast; without adjusted p-values and power where nothing is ``decided`` from it."""
    plain = _paired(one, question) if one.paired else _unpaired(one, question, decided)
    if decided is None:
        return plain
    known = bool(question.margin)
    tost = _tost_interval(one, question.alpha) if known else Interval(None, None)
    contrast = replace(
        plain,
        joint_low=decided.joint.low,
        joint_high=decided.joint.high,
        tost_low=tost.low,
        tost_high=tost.high,
        adjusted_p=decided.adjusted_p,
        equivalence_p=decided.equivalence_p if known else None,
        equivalence_holm_p=decided.equivalence_holm_p if known else None,
    )
    if not one.paired:
        level = question.alpha / num_contrasts
        return replace(contrast, detectable=detectable_two_samples(one.values, one.against, level=level))
    rule = Rule(
        metric=question.metric,
        higher_is_better=question.higher_is_better,
        alpha=question.alpha,
        margin=question.margin,
        looks=(decided.look,),
        num_contrasts=num_contrasts,
        num_test=0,
        num_classes=0,
        no_worse=question.no_worse,
    )
    return with_power(contrast, rule, question.alpha, num_contrasts)


def _tost_interval(one: Sample, alpha: float) -> Interval:
    confidence = 1 - 2 * alpha
    if one.paired:
        return paired_interval(one.differences, confidence)
    return welch_interval(one.values, one.against, confidence)


def _paired(one: Sample, question: Question) -> Contrast:
    return paired_contrast(one.arm, question.metric, one.seeds, one.values, one.against, 1 - question.alpha)


def _unpaired(one: Sample, question: Question, decided: Decided | None) -> Contrast:
    interval = welch_interval(one.values, one.against, 1 - question.alpha)
    return Contrast(
        arm=one.arm,
        metric=question.metric,
        seeds=one.seeds,
        differences=(),
        control_mean=float(one.against.mean()),
        arm_mean=float(one.values.mean()),
        mean_difference=one.difference,
        sd_difference=None,
        correlation=None,
        low=interval.low,
        high=interval.high,
        p=permutation_p(one.values, one.against) if decided is None else decided.p,
        welch_low=interval.low,
        welch_high=interval.high,
        control_runs=one.against.size,
    )


def verdict(contrast: Contrast, decided: Decided, question: Question) -> Verdict:
    """What the numbers say about the arm, in the words of a study."""
    better = (contrast.mean_difference > 0) == question.higher_is_better
    direction: Outcome = "better" if better else "worse"
    outcome = direction if decided.conclusion == "different" else decided.conclusion
    outcome = "undecided" if outcome == "open" else outcome
    expected = question.expect.get(contrast.arm)
    tested = _could_fail(expected, contrast, question)
    return Verdict(
        arm=contrast.arm,
        outcome=outcome,
        why=wording.why(outcome, contrast, alpha=question.alpha, also_different=decided.also_different),
        contrast=contrast,
        expected=expected,
        held=held(expected, outcome, direction if decided.also_different else None) if tested else None,
        tested=tested,
    )


def _could_fail(expected: str | None, contrast: Contrast, question: Question) -> bool:
    """Whether so many runs can contradict the expectation at all."""
    if contrast.control_runs is None:
        return could_fail(expected, contrast.n, question.alpha)
    return smallest_p(contrast.n, contrast.control_runs) <= question.alpha or expected is None


def _floor(values: Values, question: Question) -> Verdict | None:
    """The arm that is the control again, in a family of its own; any difference counts, however small."""
    if not question.noise_floor:
        return None
    question = replace(question, no_worse=False)
    one = sample(values, question.noise_floor, question)
    found = decide_samples([one], question)[one.arm]
    if found.also_different:
        found = replace(found, conclusion="different")
    return verdict(contrast_of(one, found, question, 1), found, question)
