"""Main effects and two-way interactions of a factorial study, from a linear model with the seed as block.

Two levels are coded -1 and +1, more levels by sums to zero, so that in a full factorial every effect is estimated
independently of the others (Box, Hunter & Hunter 2005, chapters 5 and 6). What is left over, the higher interactions
and the noise within a seed, is the error that intervals and p-values are measured against.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from ablate.design.study import Level
from ablate.verdicts.stats import Floats, holm, t_quantile
from ablate.verdicts.verdict import Effect, Outcome
from ablate.verdicts.wording import held

_ROUNDING = 1e-12


@dataclass(frozen=True)
class _Column:
    """A column of the model: its term, what it subtracts, its values (cells,), and effect = scale x coefficient."""

    term: str
    contrast: str
    values: Floats
    scale: float


@dataclass(frozen=True)
class _Estimate:
    """An effect, its standard error, and the residual degrees of freedom (0: no error can be estimated)."""

    effect: float
    error: float
    df: int

    @property
    def p(self) -> float:
        """Two-sided t test against zero."""
        return self._above(abs(self.effect)) * 2 if self.df else 1.0

    def equivalence_p(self, margin: float) -> float:
        """Two one-sided t tests against the margin."""
        return max(self._above(margin + self.effect), self._above(margin - self.effect)) if self.df else 1.0

    def interval(self, confidence: float) -> tuple[float | None, float | None]:
        """Student's interval; None without degrees of freedom."""
        if not self.df:
            return None, None
        half = t_quantile(confidence, self.df) * self.error
        return self.effect - half, self.effect + half

    def _above(self, distance: float) -> float:
        if self.error == 0:
            return 0.0 if distance > 0 else 0.5
        return float(special.stdtr(self.df, -distance / self.error))


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
        alpha: of the intervals, and of Holm over all effects.
        margin: of equivalence.
        higher_is_better: of the metric.
        expect: expectations by term.

    Returns:
        Main effects in the order of the factors, then interactions. An effect that cannot be told from an earlier one
        is not estimated twice: it stands among the earlier one's aliases.
    """
    columns, aliases = _estimable(_columns(cells, levels))
    estimates = _fit(columns, values)
    p_values = holm([one.p for one in estimates])
    same = holm([one.equivalence_p(margin) for one in estimates])
    table = []
    for column, one, p, q, also in zip(columns, estimates, p_values, same, aliases, strict=True):
        low, high = one.interval(1 - alpha)
        outcome = _outcome(one.effect, p, q, alpha, higher_is_better=higher_is_better)
        expected = (expect or {}).get(column.term)
        table.append(
            Effect(
                term=column.term,
                contrast=column.contrast,
                estimate=one.effect,
                low=low,
                high=high,
                p=one.p,
                holm_p=p,
                outcome=outcome,
                expected=expected,
                held=held(expected, outcome),
                aliases=also,
            )
        )
    return tuple(table)


def _outcome(effect: float, p: float, equivalence_p: float, alpha: float, *, higher_is_better: bool) -> Outcome:
    if equivalence_p <= alpha:
        return "equivalent"
    if p > alpha:
        return "undecided"
    return "better" if (effect > 0) == higher_is_better else "worse"


def _columns(cells: Sequence[Mapping[str, Level]], levels: Mapping[str, Sequence[Level]]) -> list[_Column]:
    mains = {factor: _main(factor, list(named), [cell[factor] for cell in cells]) for factor, named in levels.items()}
    pairs = [
        _Column(
            f"{one.term}:{two.term}",
            f"({one.contrast}) x ({two.contrast})",
            one.values * two.values,
            2.0 if one.scale == two.scale == 2 else 1.0,
        )
        for first, second in itertools.combinations(mains.values(), 2)
        for one, two in itertools.product(first, second)
    ]
    return [*itertools.chain.from_iterable(mains.values()), *pairs]


def _main(factor: str, named: list[Level], at: list[Level]) -> list[_Column]:
    indicator = {level: np.array([float(found == level) for found in at]) for level in named}
    first = indicator[named[0]]
    if len(named) == 2:
        return [_Column(factor, f"{named[1]} - {named[0]}", indicator[named[1]] - first, 2.0)]
    return [_Column(factor, f"{level} - mean", indicator[level] - first, 1.0) for level in named[1:]]


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


def _fit(columns: list[_Column], values: Floats) -> list[_Estimate]:
    """Ordinary least squares of values (arms, seeds) on the columns and one block a seed."""
    from statsmodels.regression.linear_model import OLS  # half a second, and only factorial studies need it

    num_arms, num_seeds = values.shape
    effects = np.column_stack([column.values for column in columns])
    blocks = np.tile(np.eye(num_seeds), (num_arms, 1))
    design = np.column_stack([blocks, np.repeat(effects, num_seeds, axis=0)])
    df = values.size - design.shape[1]
    fitted = OLS(values.reshape(-1), design).fit()
    size = float(np.abs(values).max())
    # What is smaller is rounding of an exact fit, and would be divided by itself.
    residual = float(fitted.ssr) if fitted.ssr > values.size * (_ROUNDING * size) ** 2 else 0.0
    unscaled = np.diag(fitted.normalized_cov_params)[num_seeds:]
    return [
        _Estimate(
            column.scale * float(coefficient) if abs(coefficient) > _ROUNDING * size else 0.0,
            column.scale * math.sqrt(float(variance) * residual / df) if df > 0 else 0.0,
            max(df, 0),
        )
        for column, coefficient, variance in zip(columns, fitted.params[num_seeds:], unscaled, strict=True)
    ]
