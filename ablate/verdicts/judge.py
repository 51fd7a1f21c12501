"""From the records of a campaign to its judgement, by the rule that the study fixed before the runs.

The rule, and why it is so, is explained for a sceptical reader in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ablate.design.arms import CONTROL, NOISE_FLOOR
from ablate.design.factors import fraction_of
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record
from ablate.design.sealed import SealedPlan
from ablate.verdicts import wording
from ablate.verdicts.contrast import Rule, describe, judged
from ablate.verdicts.expected import could_fail, held
from ablate.verdicts.explored import lucks
from ablate.verdicts.failures import failure_rates, outliers
from ablate.verdicts.family import decide_family, rules_of, seed_gain
from ablate.verdicts.gather import ArmResults, gather
from ablate.verdicts.judgement import CoPrimaryFindings, Judgement
from ablate.verdicts.power import seeds_to_reach
from ablate.verdicts.registration import levels_not_sealed, plan_as_sealed, registration
from ablate.verdicts.secondary import effects, exploratory, steps
from ablate.verdicts.sequential import Decided
from ablate.verdicts.stability import stability
from ablate.verdicts.statements import at_chance, covered, method, statements
from ablate.verdicts.tuning_luck import sensitivities
from ablate.verdicts.verdict import Contrast, Outcome, Verdict


def judge(
    plan: CampaignPlan,
    records: Mapping[str, Record],
    sealed: Sequence[SealedPlan] | None = None,
    replaced: Sequence[Record] = (),
) -> Judgement:
    """The judgement of a campaign.

    Args:
        plan: of the campaign.
        records: by trial key; a planned key without a record is a missing seed. Records of other trials are ignored.
        sealed: the sealed plans of the runs folder, an empty sequence where there are none. The judgement then says
            whether it was sealed before its trials, and has the sealed one with it where it was not. None: it says
            nothing about that.
        replaced: records that were set aside on purpose, so that their trials were trained again. The sealed judgement
            is of these, and not of those in their place.
    """
    found = _judgement(plan, records)
    if sealed is None:
        return found
    if found.stability is not None:
        why = levels_not_sealed(plan, sealed, records)
        found = replace(found, stability=replace(found.stability, exploratory=why))
    registered = registration(plan, sealed, records, replaced)
    if registered.is_confirmatory:
        return replace(found, registration=registered)
    before = None if registered.sealed is None else plan_as_sealed(plan, registered.sealed)
    first = {**records, **{one.key: one for one in replaced if one.status != "failed"}}
    return replace(
        found,
        registration=registered,
        as_sealed=None if before is None else _judgement(before, first),
        statements=(f"This judgement is {registered.sentence}.", *found.statements),
    )


def _judgement(plan: CampaignPlan, records: Mapping[str, Record]) -> Judgement:
    results = gather(plan, records)
    control = results[CONTROL]
    arms = [results[arm.name] for arm in plan.arms if arm.name not in (CONTROL, NOISE_FLOOR)]
    rules = rules_of(plan, len(arms))
    rule = rules[0]
    floor = _floor(results, rules)
    stands = floor is None or floor.outcome in ("equivalent", "undecided")
    decided = decide_family(arms, control, rules)
    expect = plan.study.expect
    verdicts = tuple(
        _verdict(arm, control, decided[rule.metric].get(arm.name), rule, expect.get(arm.name)) for arm in arms
    )
    co_primary = tuple(_co_primary(arms, control, decided[other.metric], other, verdicts) for other in rules[1:])
    if not stands:
        verdicts = tuple(verdict.withheld("this study") for verdict in verdicts)
        co_primary = tuple(
            replace(one, verdicts=tuple(verdict.withheld("this study") for verdict in one.verdicts), gains={})
            for one in co_primary
        )
    run = max([rule.looks[0].seeds, *(one.look.seeds for found in decided.values() for one in found.values())])
    every = (control, *arms, *([results[NOISE_FLOOR]] if floor else []))
    rates = {one.name: (one.diverged, min(one.planned, run)) for one in every} if any(o.diverged for o in every) else {}
    fraction = fraction_of(plan.study)
    table, checks = effects(plan, results, rule) if stands else ((), None)
    moved = sensitivities(plan, records)
    further = (
        *wording.lack_of_fit(checks, rule.alpha),
        *wording.tuning_luck(moved, rule.metric, rule.unit, tuned=rule.tuned, blocks=plan.study.tuning.blocks),
        *wording.search_luck(lucks(plan, records), rule.metric, rule.unit),
        *(() if fraction is None else (str(fraction),)),
    )
    failed = failure_rates(control, tuple(arms), run, {one.name: _collapsed(one, rule, run) for one in every})
    named = [replace(v, arm=f"{v.arm} in {one.metric}") for one in co_primary for v in one.verdicts]
    told = (*verdicts, *named)
    said = statements(told, floor, stands=stands, rates=rates, failed=failed, every=every, rule=rule, run=run)
    return Judgement(
        metric=rule.metric,
        unit=rule.unit,
        higher_is_better=rule.higher_is_better,
        alpha=rule.alpha,
        margin=rule.margin,
        num_seeds=run,
        num_contrasts=rule.num_contrasts,
        stands=stands,
        verdicts=verdicts,
        noise_floor=floor,
        statements=(*said, *further),
        divergence=rates,
        failure_rates=failed,
        co_primary=co_primary,
        exploratory=exploratory(plan, results, rule),
        steps=steps(plan, results, rule) if stands else (),
        effects=table,
        effect_checks=checks,
        sensitivities=moved,
        stability=stability(plan, records) if stands else None,
        method=f"{method(rule.looks, no_worse=rule.no_worse)} {covered(plan.study)}",
    )


def wanted(plan: CampaignPlan, records: Mapping[str, Record]) -> tuple[Trial, ...]:
    """The trials that the study needs so far, in the plan's order, those with a record included.

    All of them for an ordinary study. Under ``until = "settled"`` an arm that is decided gets no further seeds, an open
    one those of its next look; the control and the noise floor keep up with the arm that has most. When every one of
    these has a record, ask again; when the answer is the same, the campaign is done.
    """
    results = gather(plan, records)
    control = results[CONTROL]
    arms = [results[arm.name] for arm in plan.arms if arm.name not in (CONTROL, NOISE_FLOOR)]
    rules = rules_of(plan, len(arms))
    sizes = [look.seeds for look in rules[0].looks]
    num_seeds = {arm.name: sizes[0] for arm in arms}
    for found in decide_family(arms, control, rules).values():
        for name, one in found.items():
            later = [size for size in sizes if size > one.look.seeds]
            next_look = later[0] if one.conclusion == "open" and later else one.look.seeds
            num_seeds[name] = max(num_seeds[name], next_look)
    floor = _floor(results, rules)
    if floor is not None and floor.outcome in ("better", "worse"):  # nothing can stand any more
        num_seeds = {name: min(size, results[name].sound) for name, size in num_seeds.items()}
    most = max(num_seeds.values(), default=sizes[0])
    needed = {trial.key for arm in plan.arms for trial in plan.arm_trials(arm.name)[: num_seeds.get(arm.name, most)]}
    return tuple(trial for trial in plan.trials if trial.key in needed)


def _co_primary(
    arms: Sequence[ArmResults],
    control: ArmResults,
    decided: Mapping[str, Decided],
    rule: Rule,
    deciding: Sequence[Verdict],
) -> CoPrimaryFindings:
    """The verdicts in one co-primary metric; ``deciding``: those in the deciding one, in the same order."""
    verdicts = tuple(_verdict(arm, control, decided.get(arm.name), rule, None) for arm in arms)
    gains = {
        one.arm: seed_gain(first.contrast, one.contrast, rule.alpha)
        for first, one in zip(deciding, verdicts, strict=True)
        if first.contrast is not None and one.contrast is not None
    }
    return CoPrimaryFindings(
        metric=rule.metric,
        higher_is_better=rule.higher_is_better,
        margin=rule.margin,
        unit=rule.unit,
        verdicts=verdicts,
        gains={arm: gain for arm, gain in gains.items() if gain is not None},
    )


def _verdict(
    arm: ArmResults, control: ArmResults, decided: Decided | None, rule: Rule, expected: str | None
) -> Verdict:
    if decided is None:
        return Verdict(
            arm=arm.name,
            outcome="not judged",
            why=_why_not_judged(arm, control, rule),
            contrast=_chance_contrast(arm, control, rule),
            expected=expected,
        )
    contrast = judged(arm, control, decided, rule, rule.num_contrasts)
    broken = next((one for one in (arm, control) if one.fault and not one.missing), None)
    later = any(look.seeds > decided.look.seeds for look in rule.looks)
    if decided.conclusion == "open" and later and broken is not None:
        why = f"{broken.fault}, so that the next look cannot be taken; a seed is never dropped from one arm alone."
        return Verdict(arm=arm.name, outcome="not judged", why=why, contrast=contrast, expected=expected)
    outcome = _outcome(decided, contrast, rule)
    tested = could_fail(expected, decided.look.seeds, rule.alpha * decided.look.share)
    found = _direction(contrast, rule) if decided.also_different else None
    return Verdict(
        arm=arm.name,
        outcome=outcome,
        why=_why(outcome, contrast, decided, rule),
        contrast=contrast,
        expected=expected,
        held=held(expected, outcome, found) if tested else None,
        tested=tested,
        settled_at=decided.look.seeds if outcome != "undecided" and len(rule.looks) > 1 else None,
    )


def _outcome(decided: Decided, contrast: Contrast, rule: Rule) -> Outcome:
    if decided.conclusion == "open":
        return "undecided"
    if decided.conclusion in ("equivalent", "no worse"):
        return decided.conclusion
    return _direction(contrast, rule)


def _direction(contrast: Contrast, rule: Rule) -> Outcome:
    return "better" if (contrast.mean_difference > 0) == rule.higher_is_better else "worse"


def _why(outcome: Outcome, contrast: Contrast, decided: Decided, rule: Rule) -> str:
    alpha = rule.alpha * decided.look.share
    if outcome != "undecided":
        return wording.why_decided(
            outcome, contrast, margin=rule.margin, alpha=alpha, also_different=decided.also_different
        )
    return wording.why_undecided(contrast, margin=rule.margin, alpha=alpha, reach=seeds_to_reach(alpha))


def _why_not_judged(arm: ArmResults, control: ArmResults, rule: Rule) -> str:
    first = rule.looks[0].seeds
    if min(arm.sound, control.sound) >= first:
        at = [one.name for one in (control, arm) if at_chance((one,), first, rule)]
        alike = "are both" if len(at) > 1 else "is"
        return f"{' and '.join(at)} {alike} no better than chance on the test images, so there is nothing to compare."
    faults = [one.fault for one in (control, arm) if one.sound < first]
    again = (
        "Run the study again to fill the gap"
        if any(one.missing for one in (control, arm))
        else "The pair stays visible"
    )
    return f"{'; '.join(faults)}. {again}: a seed is never dropped from one arm alone."


def _chance_contrast(arm: ArmResults, control: ArmResults, rule: Rule) -> Contrast | None:
    """What was measured stays visible where only the chance level forbids a verdict."""
    first = rule.looks[0].seeds
    if min(arm.sound, control.sound) < first:
        return None
    found = describe(arm, control, rule.metric, first, 1 - rule.alpha * rule.looks[0].share)
    return replace(found, unit=rule.unit)


def _collapsed(arm: ArmResults, rule: Rule, run: int) -> int:
    """How many of the arm's seeds finished far worse than its others."""
    values = arm.values(rule.metric, min(arm.sound, run)) * (1 if rule.higher_is_better else -1)
    return sum(values[place] < np.median(values) for place in outliers(values))


def _floor(results: Mapping[str, ArmResults], rules: Sequence[Rule]) -> Verdict | None:
    """The A/A arm against the control: a family of its own, so alpha is not shared. Its pairs are by position.

    Of several metrics that decide, the first in which a difference is found; the study's own where there is none.
    """
    if NOISE_FLOOR not in results:
        return None
    floor, control = results[NOISE_FLOOR], results[CONTROL]
    rules = [replace(rule, no_worse=False, num_contrasts=len(rules)) for rule in rules]
    decided = decide_family([floor], control, rules)
    verdicts = [_floor_in(floor, control, decided[rule.metric].get(NOISE_FLOOR), rule) for rule in rules]
    return next((one for one in verdicts if one.outcome in ("better", "worse")), verdicts[0])


def _floor_in(floor: ArmResults, control: ArmResults, decided: Decided | None, rule: Rule) -> Verdict:
    verdict = _verdict(floor, control, decided, rule, None)
    if decided is not None and verdict.contrast is not None and decided.also_different:
        # An A/A difference is a fault of the harness or the design even where it is smaller than the margin.
        return replace(verdict, outcome=_direction(verdict.contrast, rule))
    return verdict
