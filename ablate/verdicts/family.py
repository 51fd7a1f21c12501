"""The contrasts of a study as one family: every arm in every metric that the study declared to decide.

A study may declare co-primary metrics beside the deciding one, each with a margin of its own. Their contrasts and the
deciding metric's are one family: step-down max-T and Holm run over all of them, so that the probability of any wrong
claim in any of the metrics is at most alpha. A joint sign flip turns all metrics of a seed together and so keeps their
dependence: a metric that says the same as another one costs little power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ablate.design.plan import CampaignPlan
from ablate.verdicts.contrast import Rule
from ablate.verdicts.gather import ArmResults
from ablate.verdicts.judgement import SeedGain
from ablate.verdicts.sequential import Decided, decide
from ablate.verdicts.statements import at_chance
from ablate.verdicts.stats import Interval, correlation, t_quantile
from ablate.verdicts.verdict import Contrast

Found = dict[str, dict[str, Decided]]  # metric -> arm -> where it is


def rules_of(plan: CampaignPlan, num_arms: int) -> tuple[Rule, ...]:
    """A rule for each metric that decides, the study's own first; ``num_contrasts`` counts the arms in all of them."""
    decision = plan.study.decision
    family = num_arms * (1 + len(decision.co_primary))
    main = Rule.of(plan, higher_is_better=decision.wants_high, num_contrasts=family)
    return (
        main,
        *(
            replace(
                main,
                metric=name,
                higher_is_better=decision.wants_high_of(name),
                margin=one.margin,
                unit=one.unit,
            )
            for name, one in decision.co_primary.items()
        ),
    )


def decide_family(arms: Sequence[ArmResults], control: ArmResults, rules: Sequence[Rule]) -> Found:
    """Where each arm is in each metric.

    Arms that have too few sound pairs for the first look, or are at chance there, or whose control is, have no entry.

    Args:
        arms: without the control.
        control: what they are compared with.
        rules: of every metric; the first one's looks, alpha and size of the family hold for all.
    """
    main = rules[0]
    first = main.looks[0].seeds
    sound = {arm.name: min(arm.sound, control.sound) for arm in arms}
    judged = [arm for arm in arms if sound[arm.name] >= first and not at_chance((arm, control), first, main)]
    scales = {rule.metric: _scale(rule, main) for rule in rules}
    found = decide(
        {
            f"{arm.name}:{rule.metric}": (
                arm.values(rule.metric, sound[arm.name]) - control.values(rule.metric, sound[arm.name])
            )
            / scales[rule.metric]
            for rule in rules
            for arm in judged
        },
        main.looks,
        alpha=main.alpha,
        margin=main.margin,
        num_contrasts=main.num_contrasts,
        good=main.good,
    )
    return {
        rule.metric: {arm.name: _rescaled(found[f"{arm.name}:{rule.metric}"], scales[rule.metric]) for arm in judged}
        for rule in rules
    }


def _scale(rule: Rule, main: Rule) -> float:
    """What differences are divided by, so that every metric has the deciding one's margin and direction."""
    return rule.margin / main.margin * (1 if rule.higher_is_better == main.higher_is_better else -1)


def _rescaled(decided: Decided, scale: float) -> Decided:
    return replace(decided, interval=_times(decided.interval, scale), joint=_times(decided.joint, scale))


def _times(interval: Interval, scale: float) -> Interval:
    if interval.low is None or interval.high is None:
        return interval
    ends = sorted((interval.low * scale, interval.high * scale))
    return Interval(*ends)


def seed_gain(deciding: Contrast, other: Contrast, alpha: float) -> SeedGain | None:
    """How many times as many seeds the deciding metric needs to find its difference as the other one does.

    The ratio of the squared effects in standard deviations, (mean / sd)^2, with an interval by the delta method on its
    logarithm and Student's quantile (simulated in docs/verdict_simulations.md). None where either difference was not
    found, or does not vary: the ratio of two effects that may be zero says nothing.

    Args:
        deciding: an arm's contrast in the deciding metric.
        other: the same arm's in another one, over the same seeds.
        alpha: the interval has confidence 1 - alpha.
    """
    both = (deciding, other)
    if deciding.seeds != other.seeds or any(
        not one.sd_difference or one.adjusted_p is None or one.adjusted_p > alpha for one in both
    ):
        return None
    n = deciding.n
    sizes = [one.mean_difference / (one.sd_difference or 1.0) for one in both]
    r = correlation(deciding.differences, other.differences) or 0.0
    if math.prod(sizes) == 0:
        return None
    inverse = [1 / size for size in sizes]
    spread = (inverse[0] ** 2 + inverse[1] ** 2 - 2 * r * inverse[0] * inverse[1]) / n + (1 - r * r) / (n - 1)
    reach = math.exp(t_quantile(1 - alpha, n - 1) * 2 * math.sqrt(spread))
    ratio = (sizes[1] / sizes[0]) ** 2
    return SeedGain(ratio=ratio, low=ratio / reach, high=ratio * reach)
