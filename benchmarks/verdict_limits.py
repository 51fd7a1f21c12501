"""Where the promises of the verdicts are hard to keep, or are not made; used by verdict_simulations.py.

Rare collapse, skew, effects that vary by seed, tuning once and in blocks, further levels, and looking again after the
seal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from simulated import (
    ALPHA,
    NOISES,
    SD,
    SD_OF_DIFFERENCES,
    Row,
    all_covered,
    any_different,
    any_equivalent,
    contrasts,
    named,
    normal,
    one_look,
    rate,
    settled,
    skewed,
    skewed_arms,
)

from ablate.verdicts import power
from ablate.verdicts.contrast import paired_contrast
from ablate.verdicts.factorial import factorial_effects
from ablate.verdicts.failures import outliers
from ablate.verdicts.family import seed_gain
from ablate.verdicts.sequential import decide
from ablate.verdicts.stability import interactions
from ablate.verdicts.stats import Floats, repeat_interval, sign_flip_p

DIFFERENT = "an arm wrongly called different (family-wise)"
EQUIVALENT = "an arm wrongly called equivalent (family-wise)"


def noise_rows(simulations: int) -> Iterator[Row]:
    """No arm differs, and the noise is not normal."""
    for label, noise in NOISES.items():
        for m, n in ((1, 8), (4, 8), (15, 8)):
            found = rate([0.0] * m, one_look(n), any_different, simulations, noise=noise)
            yield Row(DIFFERENT, f"{contrasts(m)}, {n} seeds, {label}", found, 0.0, ALPHA, simulations)
    for m, n in ((4, 6), (4, 10), (15, 6), (15, 10)):
        found = rate([0.0] * m, one_look(n), any_different, simulations, noise=skewed)
        yield Row(DIFFERENT, f"{contrasts(m)}, {n} seeds, exponential", found, 0.0, ALPHA, simulations)
    found = rate([0.0] * 4, settled(), any_different, simulations, noise=skewed)
    yield Row(DIFFERENT, f"{contrasts(4)}, {named(settled())}, exponential", found, 0.0, ALPHA, simulations)
    for n in (8, 16):
        found = rate([0.0], one_look(n), any_different, simulations, noise=skewed_arms)
        yield Row(
            DIFFERENT, f"1 contrast, {n} seeds, only the arm's noise is skewed, SD 3", found, None, None, simulations
        )


def joint_rows(simulations: int) -> Iterator[Row]:
    promise = "joint coverage of the 95 % joint intervals"
    for m, n in ((4, 6), (4, 8), (4, 10), (15, 6), (15, 8), (15, 10)):
        found = rate([0.0] * m, one_look(n), all_covered, simulations)
        yield Row(promise, f"{contrasts(m)}, {n} seeds, normal", found, 0.94, 0.98, simulations)
    for m, n in ((4, 8), (15, 8)):
        found = rate([0.0] * m, one_look(n), all_covered, simulations, noise=skewed)
        yield Row(promise, f"{contrasts(m)}, {n} seeds, exponential", found, 0.94, 0.99, simulations)
    found = rate([0.0] * 4, settled(), all_covered, simulations)
    yield Row(promise, f"{contrasts(4)}, {named(settled())}", found, 0.95, 1.0, simulations)


def skew_rows(simulations: int) -> Iterator[Row]:
    """At the margin, where differences are skewed: the equivalence tests assume that they are not."""
    for sign in (1.0, -1.0):
        for n in (8, 16):
            found = rate([sign * 6.0], one_look(n), any_equivalent, simulations, margin=6.0, noise=skewed_arms)
            where = "above" if sign > 0 else "below"
            setting = f"1 contrast at the margin {where} the control, {n} seeds, the arm's noise exponential"
            yield Row(f"{EQUIVALENT}, skewed", setting, found, None, None, simulations)


def collapse_rows(simulations: int) -> Iterator[Row]:
    """One training of ten of the arm ends 30 SDs lower, the control's never do."""
    for n in (8, 16):
        generator = np.random.default_rng([9, n])
        equivalent = inside = flagged = struck = 0
        for _ in range(simulations):
            control, arm = normal(generator, (2, n)) * 0.5
            arm = arm - 30.0 * (generator.random(n) < 0.1)
            decided = decide({"0": arm - control}, one_look(n), alpha=ALPHA, margin=1.0, num_contrasts=1)["0"]
            equivalent += decided.conclusion == "equivalent"
            inside += (decided.interval.low or 0.0) <= -3.0 <= (decided.interval.high or 0.0)
            hit = set(np.flatnonzero(arm - control < -15))
            few = 0 < len(hit) <= n // 4
            struck += few
            flagged += few and hit <= set(outliers(arm - control))
        setting = f"one training of ten of the arm collapses, {n} seeds"
        share, covered = equivalent / simulations, inside / simulations
        yield Row("called equivalent, though its mean is not", setting, share, None, None, simulations)
        yield Row("coverage of the 95 % paired interval", setting, covered, None, None, simulations)
        flag = "every collapsed seed is named an outlier, where at most a quarter collapsed"
        yield Row(flag, setting, flagged / max(1, struck), 0.95, 1.0, max(1, struck))


