"""Power against the published table of few seeds, against statsmodels, and against what seeds can reach."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.power import TTestPower

from ablate.verdicts import power, stats
from ablate.verdicts.factorial import factorial_effects
from ablate.verdicts.maxt import smallest_p, step_down

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"


@pytest.mark.parametrize(
    ("n", "smallest_p"),
    [(3, 0.25), (5, 0.0625), (8, 0.0078), (10, 0.002), (20, 0)],
)
def test_the_smallest_p_of_few_seeds(n: int, smallest_p: float) -> None:
    assert stats.sign_flip_p(np.ones(n)) == pytest.approx(smallest_p, abs=5e-5)


def test_the_power_of_the_t_test_is_statsmodels() -> None:
    theirs = TTestPower().power(0.9, 12, 0.01, alternative="two-sided")
    assert power.t_test_power(0.9, 12, 0.01) == pytest.approx(theirs, abs=1e-3)


@pytest.mark.parametrize("num_contrasts", [1, 4, 15])
def test_fewer_seeds_than_the_exact_test_needs_find_nothing(num_contrasts: int) -> None:
    assert power.seeds_to_reach(0.05) == 6
    assert power.reachable(6, 0.05)
    assert not power.reachable(5, 0.05)
    assert power.detectable(5, 1.0, num_contrasts=num_contrasts) is None
    assert power.power(50.0, 5, num_contrasts=num_contrasts) == 0.0
    assert power.power(50.0, 6, num_contrasts=num_contrasts) == 1.0


def test_a_level_below_the_smallest_p_is_never_reached() -> None:
    """The p of more than 16 seeds is of drawn flips and cannot go below 1 / 32,768."""
    assert power.power(3.0, 40, alpha=1e-5, num_contrasts=100) == 0.0
    assert power.seeds_to_reach(1e-5) is None
    assert power.seeds_needed(1.0, 0.1, alpha=1e-5) is None
    found = step_down(np.random.default_rng(0).normal(30, 1, (40, 5)))
    assert found.min() == smallest_p(40) > 1e-5


def shared_control(n: int, num_contrasts: int, effect: float, generator: np.random.Generator) -> np.ndarray:
    """Differences with SD 1 of arms that share a control; the first arm differs."""
    values = generator.normal(0, np.sqrt(0.5), (n, num_contrasts + 1))
    differences = values[:, 1:] - values[:, :1]
    differences[:, 0] += effect
    return differences


@pytest.mark.parametrize(("n", "num_contrasts"), [(8, 1), (8, 15), (10, 4), (14, 4)])
def test_the_detectable_difference_is_found_four_times_in_five(n: int, num_contrasts: int) -> None:
    effect = power.detectable_effect(n, num_contrasts=num_contrasts)
    assert effect is not None
    generator = np.random.default_rng(5)
    found = [step_down(shared_control(n, num_contrasts, effect, generator))[0] <= 0.05 for _ in range(500)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


def test_the_shared_level_is_dunnetts() -> None:
    """Two-sided 5 % points for endless degrees of freedom: 2.212 for 2 and 2.508 for 5 contrasts (Dunnett 1964)."""
    for num_contrasts, z in ((1, 1.960), (2, 2.212), (5, 2.508)):
        assert -norm.ppf(power.shared_level(0.05, num_contrasts) / 2) == pytest.approx(z, abs=0.006)


@pytest.mark.parametrize("n", [9, 14])
def test_the_promised_power_of_equivalence_is_met(n: int) -> None:
    promised = power.equivalence_power(1.0, 1.0, n)
    d = np.random.default_rng(6).normal(0.0, 1.0, (600, n))
    shown = [max(stats.tost_p(row, 1.0), stats.exact_equivalence_p(row, 1.0)) <= 0.05 for row in d]
    assert np.mean(shown) == pytest.approx(promised, abs=0.05)


def test_seeds_needed_are_the_fewest() -> None:
    n = power.seeds_needed(0.005, 0.005, num_contrasts=4)
    assert n is not None
    assert power.power(1.0, n, num_contrasts=4) >= 0.8 > power.power(1.0, n - 1, num_contrasts=4)


def test_no_spread_and_endless_spread_have_an_answer() -> None:
    assert power.detectable(8, 0.0) == 0.0
    assert power.seeds_to_settle(0.005, 0.0) == 6
    assert power.seeds_to_settle(1e-6, 1.0) is None


def test_the_table_of_the_documentation_is_what_the_rule_can_find() -> None:
    lines = DOCUMENTATION.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| paired seeds | t test"))
    rows = [line.strip("| ").split(" | ") for line in lines[start + 2 : start + 7]]
    for seeds, t_test, *ours in rows:
        theirs = TTestPower().solve_power(nobs=int(seeds), alpha=0.05, power=0.8)
        assert float(t_test) == pytest.approx(theirs, abs=0.006)
        for num_contrasts, said in zip((1, 4, 15), ours, strict=True):
            effect = power.detectable_effect(int(seeds), num_contrasts=num_contrasts)
            assert said == ("none" if effect is None else f"{effect:.2f}")


def test_the_detectable_factorial_effect_is_found_four_times_in_five() -> None:
    levels = dict.fromkeys(("a", "b", "c"), (0, 1))
    cells = [dict(zip(levels, cell, strict=True)) for cell in itertools.product((0, 1), repeat=3)]
    effect = power.detectable_factorial(8, 8, 6, np.sqrt(2))
    assert effect is not None
    generator = np.random.default_rng(7)
    shift = effect * np.array([[cell["b"]] for cell in cells])
    found = 0
    for _ in range(300):
        values = shift + generator.normal(size=(8, 8)) + generator.normal(size=(1, 8))
        table = factorial_effects(cells, values, levels=levels, alpha=0.05, margin=1e-9, higher_is_better=True)
        found += table[1].outcome == "better"
    assert found / 300 == pytest.approx(0.8, abs=0.07)
    assert power.detectable_factorial(4, 5, 3, 1.0) is None
