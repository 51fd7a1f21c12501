"""When each contrast is decided, over one look or several, with the error rate held over all of them.

The looks are fixed beforehand. Look k may spend the share w_k of alpha, where the shares follow the power family
spending function t^2 of Kim & DeMets 1987 (Biometrika 74) at t = seeds so far / most seeds, and sum to 1. A look at
which the exact test could not reach its level anyway is not taken; what it would have spent goes to the next. A p-value
after looks 1..k is min over j <= k of p_j / w_j. By the union bound it is a valid p-value whatever the dependence
between looks and however few the seeds, since each p_j is exact; so Holm over the contrasts holds the family-wise error
at alpha over all looks together. The interval shown at look k has confidence 1 - alpha w_k (a repeated confidence
interval), so it covers with at least 1 - alpha whenever one stops. One look with share 1 is the ordinary study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ablate.design.study import Plan
from ablate.verdicts.power import reachable
from ablate.verdicts.stats import Floats, Interval, equivalence_p, holm, paired_interval, sign_flip_p

SPENDING_POWER = 2.0


@dataclass(frozen=True)
class Look:
    """A planned look: after ``seeds`` paired seeds, with the ``share`` (0 to 1) of alpha that it may spend."""

    seeds: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Decided:
    """Where one contrast stands.

    Attributes:
        finding: "different" (with the sign of the mean difference), "equivalent", or "open".
        also_different: equivalent, and different from zero too: a difference smaller than the margin.
        look: the look at which it was decided, or the last look taken.
        p, equivalence_p: exact p at that look, not adjusted.
        looks_p, looks_equivalence_p: over the looks taken, before Holm.
        holm_p, equivalence_holm_p: over the looks taken and the contrasts.
        interval: at confidence 1 - alpha x the look's share.
    """

    finding: Literal["different", "equivalent", "open"]
    also_different: bool
    look: Look
    p: float
    equivalence_p: float
    looks_p: float
    looks_equivalence_p: float
    holm_p: float
    equivalence_holm_p: float
    interval: Interval


def planned_looks(plan: Plan, *, alpha: float, num_contrasts: int) -> tuple[Look, ...]:
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
        if size == plan.max_seeds or reachable(size, alpha * share, max(1, num_contrasts)):
            looks.append(Look(size, share))
            spent += share
    return tuple(looks)


def decide(
    differences: Mapping[str, Floats], looks: Sequence[Look], *, alpha: float, margin: float, num_contrasts: int
) -> dict[str, Decided]:
    """Takes every look that the data allow, in order, and leaves out what an earlier look has decided.

    Args:
        differences: arm -> paired differences (n,) in the order of the seeds; an arm takes part in the looks with at
            most n seeds and is left out of the answer when there is none.
        looks: as planned, ascending.
        alpha: family-wise error of differences, and, separately, of equivalences.
        margin: of equivalence, in the unit of the differences.
        num_contrasts: the family's size as planned; contrasts that could not be judged count in it with p = 1.

    Returns:
        arm -> where it stands.
    """
    state: dict[str, Decided] = {}
    for look in looks:
        open_arms = [
            arm
            for arm, d in differences.items()
            if d.size >= look.seeds and (arm not in state or state[arm].finding == "open")
        ]
        for arm in open_arms:
            state[arm] = _at(differences[arm][: look.seeds], look, state.get(arm), alpha=alpha, margin=margin)
        state = _adjusted(state, num_contrasts)
        for arm in open_arms:
            state[arm] = settled(state[arm], alpha)
    return state


def _at(d: Floats, look: Look, before: Decided | None, *, alpha: float, margin: float) -> Decided:
    p, q = sign_flip_p(d), equivalence_p(d, margin)
    return Decided(
        finding="open",
        also_different=False,
        look=look,
        p=p,
        equivalence_p=q,
        looks_p=min(1.0, p / look.share, before.looks_p if before else 1.0),
        looks_equivalence_p=min(1.0, q / look.share, before.looks_equivalence_p if before else 1.0),
        holm_p=1.0,
        equivalence_holm_p=1.0,
        interval=paired_interval(d, 1 - alpha * look.share),
    )


def _adjusted(state: Mapping[str, Decided], num_contrasts: int) -> dict[str, Decided]:
    rest = [1.0] * (num_contrasts - len(state))
    differ = holm([*(one.looks_p for one in state.values()), *rest])
    equal = holm([*(one.looks_equivalence_p for one in state.values()), *rest])
    return {
        arm: replace(one, holm_p=p, equivalence_holm_p=q)
        for (arm, one), p, q in zip(state.items(), differ, equal, strict=False)
    }


def settled(one: Decided, alpha: float) -> Decided:
    """The finding that the adjusted p-values and the interval support; equivalence goes before a difference."""
    different = one.holm_p <= alpha and one.interval.excludes_zero
    if one.equivalence_holm_p <= alpha:
        return replace(one, finding="equivalent", also_different=different)
    return replace(one, finding="different") if different else one