def slope_rows(simulations: int) -> Iterator[Row]:
    """Effects that vary from seed to seed by one SD of the noise around zero: a seed-by-factor interaction."""
    factors = dict.fromkeys(("a", "b", "c"), (0, 1))
    cells = [dict(zip(factors, cell, strict=True)) for cell in itertools.product((0, 1), repeat=3)]
    coded = np.array([[2.0 * cell[name] - 1 for cell in cells] for name in factors]).T
    for n in (6, 8, 12):
        generator = np.random.default_rng([7, n])
        wrong = 0
        for _ in range(simulations):
            values = coded @ generator.normal(0, SD, (3, n)) + generator.normal(0, SD, (8, n))
            table = factorial_effects(cells, values, levels=factors, alpha=ALPHA, margin=1e-9, higher_is_better=True)
            wrong += any(one.outcome in ("better", "worse") for one in table)
        setting = f"8 arms, {n} seeds, slopes vary by one SD of the noise"
        promise = "an effect wrongly called different (family-wise)"
        yield Row(promise, setting, wrong / simulations, 0.0, ALPHA, simulations)


def tuning_rows(simulations: int) -> Iterator[Row]:
    """Two arms that are the same, each tuned alone: 8 settings, one seed each, a smooth optimum two SDs high."""
    settings = np.linspace(-1, 1, 8)
    for n in (8, 16):
        generator = np.random.default_rng([11, n])
        apart = 0
        for _ in range(simulations):
            found = []
            for _arm in range(2):
                chosen = settings[np.argmax(-2 * settings**2 + generator.normal(0, SD, 8))]
                found.append(-2 * chosen**2 + generator.normal(0, SD, n))
            apart += any_different(
                decide({"0": found[1] - found[0]}, one_look(n), alpha=ALPHA, margin=1e-9, num_contrasts=1)
            )
        setting = f"the same arm tuned twice, {n} seeds"
        yield Row("called different, by the luck of the tuning", setting, apart / simulations, None, None, simulations)


def block_rows(simulations: int) -> Iterator[Row]:
    """The same two arms, each tuned anew for every seed: the luck of the tuning is in every paired difference."""
    settings = np.linspace(-1, 1, 8)
    for n in (8, 16):
        generator = np.random.default_rng([12, n])
        apart = 0
        for _ in range(simulations):
            scores = -2 * settings**2 + generator.normal(0, SD, (2, n, 8))
            found = -2 * settings[scores.argmax(axis=2)] ** 2 + generator.normal(0, SD, (2, n))
            apart += any_different(
                decide({"0": found[1] - found[0]}, one_look(n), alpha=ALPHA, margin=1e-9, num_contrasts=1)
            )
        setting = f"the same arm tuned twice for every seed, {n} blocks"
        yield Row(DIFFERENT, setting, apart / simulations, 0.0, ALPHA, simulations)


def stability_rows(simulations: int) -> Iterator[Row]:
    """Four contrasts at three levels, 8 seeds: what is said of levels that differ in nothing, or in one of them."""
    for label, shift in (("no difference anywhere", 0.0), ("all different alike", 3 * SD)):
        generator = np.random.default_rng([14, int(shift > 0)])
        apart = 0
        for _ in range(simulations):
            levels = {level: _contrasts(generator, dict.fromkeys("abcd", shift)) for level in (1, 2, 4)}
            between = interactions(levels, list("abcd"), ALPHA)
            apart += any(one.adjusted_p <= ALPHA for ones in between.values() for one in ones)
        setting = f"4 contrasts, 3 levels, 8 seeds, {label}"
        yield Row("levels wrongly said to differ (family-wise)", setting, apart / simulations, 0.0, ALPHA, simulations)
    generator, held = np.random.default_rng(15), 0
    for _ in range(simulations):
        signs = []
        for shift in (3 * SD, 0.0, 3 * SD):
            decided = decide(
                _contrasts(generator, dict.fromkeys("abcd", shift)),
                one_look(8),
                alpha=ALPHA,
                margin=1e-9,
                num_contrasts=4,
            )
            signs.append({name for name, one in decided.items() if one.conclusion == "different"})
        held += bool(set.intersection(*signs))
    setting = "4 contrasts, 3 levels, 8 seeds, no difference at one of them"
    yield Row("wrongly said to hold at every level (family-wise)", setting, held / simulations, 0.0, ALPHA, simulations)


def _contrasts(generator: np.random.Generator, shifts: dict[str, float]) -> dict[str, Floats]:
    control = generator.normal(0, SD, 8)
    return {name: shift + generator.normal(0, SD, 8) - control for name, shift in shifts.items()}


