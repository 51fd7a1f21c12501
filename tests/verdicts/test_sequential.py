"""Studies that stop when they are settled: the looks, what each may spend, and which trials come next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ablate.design.study import Plan
from ablate.verdicts.judge import judge, wanted
from ablate.verdicts.sequential import Look, decide, planned_looks

Make = Callable[..., Any]
SETTLED = {"seeds": 10, "until": "settled", "max_seeds": 18, "block": 4}
RNG = np.random.default_rng(8)
CONTROL = 0.95 + RNG.normal(0, 0.004, 18)
WORSE = CONTROL - 0.03 + RNG.normal(0, 0.004, 18)
NOISY = CONTROL + RNG.normal(0, 0.02, 18)


def test_an_ordinary_plan_has_one_look_that_spends_all() -> None:
    assert planned_looks(Plan(seeds=8), alpha=0.05) == (Look(8, 1.0),)


def test_the_looks_end_at_the_most_seeds_and_spend_alpha_by_the_square() -> None:
    looks = planned_looks(Plan.model_validate(SETTLED), alpha=0.05)
    assert [look.seeds for look in looks] == [10, 14, 18]
    assert np.cumsum([look.share for look in looks]) == pytest.approx((np.array([10, 14, 18]) / 18) ** 2)


@pytest.mark.parametrize(("seeds", "sizes"), [(8, [8, 12, 16, 20]), (4, [8, 12, 16, 20])])
def test_a_look_at_which_nothing_can_be_decided_is_not_taken_and_costs_nothing(seeds: int, sizes: list[int]) -> None:
    plan = Plan(seeds=seeds, until="settled", max_seeds=20, block=4)
    looks = planned_looks(plan, alpha=0.05)
    assert [look.seeds for look in looks] == sizes
    assert sum(look.share for look in looks) == pytest.approx(1)
    assert all(2 / 2**look.seeds <= 0.05 * look.share for look in looks)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"until": "settled"}, "needs max_seeds"),
        ({"max_seeds": 9}, "needs until"),
        ({"block": 2}, "needs until"),
        ({"seeds": 8, "until": "settled", "max_seeds": 4}, "max_seeds must be at least seeds = 8, got 4"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Plan.model_validate(fields)


def test_a_p_over_looks_is_the_smallest_of_each_p_by_its_share() -> None:
    d = np.array([1.0, 2.0, 3.0, 4.0, 5.0, -6.0, 7.0, 8.0])
    looks = (Look(5, 0.25), Look(8, 0.75))
    found = decide({"a": d}, looks, alpha=0.05, margin=0.1, num_contrasts=1)["a"]
    assert found.look == looks[1]
    assert found.adjusted_p == pytest.approx(min(2 / 2**5 / 0.25, found.p / 0.75))


def test_an_arm_that_an_early_look_showed_equivalent_still_counts_in_the_family() -> None:
    generator = np.random.default_rng(1)
    same = generator.normal(0, 0.01, 16)
    other = np.concatenate([[1.0, -1.0] * 4, generator.normal(2.0, 1, 8)])
    looks = (Look(8, 0.3), Look(16, 0.7))
    found = decide({"same": same, "other": other}, looks, alpha=0.05, margin=0.5, num_contrasts=2)
    alone = decide({"other": other}, looks, alpha=0.05, margin=0.5, num_contrasts=1)
    assert (found["same"].conclusion, found["same"].look.seeds) == ("equivalent", 8)
    assert found["other"].look.seeds == 16
    assert found["other"].adjusted_p >= 2 * found["other"].p / 0.7 * (1 - 1e-9)
    assert alone["other"].adjusted_p == pytest.approx(found["other"].p / 0.7)


def test_what_an_early_look_decided_later_seeds_do_not_change() -> None:
    d = np.concatenate([np.linspace(1.0, 2.0, 10), np.full(10, -50.0)])
    looks = (Look(10, 0.5), Look(20, 0.5))
    found = decide({"a": d}, looks, alpha=0.05, margin=0.1, num_contrasts=1)["a"]
    assert (found.conclusion, found.look.seeds) == ("different", 10)


def test_a_decided_arm_gets_no_more_seeds_and_the_control_keeps_up_with_the_open_one(campaign: Make) -> None:
    first = {"control": CONTROL[:10], "a": WORSE[:10], "b": NOISY[:10]}
    made = campaign(first, plan=SETTLED)
    needed = wanted(made.plan, made.records)
    assert {arm: sum(trial.arm == arm for trial in needed) for arm in first} == {"control": 14, "a": 10, "b": 14}
    found = judge(made.plan, made.records)
    assert (found.verdict("a").outcome, found.verdict("a").settled_at) == ("worse", 10)
    assert (found.verdict("b").outcome, found.verdict("b").settled_at) == ("undecided", None)


def test_nothing_more_is_wanted_after_the_last_look(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE[:10], "b": NOISY}, plan=SETTLED)
    needed = wanted(made.plan, made.records)
    assert {trial.key for trial in needed} == set(made.records)
    assert judge(made.plan, made.records).num_seeds == 18


def test_before_the_first_look_its_seeds_are_wanted_and_nothing_is_judged(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE, "b": NOISY}, plan=SETTLED)
    assert len(wanted(made.plan, {})) == 3 * 10
    assert {verdict.outcome for verdict in judge(made.plan, {}).verdicts} == {"not judged"}


def test_a_failed_seed_stops_an_open_contrast_and_not_a_decided_one(campaign: Make) -> None:
    made = campaign({"control": CONTROL[:14], "a": WORSE[:14], "b": NOISY[:14]}, plan=SETTLED)
    made.spoil("control", 11, status="failed", metrics={})
    found = judge(made.plan, made.records)
    assert found.verdict("a").outcome == "worse"
    assert found.verdict("b").outcome == "not judged"
    assert "seed 11 of control failed" in found.verdict("b").why


def test_the_interval_at_an_early_look_is_the_wider_one_it_must_be(campaign: Make) -> None:
    plain = campaign({"control": CONTROL[:10], "a": WORSE[:10]})
    early = campaign({"control": CONTROL[:10], "a": WORSE[:10]}, plan=SETTLED)
    one, two = (judge(made.plan, made.records).verdict("a").contrast for made in (plain, early))
    assert one is not None
    assert two is not None
    assert two.low < one.low < one.high < two.high
    assert "looks" in judge(early.plan, early.records).method.lower()
