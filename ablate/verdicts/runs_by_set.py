"""Runs on several data sets: the contrast on each, and the question over all of them.

One data set is one unit. An arm is different when the exact sign-flip p of the data sets' mean differences, adjusted
over the arms, is at most alpha and the random-effects interval of the mean lies on one side of zero. What holds on
these data sets need not hold on the next: the prediction interval says where the effect on a new one is expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ablate.verdicts import runs_wording as wording
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.random_effects import Pooled, pooled
from ablate.verdicts.runs import contrast_of, decide_samples, verdict
from ablate.verdicts.samples import Question, Sample, Values, sample
from ablate.verdicts.sequential import Decided
from ablate.verdicts.stats import spread
from ablate.verdicts.verdict import Verdict

METHOD = (
    "Over data sets: the mean of a random-effects model (variance between data sets by REML, interval after Hartung "
    "and Knapp). Better and worse: the exact two-sided sign-flip p of the data sets' mean differences, each data set "
    "one unit, adjusted over the arms, is at most alpha, and the interval of the mean does not contain zero. "
    "Equivalent (no worse): the tests against the margin on the same units, and the interval of the mean at "
    "1 - 2 alpha is within the margin (on the good side of it). The contrasts of single data sets are not adjusted; "
    "no verdict rests on one of them alone."
)


@dataclass(frozen=True)
class _Arm:
    """An arm on every data set where it ran: the sample of each, and their random-effects mean or why there is none."""

    name: str
    samples: Mapping[str, Sample]
    pooled: Pooled | None
    fault: str

    @property
    def units(self) -> Sample:
        """The data sets' mean differences as pairs, one a data set."""
        means = np.array([one.difference for one in self.samples.values()])
        return Sample(self.name, tuple(range(means.size)), means, np.zeros_like(means), paired=True)


def judge_sets(values: Mapping[str, Values], question: Question) -> Judgement:
    """The verdicts over data sets, and the contrast of each arm on each of them.

    Args:
        values: data set -> arm -> seed -> the metric; the control has runs on every data set.
        question: the control, the metric's direction, alpha, margin. A noise floor is not judged here.
    """
    names = dict.fromkeys(arm for runs in values.values() for arm in question.arms(runs))
    arms = [_arm(name, values, question) for name in names]
    sound = [one for one in arms if one.pooled is not None]
    decided = decide_samples([one.units for one in sound], question, len(arms)) if sound else {}
    verdicts = tuple(_verdict(one, decided.get(one.name), question, len(arms)) for one in arms)
    said = [
        wording.UNKNOWN,
        *_statements(values, arms),
        *wording.out_of_reach([one.units for one in arms], question.alpha),
        *([] if question.margin else [wording.NO_MARGIN]),
    ]
    return Judgement(
        metric=question.metric,
        higher_is_better=question.higher_is_better,
        alpha=question.alpha,
        margin=question.margin,
        num_seeds=max(len(one.seeds) for arm in arms for one in arm.samples.values()),
        num_contrasts=len(arms),
        stands=True,
        verdicts=verdicts,
        statements=tuple(said),
        per_set=tuple(
            replace(contrast_of(one, None, question, 1), data_set=name)
            for arm in arms
            for name, one in arm.samples.items()
        ),
        method=METHOD,
    )


def _arm(name: str, values: Mapping[str, Values], question: Question) -> _Arm:
    samples = {data_set: sample(runs, name, question) for data_set, runs in values.items() if name in runs}
    errors = {data_set: one.standard_error for data_set, one in samples.items()}
    unknown = [data_set for data_set, error in errors.items() if not error]
    if len(samples) < 2:
        return _Arm(name, samples, None, f"ran on one data set alone ({next(iter(samples))}), which cannot be pooled.")
    if unknown:
        why = "a single pair, or differences without any spread, give no standard error to weight a data set with."
        return _Arm(name, samples, None, f"{', '.join(unknown)}: {why}")
    found = pooled(
        [one.difference for one in samples.values()],
        [error for error in errors.values() if error],
        confidence=1 - question.alpha,
    )
    return _Arm(name, samples, found, "")


def _verdict(arm: _Arm, decided: Decided | None, question: Question, num_contrasts: int) -> Verdict:
    if decided is None or arm.pooled is None:
        return Verdict(arm=arm.name, outcome="not judged", why=arm.fault, expected=question.expect.get(arm.name))
    found = _agreed(decided, arm.pooled, arm, question)
    plain = contrast_of(arm.units, found, question, num_contrasts)
    samples = arm.samples.values()
    contrast = replace(
        plain,
        seeds=(),
        control_mean=float(np.mean([one.against.mean() for one in samples])),
        arm_mean=float(np.mean([one.values.mean() for one in samples])),
        mean_difference=arm.pooled.mean,
        sd_difference=spread(arm.units.values),
        correlation=None,
        low=arm.pooled.low,
        high=arm.pooled.high,
        joint_low=None,
        joint_high=None,
        tost_low=None,
        tost_high=None,
        welch_low=None,
        welch_high=None,
        repeat_low=None,
        repeat_high=None,
        pairing_helps=None,
        outliers=(),
        asymmetric=None,
        detectable=None,
        seeds_to_settle=None,
        pooled=arm.pooled,
    )
    return verdict(contrast, found, question)


def _agreed(decided: Decided, found: Pooled, arm: _Arm, question: Question) -> Decided:
    """The conclusion, where the random-effects mean supports it; else nothing is decided."""
    if decided.conclusion == "different":
        same_side = found.interval.excludes_zero and (found.mean > 0) == (arm.units.difference > 0)
        return decided if same_side else replace(decided, conclusion="open")
    if decided.conclusion == "open":
        return decided
    errors = [one.standard_error or 0.0 for one in arm.samples.values()]
    means = [one.difference for one in arm.samples.values()]
    inner = pooled(means, errors, confidence=1 - 2 * question.alpha)
    below, above = -question.margin < inner.low, inner.high < question.margin
    within = {None: below and above, 1: below, -1: above}[question.good]
    return decided if within else replace(decided, conclusion="open", also_different=False)


def _statements(values: Mapping[str, Values], arms: list[_Arm]) -> list[str]:
    told = []
    for arm in arms:
        if len(arm.samples) < len(values):
            absent = ", ".join(name for name in values if name not in arm.samples)
            told.append(f"{arm.name} has no runs on {absent}; it is judged over the other data sets.")
        left_out = [name for name, one in arm.samples.items() if one.left_out]
        if left_out:
            told.append(
                f"{arm.name}: seeds that ran for only one of arm and control are left out on {', '.join(left_out)}."
            )
        if arm.pooled is not None:
            told.append(_heterogeneity(arm.name, arm.pooled))
    return told


def _heterogeneity(arm: str, found: Pooled) -> str:
    """How far the effect differs between data sets, and what that says of a new one."""
    spread_between = (
        f"{arm}: between data sets the effect varies with a standard deviation of {wording.number(found.tau)} "
        f"({100 * found.i_squared:.0f} % of the variance)"
    )
    if found.prediction_low is None or found.prediction_high is None:
        return f"{spread_between}; two data sets are too few to predict the effect on a new one."
    low, high = (wording.number(end, signed=True) for end in (found.prediction_low, found.prediction_high))
    return f"{spread_between}; on a new data set it is expected between {low} and {high}."
