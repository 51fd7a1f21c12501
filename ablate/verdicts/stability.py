"""Whether a contrast holds at other levels of a field: the study's epochs, width, data, or another data set.

At every level the contrasts are judged by the study's rule, each level's family at the study's alpha. That an arm is
worse at every level is said where it is found worse at each of them: a test of "at some level it is not", whose error
is at most alpha because each single test's is (intersection-union, Berger 1982, Technometrics 24). Whether two levels
differ is tested on differences of differences, seed by seed, over all contrasts and pairs of levels by step-down max-T,
at an alpha of its own. No verdict of the study rests on any of this.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ablate.design.arms import CONTROL, NOISE_FLOOR
from ablate.design.levels import DATA_SETS, all_levels, moved_field, own_level
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.design.study import Level
from ablate.verdicts.contrast import Rule
from ablate.verdicts.factorial import crossed_levels, effects_by_seed
from ablate.verdicts.gather import ArmResults, gather
from ablate.verdicts.maxt import joint_intervals, step_down
from ablate.verdicts.power import seeds_to_reach
from ablate.verdicts.random_effects import Pooled, pooled
from ablate.verdicts.sequential import Decided, Look, decide
from ablate.verdicts.statements import at_chance
from ablate.verdicts.stats import Floats, paired_interval, sign_flip_p, spread
from ablate.verdicts.verdict import Outcome

Word = Literal["holds", "changes sign", "fades", "cannot tell"]


@dataclass(frozen=True, kw_only=True)
class LevelContrast:
    """One contrast at one level.

    Attributes:
        level, own: which, and whether it is the study's own.
        n, estimate, standard_error, low, high: seeds, mean difference in the metric's unit, its standard error, and
            Student's interval at 1 - alpha; None where it is not judged.
        adjusted_p: over the contrasts of this level.
        outcome: at this level, by the study's rule.
        claims: everything that was shown: ("equivalent", "worse") of a difference smaller than the margin.
        why: it is not judged; else empty.
    """

    level: Level
    own: bool
    n: int = 0
    estimate: float | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    adjusted_p: float | None = None
    outcome: Outcome = "not judged"
    claims: tuple[Outcome, ...] = ()
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """How much a contrast differs between two levels: at ``second`` minus at ``first``, seed by seed.

    Attributes:
        estimate, low, high: in the metric's unit; the interval holds together with those of all interactions.
        p, adjusted_p: exact sign-flip p, and after step-down max-T over all contrasts and pairs of levels.
    """

    first: Level
    second: Level
    estimate: float
    low: float | None
    high: float | None
    p: float
    adjusted_p: float


@dataclass(frozen=True, kw_only=True)
class TermStability:
    """What the levels say of one contrast.

    Attributes:
        term: an arm, or an effect of a factorial study.
        word, why: the answer, and a sentence on it.
        levels, interactions: the numbers, in the order of the levels.
        pooled: where the levels are data sets, the random-effects mean over them; None if it cannot be had.
    """

    term: str
    word: Word
    why: str
    levels: tuple[LevelContrast, ...]
    interactions: tuple[Interaction, ...]
    pooled: Pooled | None = None


@dataclass(frozen=True, kw_only=True)
class Stability:
    """The contrasts of a study at several levels of a field.

    Attributes:
        field, levels, own: "recipe.epochs", its levels in order, and the study's own.
        alpha: of the interactions, over all contrasts and pairs of levels; the verdicts have an alpha of their own.
        num_seeds: paired seeds at each level.
        terms: one a contrast.
        exploratory: why this was not sealed beforehand; empty if it was, or if that is not known.
    """

    field: str
    levels: tuple[Level, ...]
    own: Level
    alpha: float
    num_seeds: int
    terms: tuple[TermStability, ...]
    exploratory: str = ""

    @property
    def over_data_sets(self) -> bool:
        """Whether the levels are data sets."""
        return self.field == DATA_SETS


Differences = dict[str, Floats]
Faults = dict[str, str]


def stability(plan: CampaignPlan, records: Mapping[str, Record]) -> Stability | None:
    """What the levels say of every contrast; None where the study asks for no levels.

    Args:
        plan: of the campaign.
        records: by trial key, those of the levels among them.
    """
    if not plan.levels:
        return None
    own, n = own_level(plan.study, plan.control), plan.study.plan.seeds
    plans = {own: plan} | {at.level: at.plan for at in plan.levels}
    order = all_levels(plan.study, plan.control)
    found = {level: _differences(plans[level], records, n) for level in order}
    judged = {level: _judged(plans[level], *found[level], n) for level in order}
    terms = list(dict.fromkeys(term for level in (own, *order) for term in judged[level]))
    alpha = plan.study.decision.alpha
    between = interactions({level: one for level, (one, _) in found.items()}, terms, alpha)
    at = {
        term: tuple(replace(judged[level].get(term, _absent(term)), level=level, own=level == own) for level in order)
        for term in terms
    }
    return Stability(
        field=moved_field(plan.study),
        levels=order,
        own=own,
        alpha=alpha,
        num_seeds=n,
        terms=tuple(_term(term, at[term], between[term], alpha, moved_field(plan.study)) for term in terms),
    )


def interactions(
    differences: Mapping[Level, Mapping[str, Floats]], terms: Sequence[str], alpha: float
) -> dict[str, tuple[Interaction, ...]]:
    """Each contrast's differences between every two levels, tested over all of them together.

    Args:
        differences: level -> contrast -> paired differences (n,), the same seeds at every level.
        terms: the contrasts; one that a level lacks counts in the family all the same.
        alpha: of the family.
    """
    pairs = list(itertools.combinations(differences, 2))
    asked = [(term, *pair) for term in terms for pair in pairs]
    there = [one for one in asked if one[0] in differences[one[1]] and one[0] in differences[one[2]]]
    found: dict[str, list[Interaction]] = {term: [] for term in terms}
    if there:
        moved = np.column_stack([differences[second][term] - differences[first][term] for term, first, second in there])
        moved = np.where(np.abs(moved) > 1e-12, moved, 0.0)  # what is smaller is rounding
        absent = len(asked) - len(there)
        adjusted, joint = step_down(moved, absent=absent), joint_intervals(moved, alpha, absent=absent)
        for (term, first, second), column, p, interval in zip(there, moved.T, adjusted, joint, strict=True):
            found[term].append(
                Interaction(
                    first=first,
                    second=second,
                    estimate=float(column.mean()),
                    low=interval.low,
                    high=interval.high,
                    p=sign_flip_p(column),
                    adjusted_p=float(p),
                )
            )
    return {term: tuple(ones) for term, ones in found.items()}


def word(
    levels: Sequence[LevelContrast], between: Sequence[Interaction], alpha: float
) -> tuple[Word, tuple[Level, ...]]:
    """The word for one contrast, and the levels that it is about.

    Args:
        levels: the contrast at every level.
        between: its interactions.
        alpha: of these.

    Returns:
        "holds" with all levels; "changes sign" with one level of each sign; "fades" with a level where a difference was
        found and one where it was not and is shown to be smaller; "cannot tell" with none.
    """
    signs = {one.level: _sign(one) for one in levels}
    up, down = ([level for level, sign in signs.items() if sign == way] for way in (1, -1))
    if up and down:
        return "changes sign", (up[0], down[0])
    if any(one.outcome == "not judged" for one in levels):
        return "cannot tell", ()
    if common_claim(levels):
        return "holds", tuple(signs)
    for one in sorted(between, key=lambda one: one.adjusted_p):
        shown = one.adjusted_p <= alpha
        for found, lost, way in ((one.first, one.second, -1), (one.second, one.first, 1)):
            if shown and signs[found] and not signs[lost] and one.estimate * way * signs[found] > 0:
                return "fades", (found, lost)
    return "cannot tell", ()


def common_claim(levels: Sequence[LevelContrast]) -> Outcome | None:
    """What was shown at every level, the outcome at the study's own first; None if nothing was."""
    shared = set(levels[0].claims).intersection(*(one.claims for one in levels))
    own = next((one for one in levels if one.own), levels[0])
    return next((claim for claim in (own.outcome, *own.claims) if claim in shared), None)


