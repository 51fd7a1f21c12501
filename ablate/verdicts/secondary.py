"""What is reported with the verdicts but decides none of them: further metrics, steps, factorial effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ablate.design.arms import CONTROL, NOISE_FLOOR
from ablate.design.plan import CampaignPlan
from ablate.verdicts.contrast import Rule, describe
from ablate.verdicts.factorial import crossed_levels, effect_checks, factorial_effects
from ablate.verdicts.gather import ArmResults
from ablate.verdicts.maxt import joint_intervals, step_down
from ablate.verdicts.statements import at_chance
from ablate.verdicts.verdict import Contrast, Effect, EffectChecks

Results = Mapping[str, ArmResults]


def exploratory(plan: CampaignPlan, results: Results, rule: Rule) -> tuple[Contrast, ...]:
    """The further metrics, unadjusted, over the seeds of the first look, where every one of them is a number."""
    n, control = rule.looks[0].seeds, results[CONTROL]
    arms = [results[arm.name] for arm in plan.arms if arm.name not in (CONTROL, NOISE_FLOOR)]
    return tuple(
        describe(arm, control, metric, n, 1 - rule.alpha)
        for metric in plan.study.decision.also
        if metric != rule.metric
        for arm in arms
        if min(arm.sound, control.sound) >= n and arm.measured(metric, n) and control.measured(metric, n)
    )


def steps(plan: CampaignPlan, results: Results, rule: Rule) -> tuple[Contrast, ...]:
    """Each arm against the one before it, in a study that goes from one net to another; adjusted over the steps."""
    n = rule.looks[0].seeds
    pairs = [(results[arm.name], results[arm.parent]) for arm in plan.arms if arm.name not in (CONTROL, NOISE_FLOOR)]
    if all(before.name == CONTROL for _, before in pairs):
        return ()
    found = [
        describe(arm, before, rule.metric, n, 1 - rule.alpha)
        for arm, before in pairs
        if min(arm.sound, before.sound) >= n
    ]
    if not found:
        return ()
    differences = np.column_stack([contrast.differences for contrast in found])
    absent = len(pairs) - len(found)
    joint = joint_intervals(differences, rule.alpha, absent=absent)
    return tuple(
        replace(contrast, adjusted_p=float(p), joint_low=interval.low, joint_high=interval.high)
        for contrast, p, interval in zip(found, step_down(differences, absent=absent), joint, strict=True)
    )


def effects(plan: CampaignPlan, results: Results, rule: Rule) -> tuple[tuple[Effect, ...], EffectChecks | None]:
    """Main effects and interactions of a factorial study, once each arm of the cross has the seeds of the first look.

    Over these seeds alone: how many more a study until settled gets depends on what was seen, and would bias them.
    """
    arms = [arm for arm in plan.arms if arm.factors]
    n = rule.looks[0].seeds
    if (
        not arms
        or min(results[arm.name].sound for arm in arms) < n
        or at_chance(tuple(results[arm.name] for arm in arms), n, rule)
    ):
        return (), None
    levels = crossed_levels(plan)
    cells = [arm.factors for arm in arms]
    values = np.array([results[arm.name].values(rule.metric, n) for arm in arms])
    table = factorial_effects(
        cells,
        values,
        levels=levels,
        alpha=rule.alpha,
        margin=rule.margin,
        higher_is_better=rule.higher_is_better,
        expect=plan.study.expect,
    )
    return table, effect_checks(cells, values, levels=levels)
