"""What a study can find, said before it trains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.design.arms import CONTROL, NOISE_FLOOR
from ablate.design.decision import Decision
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.verdicts import power
from ablate.verdicts.contrast import describe
from ablate.verdicts.gather import gather
from ablate.verdicts.priors import prior, upper_sd
from ablate.verdicts.sequential import Look, planned_looks
from ablate.verdicts.verdict import Contrast
from ablate.verdicts.wording import amount

FEWEST_PAIRS = 3  # of a spread that anything is planned with


@dataclass(frozen=True, kw_only=True)
class PowerAnalysis:
    """What the planned seeds can detect.

    Attributes:
        seeds, num_contrasts: paired seeds (the most that there can be) and the size of the family.
        alpha: of the last look.
        sd: standard deviation of paired differences that is counted with; ``source`` says where it comes from.
        margin_power, exaggeration: probability (0 to 1) that a true difference of the margin is found, and how many
            times its size it then seems on average (None where it is hardly ever found).
        detectable: the smallest true difference found with 80 % power, in the metric's unit; None when the
            exact test cannot reach its level with so few seeds.
        equivalence_power: probability (0 to 1) that an arm without any difference is shown equivalent, or no
            worse where the study asks that.
        seeds_to_reach: the fewest seeds at which the exact test can reach its level at all; None: no number of them.
        seeds_to_settle: seeds that settle a difference of the margin, or none, with 80 % power; None above 10,000.
        detectable_effect: of a factorial study of two-level factors: the smallest main effect or interaction found with
            80 % power; else None.
        looks: seeds after which a study that runs until it is settled looks; one for an ordinary study.
        sentences: the same for people; what is out of reach comes first.
    """

    seeds: int
    num_contrasts: int
    alpha: float
    sd: float
    source: str
    margin_power: float
    exaggeration: float | None
    detectable: float | None
    equivalence_power: float
    seeds_to_reach: int | None
    seeds_to_settle: int | None
    detectable_effect: float | None
    looks: tuple[int, ...]
    sentences: tuple[str, ...]


def analyse_power(plan: CampaignPlan, seen: Sequence[Contrast] = ()) -> PowerAnalysis:
    """What the plan's seeds can find.

    Args:
        plan: of the campaign.
        seen: contrasts so far, of this study or one like it. The largest standard deviation counts, at its upper 80 %
            confidence limit, so that the promise holds for every arm. Empty: a stated prior for accuracies, the margin
            for losses.
    """
    decision = plan.study.decision
    arms = plan.to_find + sum(arm.name not in (CONTROL, NOISE_FLOOR) for arm in plan.arms)
    num_contrasts = max(1, arms) * len(decision.metrics)
    looks = planned_looks(plan.study.plan, alpha=decision.alpha)
    last = looks[-1]
    alpha = decision.alpha * last.share
    sd, source = _noise(plan, seen)
    detectable = power.detectable(last.seeds, sd, alpha=alpha, num_contrasts=num_contrasts)
    no_worse = decision.ask == "no_worse"
    to_settle = power.seeds_to_settle(decision.margin, sd, alpha=alpha, num_contrasts=num_contrasts, no_worse=no_worse)
    to_reach = power.seeds_to_reach(alpha)
    probability = power.no_worse_power if no_worse else power.equivalence_power
    shown = probability(decision.margin, sd, last.seeds, alpha=alpha, num_contrasts=num_contrasts)
    effect = _detectable_effect(plan, looks[0].seeds, sd)
    counted = f"{num_contrasts} contrast{'s' if num_contrasts > 1 else ''}"
    spread = f"differences that vary by {amount(sd, decision.metric, decision.unit)} (standard deviation; {source})"
    margin = amount(decision.margin, decision.metric, decision.unit)
    first = out_of_reach(plan)
    if detectable is not None:
        found = amount(detectable, decision.metric, decision.unit)
        first = f"{last.seeds} seeds and {counted} find a difference of {found} or more with 80 % power, for {spread}."
    settled = f"{'more than 10,000' if to_settle is None else f'about {to_settle}'} seeds"
    second = (
        f"An arm without any difference is shown {'no worse by' if no_worse else 'equivalent within'} "
        f"{margin} with "
        f"{100 * shown:.0f} % probability; {settled} would settle a difference of that size, or none."
    )
    size = decision.margin / sd if sd else math.inf
    margin_power = 1.0 if sd == 0 else power.power(size, last.seeds, alpha=alpha, num_contrasts=num_contrasts)
    exaggeration = power.exaggeration(size, last.seeds, alpha=alpha, num_contrasts=num_contrasts) if sd else 1.0
    return PowerAnalysis(
        seeds=last.seeds,
        num_contrasts=num_contrasts,
        alpha=alpha,
        sd=sd,
        source=source,
        margin_power=margin_power,
        exaggeration=exaggeration,
        detectable=detectable,
        equivalence_power=shown,
        seeds_to_reach=to_reach,
        seeds_to_settle=to_settle,
        detectable_effect=effect,
        looks=tuple(look.seeds for look in looks),
        sentences=(
            first,
            second,
            *_exaggeration_sentence(margin_power, exaggeration, margin),
            *_effect_sentence(effect, decision),
            *_looks_sentence(looks),
        ),
    )


def seen_contrasts(plan: CampaignPlan, records: Mapping[str, Record]) -> tuple[Contrast, ...]:
    """The contrasts of the pairs that have records so far, three or more of an arm: what they say of the spread."""
    results, metric = gather(plan, records), plan.study.decision.metric
    control = results[CONTROL]
    pairs = {name: min(one.sound, control.sound) for name, one in results.items() if name != CONTROL}
    return tuple(
        describe(results[name], control, metric, n, 1 - plan.study.decision.alpha)
        for name, n in pairs.items()
        if n >= FEWEST_PAIRS
    )


def out_of_reach(plan: CampaignPlan) -> str:
    """A sentence if the plan has too few seeds for the exact test to reach its level at all; else empty. Quick."""
    decision = plan.study.decision
    last = planned_looks(plan.study.plan, alpha=decision.alpha)[-1]
    alpha = decision.alpha * last.share
    if power.reachable(last.seeds, alpha):
        return ""
    reach = power.seeds_to_reach(alpha)
    needed = "any number of seeds" if reach is None else f"fewer than {reach}"
    return (
        f"{last.seeds} seed{'s are' if last.seeds > 1 else ' is'} too few: the exact test cannot reach its level with "
        f"{needed}, so no arm can come out better or worse."
    )


def _noise(plan: CampaignPlan, seen: Sequence[Contrast]) -> tuple[float, str]:
    decision = plan.study.decision
    if any(one.sd_difference is not None for one in seen):
        largest = max(upper_sd(one.sd_difference, one.n) for one in seen if one.sd_difference is not None)
        return largest, "upper 80 % confidence limit of the largest seen so far"
    if decision.metric.endswith("accuracy") and not plan.study.own_training:
        known = prior(plan)
        return known.sd, known.source
    return decision.margin, f"assumed as large as the margin, since nothing is known beforehand of {decision.metric}"


def _detectable_effect(plan: CampaignPlan, num_seeds: int, sd: float) -> float | None:
    num_arms = sum(bool(arm.factors) for arm in plan.arms)
    num_factors = len(plan.study.levels)
    if not num_arms or any(len(levels) != 2 for levels in plan.study.levels.values()):
        return None
    num_effects = min(num_factors * (num_factors + 1) // 2, num_arms - 1)
    return power.detectable_factorial(num_arms, num_seeds, num_effects, sd, alpha=plan.study.decision.alpha)


def _exaggeration_sentence(margin_power: float, exaggeration: float | None, margin: str) -> tuple[str, ...]:
    if exaggeration is None or margin_power >= power.POWER:
        return ()
    found = f"A true difference of {margin} is found with {100 * margin_power:.0f} % power"
    return (f"{found}; where it is found, it seems {exaggeration:.1f} times as large as it is, on average.",)


def _effect_sentence(effect: float | None, decision: Decision) -> tuple[str, ...]:
    if effect is None:
        return ()
    size = amount(effect, decision.metric, decision.unit)
    return (
        f"Main effects and interactions rest on all arms together: they are found from {size} on, with the same power.",
    )


def _looks_sentence(looks: Sequence[Look]) -> tuple[str, ...]:
    if len(looks) == 1:
        return ()
    sizes = ", ".join(str(look.seeds) for look in looks)
    return (f"The study looks after {sizes} seeds and stops giving seeds to an arm once it is decided.",)