def _sign(one: LevelContrast) -> int:
    if one.estimate is None or not {"better", "worse"} & set(one.claims):
        return 0
    return 1 if one.estimate > 0 else -1


def _differences(plan: CampaignPlan, records: Mapping[str, Record], n: int) -> tuple[Differences, Faults]:
    """The paired differences over the first n seeds, by contrast, and why a contrast has none."""
    results = gather(plan, records)
    rule = _rule(plan)
    arms = [arm for arm in plan.arms if arm.name != NOISE_FLOOR]
    faults = {arm.name: _fault(results[arm.name], n, rule) for arm in arms}
    crossed = [arm for arm in arms if arm.factors]
    if crossed:
        cells = [arm.factors for arm in crossed]
        fault = next((faults[arm.name] for arm in crossed if faults[arm.name]), "")
        rows = [np.zeros(n) if fault else results[arm.name].values(rule.metric, n) for arm in crossed]
        named = effects_by_seed(cells, np.array(rows), levels=crossed_levels(plan))
        return ({}, dict.fromkeys(named, fault)) if fault else (named, {})
    control = faults.pop(CONTROL)
    faults = {name: control or fault for name, fault in faults.items()}
    sound = [name for name, fault in faults.items() if not fault]
    base = results[CONTROL].values(rule.metric, n) if sound else np.zeros(n)
    found = {name: results[name].values(rule.metric, n) - base for name in sound}
    return found, {name: fault for name, fault in faults.items() if fault}


