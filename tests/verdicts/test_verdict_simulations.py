"""A small version of benchmarks/verdict_simulations.py: the promises hold within four standard errors."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from ablate.verdicts.sequential import Look, decide

COMMAND = Path(__file__).resolve().parents[2] / "benchmarks" / "verdict_simulations.py"


@pytest.fixture(scope="module")
def command() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(COMMAND.parent))
        yield importlib.import_module("verdict_simulations")


@pytest.mark.parametrize(
    "rows",
    ["coverage_rows", "images_rows", "null_rows", "margin_rows", "power_rows", "settled_power_rows", "factorial_rows",
     "joint_rows", "noise_rows", "slope_rows", "collapse_rows", "peeking_rows", "block_rows", "stability_rows",
     "repeat_rows", "direction_rows"],
)  # fmt: skip
def test_what_the_verdicts_promise_holds_in_simulation(command: ModuleType, rows: str) -> None:
    for row in getattr(command, rows)(20):
        assert row.kept(4.0), row


def test_what_is_not_promised_is_shown_because_it_does_not_hold(command: ModuleType) -> None:
    tuned, *_ = command.tuning_rows(200)
    (peeking, settled) = command.peeking_rows(300)
    assert tuned.low is None
    assert tuned.found > 0.08
    assert peeking.low is None
    assert peeking.found > 0.07 > settled.found


def test_bootstrap_intervals_cover_as_little_as_the_normal_quantile_and_the_biased_sd_say(command: ModuleType) -> None:
    """Percentiles of resampled means are close to mean +- 1.96 x SD / sqrt(n), where the SD divides by n."""
    rows = [row for row in command.bootstrap_rows(60) if "percentile" in row.promise]
    for row, n in zip(rows, (5, 8, 16), strict=True):
        t = stats.norm.ppf(0.975) * math.sqrt((n - 1) / n)
        covered = stats.t.cdf(t, n - 1) - stats.t.cdf(-t, n - 1)
        assert row.found == pytest.approx(covered, abs=2.5 * math.sqrt(covered * (1 - covered) / 60))
        assert row.low is None


def test_a_common_error_finds_slopes_of_seeds_as_often_as_its_formula_says(command: ModuleType) -> None:
    """Var(estimate) = 1/n + 1/(8n) for a main effect; the error's mean square is 1 + 24 (n - 1) / (7n - 6)."""
    for row, n in zip(command.common_error_rows(400), (6, 8, 12), strict=True):
        df = 7 * n - 6
        ratio = math.sqrt((1 / n + 1 / (8 * n)) / ((1 + 24 * (n - 1) / df) / (8 * n)))
        one = 2 * stats.norm.sf(stats.t.ppf(1 - 0.05 / 12, df) / ratio)
        assert row.found == pytest.approx(1 - (1 - one) ** 3, abs=0.06)
        assert row.low is None


def test_seeds_that_share_a_tuning_are_no_units(command: ModuleType) -> None:
    """As a t test over the same seeds says, with the luck of a block drawn from the settings that it may choose."""
    row = next(command.by_seed_rows(120))
    settings, generator = np.linspace(-1, 1, 8), np.random.default_rng(5)
    best = (-2 * settings**2 + generator.normal(0, 1, (4000, 2, 2, 8))).argmax(axis=3)
    values = np.repeat(-2 * settings[best] ** 2, 8, axis=2) + generator.normal(0, 1, (4000, 2, 16))
    share = float((stats.ttest_1samp(values[:, 1] - values[:, 0], 0, axis=1).pvalue <= 0.05).mean())
    assert row.found == pytest.approx(share, abs=0.06)
    assert min(row.found, share) > 0.08
    assert row.low is None


def test_intervals_over_data_sets_cover_and_their_exact_test_needs_six(command: ModuleType) -> None:
    rows = list(command.data_set_rows(40))
    for mean, new, wrong in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert mean.setting == new.setting == wrong.setting
        assert 0.75 < mean.found < 1.0
        assert new.found > 0.65
        assert wrong.kept(4.0), wrong
        assert wrong.found == 0 or not wrong.setting.startswith(("3 ", "5 "))
    assert any(wrong.found for wrong in rows[2::3])


def test_normal_seeds_are_named_outliers_about_as_often_as_the_level_says(command: ModuleType) -> None:
    for row in command.outlier_rows(500):
        assert row.kept(4.0), row
        assert row.found >= 0.004


def test_only_a_difference_of_the_other_sign_counts_as_the_contrary(command: ModuleType) -> None:
    up = np.linspace(2, 3, 8)
    decided = decide(
        {"0": up, "1": -up, "2": up - up.mean()}, (Look(8, 1.0),), alpha=0.05, margin=1e-9, num_contrasts=3
    )
    assert [one.conclusion for one in decided.values()] == ["different", "different", "open"]
    assert not command._contrary(decided, [0.1, -0.1, 0.1])
    assert command._contrary(decided, [-0.1, -0.1, 0.1])
    assert command._contrary(decided, [0.1, 0.1, 0.1])


def test_the_table_in_the_documentation_is_of_this_command(command: ModuleType) -> None:
    table = command.TABLE.read_text()
    assert "python benchmarks/verdict_simulations.py" in table
    for promise in (
        "coverage",
        "wrongly called different",
        "wrongly called equivalent",
        "promised 80 %",
        "settled",
        "joint coverage",
        "trainings that others published",
        "collapses",
        "tuned twice",
        "not promised",
        "tuned twice for every seed",
        "a repeat lies in the interval",
        "wrongly said to hold at every level",
    ):
        assert promise in table
