"""When each contrast is decided, over one look or several, with the error rate held over all of them.

The looks are fixed beforehand. Look k may spend the share w_k of alpha, where the shares follow the power family
spending function t^2 of Kim & DeMets 1987 (Biometrika 74) at t = seeds so far / most seeds, and sum to 1. A look at
which the exact test could not reach its level anyway is not taken; what it would have spent goes to the next. At look k
the family is tested at alpha w_k: differences by step-down max-T over joint sign flips, equivalences by Holm's
procedure. The union bound over the looks then holds the family-wise error at alpha over all of them, whatever the
dependence between looks and however few the seeds. The intervals at look k have confidence 1 - alpha w_k (repeated
confidence intervals), so that they cover with at least 1 - alpha whenever one stops. One look with share 1 is the
ordinary study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ablate.design.study import Plan
from ablate.verdicts.maxt import joint_intervals, step_down
from ablate.verdicts.power import reachable
from ablate.verdicts.stats import (
    Floats,
    Interval,
    exact_equivalence_p,
    holm,
    paired_interval,
    sign_flip_above_p,
    sign_flip_p,
    t_above_p,
    tost_p,
)

SPENDING_POWER = 2.0


@dataclass(frozen=True)
class Look:
    """A planned look: after ``seeds`` paired seeds, with the ``share`` (0 to 1) of alpha that it may spend."""

    seeds: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What the looks so far say of one contrast.

    Attributes:
        conclusion: "different" (with the sign of the mean difference), "equivalent" (or "no worse"), or "open".
        also_different: equivalent (or no worse), and different from zero too: a difference smaller than the margin.
        look: the look at which it was decided, or the last look taken.
        p, equivalence_p: at that look, not adjusted: the exact p, and the larger p of the equivalence tests.
        adjusted_p: over the looks taken and the contrasts, by step-down max-T.
        looks_tost_p, looks_exact_p: of the equivalence tests, over the looks taken, before Holm.
        equivalence_holm_p: over the looks taken and the contrasts.
        interval, joint: of the mean difference at confidence 1 - alpha x the look's share, for this contrast alone and
            for all contrasts of the look together.
    """

    conclusion: Literal["different", "equivalent", "no worse", "open"]
    also_different: bool
    look: Look
    p: float
    equivalence_p: float
    adjusted_p: float
    looks_tost_p: float
    looks_exact_p: float
    equivalence_holm_p: float
    interval: Interval
    joint: Interval


def planned_looks(plan: Plan, *, alpha: float) -> tuple[Look, ...]:
    """One look after ``seeds``; under ``until = "settled"`` after every further ``block`` too, up to ``max_seeds``.

    Looks at which no arm could be decided (see above) are left out, but never the last.
    """
    if plan.until == "planned" or plan.max_seeds is None:
        return (Look(plan.seeds, 1.0),)
    sizes = [*range(plan.seeds, plan.max_seeds, plan.block), plan.max_seeds]
    looks: list[Look] = []
    spent = 0.0
    for size in sizes:
        share = (size / plan.max_seeds) ** SPENDING_POWER - spent
        if size == plan.max_seeds or reachable(size, alpha * share):
            looks.append(Look(size, share))
            spent += share
    return tuple(looks)


def decide(
    differences: Mapping[str, Floats],
    looks: Sequence[Look],
    *,
    alpha: float,
    margin: float,
    num_contrasts: int,
    good: Literal[1, -1] | None = None,
) -> dict[str, Decided]:
    """Takes every look that the data allow, in order, and leaves out what an earlier look has decided.

    Args:
        differences: arm -> paired differences (n,) in the order of the seeds; an arm takes part in the looks with at
            most n seeds and is left out of the answer when there is none.
        looks: as planned, ascending.
        alpha: family-wise error of differences, and, separately, of equivalences.
        margin: of equivalence, in the unit of the differences.
        good: None: equivalence is asked for. 1 or -1, the sign of a good difference: "no worse" is, by the margin.
        num_contrasts: the family's size as planned; contrasts that could not be judged count in it with p = 1.

    Returns:
        arm -> where it stands.
    """
    state: dict[str, Decided] = {}
    for look in looks:
        open_arms = [
            arm
            for arm, d in differences.items()
            if d.size >= look.seeds and (arm not in state or state[arm].conclusion == "open")
        ]
        if not open_arms:
            continue
        different = sum(one.conclusion == "different" or one.also_different for one in state.values())
        absent = max(0, num_contrasts - different - len(open_arms))
        taken = np.column_stack([differences[arm][: look.seeds] for arm in open_arms])
        joint = joint_intervals(taken, alpha * look.share, absent=absent)
        for arm, p, interval in zip(open_arms, step_down(taken, absent=absent), joint, strict=True):
            now = _at(differences[arm][: look.seeds], look, alpha=alpha, margin=margin, good=good)
            now = replace(now, adjusted_p=max(now.p, float(p)) / look.share, joint=interval)
            state[arm] = _since(now, state.get(arm))
        state = with_holm(state, num_contrasts)
        for arm in open_arms:
            state[arm] = concluded(state[arm], alpha, good)
    return state


def _at(d: Floats, look: Look, *, alpha: float, margin: float, good: Literal[1, -1] | None) -> Decided:
    if good is None:
        tost, exact = tost_p(d, margin), exact_equivalence_p(d, margin)
    else:
        tost, exact = t_above_p(good * d + margin), sign_flip_above_p(good * d + margin)
    interval = paired_interval(d, 1 - alpha * look.share)
    return Decided(
        conclusion="open",
        also_different=False,
        look=look,
        p=sign_flip_p(d),
        equivalence_p=max(tost, exact),
        adjusted_p=1.0,
        looks_tost_p=tost / look.share,
        looks_exact_p=exact / look.share,
        equivalence_holm_p=1.0,
        interval=interval,
        joint=interval,
    )


def _since(now: Decided, before: Decided | None) -> Decided:
    """With the smallest p of this look and those before."""
    earlier = (1.0, 1.0, 1.0) if before is None else (before.adjusted_p, before.looks_tost_p, before.looks_exact_p)
    return replace(
        now,
        adjusted_p=min(now.adjusted_p, earlier[0]),
        looks_tost_p=min(now.looks_tost_p, earlier[1]),
        looks_exact_p=min(now.looks_exact_p, earlier[2]),
    )


def with_holm(state: Mapping[str, Decided], num_contrasts: int) -> dict[str, Decided]:
    """The adjusted equivalence p: Holm over the t tests, and never below the contrast's own exact p."""
    rest = [1.0] * (num_contrasts - len(state))
    shown = holm([*(one.looks_tost_p for one in state.values()), *rest])
    return {
        arm: replace(one, equivalence_holm_p=max(p, one.looks_exact_p))
        for (arm, one), p in zip(state.items(), shown, strict=False)
    }


def concluded(one: Decided, alpha: float, good: Literal[1, -1] | None = None) -> Decided:
    """What the adjusted p-values and the interval support; equivalence goes before a difference."""
    different = one.adjusted_p <= alpha and one.interval.excludes_zero
    is_better = different and good is not None and good * (one.interval.low or 0.0) > 0
    if one.equivalence_holm_p <= alpha and not is_better:
        return replace(one, conclusion="equivalent" if good is None else "no worse", also_different=different)
    return replace(one, conclusion="different") if different else one