def _rule(plan: CampaignPlan) -> Rule:
    return Rule.of(plan, higher_is_better=plan.study.decision.wants_high, num_contrasts=1)


def _fault(arm: ArmResults, n: int, rule: Rule) -> str:
    if arm.sound < n:
        return arm.fault
    return f"{arm.name} is no better than chance" if at_chance((arm,), n, rule) else ""


def _judged(plan: CampaignPlan, differences: Differences, faults: Faults, n: int) -> dict[str, LevelContrast]:
    """The contrasts at one level by the study's rule, one look at n seeds."""
    rule = _rule(plan)
    family = len(differences) + len(faults)
    good = None if any(arm.factors for arm in plan.arms) else rule.good
    decided = decide(
        differences, (Look(n, 1.0),), alpha=rule.alpha, margin=rule.margin, num_contrasts=family, good=good
    )
    found = {term: _contrast(differences[term], one, rule) for term, one in decided.items()}
    return found | {term: LevelContrast(level="", own=False, why=fault) for term, fault in faults.items()}


def _contrast(d: Floats, one: Decided, rule: Rule) -> LevelContrast:
    mean, sd = float(d.mean()), spread(d)
    interval = paired_interval(d, 1 - rule.alpha)
    direction: Outcome = "better" if (mean > 0) == rule.higher_is_better else "worse"
    claims: list[Outcome] = []
    if one.conclusion in ("equivalent", "no worse"):
        claims.append(one.conclusion)
    if one.conclusion == "different" or one.also_different:
        claims.append(direction)
    if rule.no_worse and direction == "better" and direction in claims and "no worse" not in claims:
        claims.append("no worse")
    return LevelContrast(
        level="",
        own=False,
        n=d.size,
        estimate=mean,
        standard_error=None if sd is None else sd / math.sqrt(d.size),
        low=interval.low,
        high=interval.high,
        adjusted_p=one.adjusted_p,
        outcome=claims[0] if claims else "undecided",
        claims=tuple(claims),
    )


def _absent(term: str) -> LevelContrast:
    return LevelContrast(level="", own=False, why=f"there is no {term} at this level")


def _term(
    term: str, levels: tuple[LevelContrast, ...], between: tuple[Interaction, ...], alpha: float, field: str
) -> TermStability:
    found, about = word(levels, between, alpha)
    return TermStability(
        term=term,
        word=found,
        why=_why(found, about, levels, alpha, field),
        levels=levels,
        interactions=between,
        pooled=_over_sets(levels, alpha) if field == DATA_SETS else None,
    )


def _over_sets(levels: Sequence[LevelContrast], alpha: float) -> Pooled | None:
    sound = [(one.estimate, one.standard_error) for one in levels if one.estimate is not None and one.standard_error]
    if len(sound) < max(2, len(levels)):
        return None
    estimates, errors = zip(*sound, strict=True)
    return pooled(estimates, errors, confidence=1 - alpha)


def _why(found: Word, about: tuple[Level, ...], levels: Sequence[LevelContrast], alpha: float, field: str) -> str:
    if found == "holds":
        return f"{common_claim(levels)} at every level asked of {field}: {_listed(one.level for one in levels)}"
    if found == "changes sign":
        return f"a difference was found at {field} = {about[0]} and one of the other sign at {about[1]}"
    if found == "fades":
        return f"a difference was found at {field} = {about[0]}; at {about[1]} none was, and it is shown to be smaller"
    missing = [f"{field} = {one.level} is not judged ({one.why})" for one in levels if one.why]
    if missing:
        return "; ".join(missing)
    reach, n = seeds_to_reach(alpha), max(one.n for one in levels)
    if reach is None or n < reach:
        return f"{n} seeds are too few for the exact test to show anything"
    each = ", ".join(f"{one.outcome} at {one.level}" for one in levels)
    return f"{each}; no difference between levels is shown that would explain it"


def _listed(levels: object) -> str:
    return ", ".join(map(str, levels))  # type: ignore[call-overload]
