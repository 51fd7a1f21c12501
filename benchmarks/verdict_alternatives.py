"""Methods that verdicts do not use, or show without deciding by them; used by verdict_simulations.py."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from scipy import stats
from simulated import ALPHA, SD, Row, any_different, one_look

from ablate.verdicts.failures import outliers
from ablate.verdicts.random_effects import pooled
from ablate.verdicts.sequential import decide
from ablate.verdicts.stats import sign_flip_p

TRUTH = 0.3  # the mean effect over data sets


def bootstrap_rows(simulations: int) -> Iterator[Row]:
    """Bootstrap intervals of a handful of seeds are too narrow."""
    for n in (5, 8, 16):
        generator = np.random.default_rng([31, n])
        inside = {"percentile": 0, "BCa": 0}
        for _ in range(simulations):
            drawn = generator.normal(0, SD, n)
            for method in inside:
                found = stats.bootstrap((drawn,), np.mean, n_resamples=999, method=method, rng=generator)
                inside[method] += found.confidence_interval.low <= 0 <= found.confidence_interval.high
        for method, hits in inside.items():
            promise = f"coverage of the 95 % {method} bootstrap interval (not used)"
            yield Row(promise, f"{n} seeds, normal", hits / simulations, None, None, simulations)


def common_error_rows(simulations: int) -> Iterator[Row]:
    """Effects that vary from seed to seed, in a model with blocks of seeds and one common error; Bonferroni over 6."""
    cells = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    model = np.column_stack([cells, *(cells[:, i] * cells[:, j] for i, j in itertools.combinations(range(3), 2))])
    for n in (6, 8, 12):
        generator = np.random.default_rng([7, n])
        wrong, df = 0, 7 * n - 6
        for _ in range(simulations):
            values = cells @ generator.normal(0, SD, (3, n)) + generator.normal(0, SD, (8, n))
            values = values - values.mean(axis=0)
            effects = (model.T @ values).mean(axis=1) / 8
            error = math.sqrt(float(((values - (model @ effects)[:, None]) ** 2).sum()) / df / (8 * n))
            wrong += bool(6 * 2 * stats.t.sf(np.abs(effects).max() / error, df) <= ALPHA)
        setting = f"8 arms, {n} seeds, slopes vary by one SD of the noise"
        promise = "an effect wrongly called different, by a common error (not used)"
        yield Row(promise, setting, wrong / simulations, None, None, simulations)


def by_seed_rows(simulations: int) -> Iterator[Row]:
    """Blocks of several seeds, each seed counted as a unit: the seeds of a block share the luck of its tuning."""
    settings = np.linspace(-1, 1, 8)
    for blocks, seeds in ((2, 8), (4, 4)):
        generator = np.random.default_rng([32, blocks])
        apart = 0
        for _ in range(simulations):
            scores = -2 * settings**2 + generator.normal(0, SD, (2, blocks, 8))
            means = np.repeat(-2 * settings[scores.argmax(axis=2)] ** 2, seeds, axis=1)
            found = means + generator.normal(0, SD, means.shape)
            apart += any_different(
                decide({"0": found[1] - found[0]}, one_look(blocks * seeds), alpha=ALPHA, margin=1e-9, num_contrasts=1)
            )
        setting = f"the same arm tuned twice, {blocks} blocks of {seeds} seeds, each seed a unit"
        yield Row(
            "called different, by the luck of the tuning (refused)",
            setting,
            apart / simulations,
            None,
            None,
            simulations,
        )


def data_set_rows(simulations: int) -> Iterator[Row]:
    """Data sets whose noise differs (log SD .7), 5 seeds each: intervals of the mean effect and of a new set's."""
    for num_sets, between in itertools.product((3, 5, 10, 17), (0.0, 0.5)):
        generator = np.random.default_rng([33, num_sets, int(10 * between)])
        inside = foretold = wrong = 0
        for _ in range(simulations):
            truths = generator.normal(TRUTH, between, num_sets + 1)
            drawn = _drawn(generator, truths[:-1])
            found = pooled(drawn.mean(axis=1), stats.sem(drawn, axis=1))
            inside += found.low <= TRUTH <= found.high
            foretold += (found.prediction_low or 0.0) <= truths[-1] <= (found.prediction_high or 0.0)
            wrong += not found.low <= TRUTH <= found.high and sign_flip_p(drawn.mean(axis=1) - TRUTH) <= ALPHA
        setting = f"{num_sets} sets of 5 seeds, SD between sets {between:g}"
        for what, hits in (("the mean over data sets", inside), ("the effect on a new data set", foretold)):
            yield Row(f"coverage of the 95 % interval of {what}", setting, hits / simulations, None, None, simulations)
        promise = "an arm wrongly called different over data sets"
        yield Row(promise, setting, wrong / simulations, 0.0, ALPHA, simulations)


def _drawn(generator: np.random.Generator, truths: np.ndarray) -> np.ndarray:
    """Five differences on each data set, (sets, 5)."""
    noise = SD * np.exp(generator.normal(0, 0.7, truths.size))
    return np.asarray(truths[:, None] + generator.normal(0, 1, (truths.size, 5)) * noise[:, None])


def outlier_rows(simulations: int) -> Iterator[Row]:
    """Normal differences, none of them an outlier."""
    for n in (8, 16):
        drawn = np.random.default_rng([34, n]).normal(0, SD, (simulations, n))
        found = float(np.mean([bool(outliers(row)) for row in drawn]))
        yield Row("a seed wrongly named an outlier", f"{n} seeds, normal", found, 0.0, 0.02, simulations)
