"""Main effects and two-way interactions of a factorial study, each estimated within every seed.

A main effect is a level minus the control's level, over all levels of the other factors; an interaction is half the
difference between such effects at a level of the other factor and at the control's. Levels are coded around their mean,
so that in a full factorial the effects of different factors are estimated independently (Box, Hunter & Hunter 2005,
chapters 5 and 6). Every seed gives one estimate of each effect, and these estimates are judged as paired differences
are. So an effect that varies from seed to seed has the error that it must have, and a seed that lifts all arms alike
adds none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from ablate.design.plan import CampaignPlan
from ablate.design.study import Level
from ablate.verdicts.expected import could_fail, held
from ablate.verdicts.maxt import signs
from ablate.verdicts.sequential import Decided, Look, decide
from ablate.verdicts.stats import Floats, paired_interval
from ablate.verdicts.verdict import Effect, EffectChecks, Outcome, SimpleEffect

_ROUNDING = 1e-12


@dataclass(frozen=True)
class _Column:
    """A column of the model: its term, what it subtracts, and its values (cells,), whose coefficient is the effect."""

    term: str
    contrast: str
    values: Floats


def factorial_effects(
    cells: Sequence[Mapping[str, Level]],
    values: Floats,
    *,
    levels: Mapping[str, Sequence[Level]],
    alpha: float,
    margin: float,
    higher_is_better: bool,
    expect: Mapping[str, str] | None = None,
) -> tuple[Effect, ...]:
    """The table of effects of a full or fractional factorial.

    Args:
        cells: each arm's level of each factor, (arms,).
        values: the metric, (arms, seeds), the same seeds in every row.
        levels: each factor's levels, the control's own first; an effect is the other level minus it.
        alpha: over all effects of the table; of each interval.
        margin: of equivalence.
        higher_is_better: of the metric.
        expect: expectations by term.

    Returns:
        Main effects in the order of the factors, then interactions. An effect that cannot be told from an earlier one
        is not estimated twice: it stands among the earlier one's aliases.
    """
    columns, aliases = _estimable(_columns(cells, levels))
    within = _within_seeds(columns, values)
    named = {str(place): estimates for place, estimates in enumerate(within)}
    looks = (Look(values.shape[1], 1.0),)
    decided = decide(named, looks, alpha=alpha, margin=margin, num_contrasts=len(columns))
    table = []
    for column, estimates, one, also in zip(columns, within, decided.values(), aliases, strict=True):
        direction: Outcome = "better" if (float(estimates.mean()) > 0) == higher_is_better else "worse"
        outcome = _outcome(one, direction)
        expected = (expect or {}).get(column.term)
        tested = could_fail(expected, values.shape[1], alpha)
        table.append(
            Effect(
                term=column.term,
                contrast=column.contrast,
                estimate=float(estimates.mean()),
                low=one.interval.low,
                high=one.interval.high,
                joint_low=one.joint.low,
                joint_high=one.joint.high,
                p=one.p,
                adjusted_p=one.adjusted_p,
                outcome=outcome,
                expected=expected,
                held=held(expected, outcome, direction if one.also_different else None) if tested else None,
                tested=tested,
                aliases=also,
                simple=_simple_effects(column.term, cells, values, levels, 1 - alpha),
            )
        )
    return tuple(table)


def crossed_levels(plan: CampaignPlan) -> dict[str, tuple[Level, ...]]:
    """Each factor's levels, the control's own first."""
    own = plan.control.factors
    return {
        name: (own[name], *(level for level in found if level != own[name]))
        for name, found in plan.study.levels.items()
    }


def effects_by_seed(
    cells: Sequence[Mapping[str, Level]], values: Floats, *, levels: Mapping[str, Sequence[Level]]
) -> dict[str, Floats]:
    """Every effect's estimates, one a seed (n,), by its term; of a factor of more levels by the level as well."""
    columns, _ = _estimable(_columns(cells, levels))
    terms = [column.term for column in columns]
    names = [c.term if terms.count(c.term) == 1 else f"{c.term}: {c.contrast}" for c in columns]
    return dict(zip(names, _within_seeds(columns, values), strict=True))


def effect_checks(
    cells: Sequence[Mapping[str, Level]], values: Floats, *, levels: Mapping[str, Sequence[Level]]
) -> EffectChecks | None:
    """Two F ratios on what the table of effects leaves out; None where the model leaves nothing over, or one seed.

    Lack of fit: the mean square of the higher interactions over that of their variation between seeds; its p is that
    of joint sign flips, exact for symmetric noise. Effects by seed: the mean square of the variation of the table's
    effects between seeds over that of the higher interactions; F test.
    """
    columns, _ = _estimable(_columns(cells, levels))
    num_arms, n = values.shape
    basis, _ = np.linalg.qr(np.column_stack([np.ones(num_arms), *(column.values for column in columns)]), "complete")
    inside, rest = basis[:, 1 : len(columns) + 1].T @ values, basis[:, len(columns) + 1 :].T @ values
    if not len(rest) or n < 2 or not float(rest.var()) > _ROUNDING * float(np.abs(values).max()) ** 2:
        return None
    df_inside, df_rest = len(inside) * (n - 1), len(rest) * (n - 1)
    error = float(rest.var(axis=1, ddof=1).mean())
    ratios = _lack_of_fit(rest)
    by_seed = float(inside.var(axis=1, ddof=1).mean()) / error
    return EffectChecks(
        lack_of_fit=float(ratios[0]),
        lack_of_fit_p=float((ratios >= ratios[0] * (1 - 1e-9)).mean()),
        by_seed=by_seed,
        by_seed_p=float(special.fdtrc(df_inside, df_rest, by_seed)),
        df=(len(rest), df_rest, df_inside),
    )