def co_primary_rows(simulations: int) -> Iterator[Row]:
    """A loss judged with the accuracy in one family: errors, what it costs the accuracy, and the gain in seeds."""
    found = {}
    for m, n in ((1, 8), (4, 8), (15, 8)):
        found[m] = _co_primary(simulations, m, n, 0.0, 0.0)
        setting = f"{contrasts(m)} in two metrics that correlate by .7, {n} seeds"
        yield Row(DIFFERENT, setting, float(found[m][:, 2].mean()), 0.0, ALPHA, simulations)
    effect = power.detectable(8, SD_OF_DIFFERENCES, num_contrasts=1)
    assert effect is not None
    size = f"a true difference of {effect / SD_OF_DIFFERENCES:.2f} SDs, 8 seeds"
    silent, both = (_co_primary(simulations, 1, 8, effect, loss) for loss in (0.0, 2 * effect))
    alone = rate([effect], one_look(8), any_different, simulations)
    yield Row("power of the accuracy without a co-primary", size, alone, 0.75, 0.85, simulations)
    for label, one in (("does not differ", silent), ("differs by twice as many SDs", both)):
        share = float(one[:, 0].mean())
        yield Row(
            "power of the accuracy with a co-primary loss", f"{size}; the loss {label}", share, 0.6, 0.85, simulations
        )
    twice = f"{size}; the loss differs by twice as many SDs"
    yield Row("power of accuracy or loss", twice, float(both[:, 2].mean()), 0.95, 1.0, simulations)
    yield from _gain_rows(simulations)


def _co_primary(simulations: int, m: int, n: int, accuracy: float, loss: float) -> np.ndarray:
    """Whether the first arm differs in accuracy, in loss, and whether any arm does in either: (simulations, 3)."""
    generator = np.random.default_rng([21, m, n])
    rows = []
    for _ in range(simulations):
        first = generator.normal(0, SD, (m + 1, n))
        second = 0.7 * first + np.sqrt(1 - 0.7**2) * generator.normal(0, SD, (m + 1, n))
        named = {f"a{i}": first[i + 1] - first[0] + accuracy for i in range(m)}
        named |= {f"l{i}": second[i + 1] - second[0] + loss for i in range(m)}
        decided = decide(named, one_look(n), alpha=ALPHA, margin=1e-9, num_contrasts=2 * m)
        rows.append([*(any_different({name: decided[name]}) for name in ("a0", "l0")), any_different(decided)])
    return np.array(rows)


def _gain_rows(simulations: int) -> Iterator[Row]:
    """How often the interval for the gain in seeds holds the true ratio of the squared effects, which is 4."""
    for n in (8, 16):
        generator = np.random.default_rng([22, n])
        inside = told = 0
        for _ in range(simulations):
            first = generator.normal(0, SD, n)
            second = 0.7 * first + np.sqrt(1 - 0.7**2) * generator.normal(0, SD, n)
            both = [
                replace(
                    paired_contrast("a", "x", tuple(range(n)), d, np.zeros(n), 1 - ALPHA), adjusted_p=sign_flip_p(d)
                )
                for d in (first + 1.5 * SD, second + 3 * SD)
            ]
            gain = seed_gain(both[0], both[1], ALPHA)
            told += gain is not None
            inside += gain is not None and gain.low <= 4 <= gain.high
        setting = f"true differences of 1.5 and 3 SDs that correlate by .7, {n} seeds"
        yield Row(
            "coverage of the 95 % interval for the gain in seeds", setting, inside / max(1, told), 0.93, 0.98, told
        )


def repeat_rows(simulations: int) -> Iterator[Row]:
    """The same study run twice with other seeds: how often the second mean lies where the first said that it would."""
    for n in (8, 16):
        drawn = np.random.default_rng([18, n]).normal(0, SD, (simulations, 2, n))
        inside = 0
        for first, second in drawn:
            span = repeat_interval(first)
            inside += (span.low or 0.0) <= second.mean() <= (span.high or 0.0)
        yield Row(
            "a repeat lies in the interval for one", f"{n} seeds each", inside / simulations, 0.94, 0.96, simulations
        )


def peeking_rows(simulations: int) -> Iterator[Row]:
    """No difference, and a look at the full alpha after 8, 12, 16 and 20 seeds: what a sealed plan does not allow."""
    generator = np.random.default_rng(13)
    drawn = generator.normal(0, 1, (simulations, 20))
    found = [any(sign_flip_p(row[:n]) <= ALPHA for n in (8, 12, 16, 20)) for row in drawn]
    setting = "1 contrast, looks at 8, 12, 16, 20 seeds"
    promise = "called different without spending alpha (exploratory)"
    yield Row(promise, setting, float(np.mean(found)), None, None, simulations)
    found_settled = rate([0.0], settled(), any_different, simulations)
    yield Row(DIFFERENT, f"1 contrast, {named(settled())}", found_settled, 0.0, ALPHA, simulations)