def _lack_of_fit(rest: Floats) -> Floats:
    """F of the higher interactions under every joint flip of the seeds' signs, the data as they are first."""
    num_terms, n = rest.shape
    means = np.asarray(signs(n).astype(np.float64) @ rest.T) / n
    between = n * (means**2).sum(axis=1)
    within = (rest**2).sum() - between
    return np.asarray((between / num_terms) / np.maximum(within / (num_terms * (n - 1)), 1e-300))


def _outcome(one: Decided, direction: Outcome) -> Outcome:
    if one.conclusion == "open":
        return "undecided"
    return "equivalent" if one.conclusion == "equivalent" else direction


def _within_seeds(columns: Sequence[_Column], values: Floats) -> Floats:
    """Every seed's own estimate of each effect, by least squares over its arms, (effects, seeds)."""
    model = np.column_stack([np.ones(len(values)), *(column.values for column in columns)])
    estimates = (np.linalg.pinv(model) @ values)[1:]
    size = float(np.abs(values).max())
    return np.where(np.abs(estimates) > _ROUNDING * size, estimates, 0.0)  # what is smaller is rounding


def _simple_effects(
    term: str,
    cells: Sequence[Mapping[str, Level]],
    values: Floats,
    levels: Mapping[str, Sequence[Level]],
    confidence: float,
) -> tuple[SimpleEffect, ...]:
    """Of an interaction of two-level factors: the effect of each factor at each level of the other, unadjusted."""
    factors = term.split(":")
    if len(factors) != 2 or any(len(levels[factor]) != 2 for factor in factors):
        return ()
    return tuple(
        _simple_effect(factor, other, level, cells, values, levels, confidence)
        for factor, other in (factors, factors[::-1])
        for level in levels[other]
    )


def _simple_effect(
    factor: str,
    other: str,
    level: Level,
    cells: Sequence[Mapping[str, Level]],
    values: Floats,
    levels: Mapping[str, Sequence[Level]],
    confidence: float,
) -> SimpleEffect:
    first, second = levels[factor]
    rows = [
        values[[cell[factor] == own and cell[other] == level for cell in cells]].mean(axis=0) for own in (first, second)
    ]
    differences = rows[1] - rows[0]
    interval = paired_interval(differences, confidence)
    return SimpleEffect(
        factor=factor,
        contrast=f"{second} - {first}",
        at=f"{other} = {level}",
        estimate=float(differences.mean()),
        low=interval.low,
        high=interval.high,
    )


def _columns(cells: Sequence[Mapping[str, Level]], levels: Mapping[str, Sequence[Level]]) -> list[_Column]:
    mains = {factor: _main(factor, list(named), [cell[factor] for cell in cells]) for factor, named in levels.items()}
    pairs = [
        _Column(
            f"{one.term}:{two.term}",
            f"({one.contrast}) x ({two.contrast})",
            2 * one.values * two.values,
        )
        for first, second in itertools.combinations(mains.values(), 2)
        for one, two in itertools.product(first, second)
    ]
    return [*itertools.chain.from_iterable(mains.values()), *pairs]


def _main(factor: str, named: list[Level], at: list[Level]) -> list[_Column]:
    """A column a level but the first: 1 there and 0 elsewhere, less the share of the levels that it is."""
    here = {level: np.array([float(found == level) for found in at]) for level in named}
    return [_Column(factor, f"{level} - {named[0]}", here[level] - 1 / len(named)) for level in named[1:]]


def _estimable(columns: list[_Column]) -> tuple[list[_Column], list[tuple[str, ...]]]:
    """The columns that add something to those before, and the terms that each of them stands for as well."""
    kept: list[_Column] = []
    aliases: list[tuple[str, ...]] = []
    basis = np.ones((columns[0].values.size, 1))
    for column in columns:
        wider = np.column_stack([basis, column.values])
        if np.linalg.matrix_rank(wider) > basis.shape[1]:
            basis = wider
            kept.append(column)
            aliases.append(())
            continue
        for index, one in enumerate(kept):
            if not math.isclose(float(one.values @ column.values), 0.0, abs_tol=1e-9):
                aliases[index] = (*aliases[index], column.term)
    return kept, aliases
