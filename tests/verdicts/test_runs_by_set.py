"""Runs on several data sets: contrasts that others published, and the question over all data sets."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from ablate.verdicts.judgement import Judgement
from ablate.verdicts.runs_by_set import judge_sets
from ablate.verdicts.samples import Question

REAL = Path(__file__).parents[1] / "realdata"
Sets = dict[str, dict[str, dict[int, float]]]


def households(arch: str) -> Sets:
    """House -> on or off -> seed -> mean absolute error."""
    found: Sets = defaultdict(lambda: defaultdict(dict))
    with (REAL / "training_randomness_generality.csv").open() as file:
        for row in csv.DictReader(file):
            if row["arch"] == arch:
                found[row["house"]][row["state"]][int(row["seed"])] = float(row["test_mae"])
    return found


def judged(sets: Sets, margin: float = 0.0, **expect: str) -> Judgement:
    return judge_sets(sets, Question(metric="mae", control="off", higher_is_better=False, margin=margin, expect=expect))


def made(
    effects: list[float], *, sd: float = 0.1, seeds: int = 5, arms: tuple[str, ...] = ("on",), seed: int = 0
) -> Sets:
    generator = np.random.default_rng(seed)
    return {
        f"set_{i}": {"off": dict.fromkeys(range(seeds), 0.0)}
        | {arm: {s: float(generator.normal(effect, sd)) for s in range(seeds)} for arm in arms}
        for i, effect in enumerate(effects)
    }


@pytest.mark.parametrize("arch", ["bilstm", "patchtst"])
def test_each_households_contrast_is_the_one_that_its_authors_published(arch: str) -> None:
    with (REAL / "training_randomness_published_per_house.csv").open() as file:
        published = {r["house"]: -float(r["mean_effect_w"]) for r in csv.DictReader(file) if r["arch"] == arch}
    ours = {one.data_set: one.mean_difference for one in judged(households(arch)).per_set}
    assert ours.keys() >= published.keys()
    assert {name: ours[name] for name in published} == pytest.approx(published, abs=6e-5)
    assert len(published) >= 16


@pytest.mark.parametrize("arch", ["bilstm", "patchtst"])
def test_over_17_households_neither_ablation_is_told_from_zero(arch: str) -> None:
    judgement = judged(households(arch))
    (verdict,) = judgement.verdicts
    assert verdict.outcome == "undecided"
    pooled = verdict.contrast and verdict.contrast.pooled
    assert pooled is not None
    assert pooled.num_sets == 17
    assert pooled.low < 0 < pooled.high
    assert pooled.prediction_low is not None
    assert pooled.prediction_low < pooled.low
    assert all(one.adjusted_p is None and one.n == 5 for one in judgement.per_set)


def test_an_effect_on_every_data_set_is_found_with_the_metrics_direction() -> None:
    judgement = judged(made([-0.5, -0.6, -0.4, -0.7, -0.5, -0.55, -0.45, -0.6]), on="better")
    (verdict,) = judgement.verdicts
    assert verdict.outcome == "better"
    assert verdict.held
    assert verdict.contrast is not None
    assert verdict.contrast.p == pytest.approx(2 / 2**8)
    assert "8 data sets" in verdict.why


def test_one_data_set_is_one_unit_however_many_seeds_it_has() -> None:
    judgement = judged(made([-0.5, -0.5, -0.5], seeds=30, sd=0.01))
    assert judgement.verdicts[0].outcome == "undecided"
    assert any("cannot reach its level" in said for said in judgement.statements)


def test_equal_on_every_data_set_is_equivalent_within_a_margin() -> None:
    assert judged(made([0.0] * 8), margin=0.5).verdicts[0].outcome == "equivalent"
    assert judged(made([0.0] * 8), margin=0.01).verdicts[0].outcome == "undecided"
    assert judged(made([0.9, -0.9] * 4), margin=0.5).verdicts[0].outcome == "undecided"


def test_no_worse_over_data_sets_looks_at_the_bad_side_of_the_margin_alone() -> None:
    def outcome(effects: list[float]) -> str:
        question = Question(metric="mae", control="off", higher_is_better=False, margin=0.5, no_worse=True)
        return judge_sets(made(effects), question).verdicts[0].outcome

    assert outcome([0.01, -0.02, 0.03, -0.01, 0.02, -0.03, 0.01, -0.02]) == "no worse"
    assert outcome([-0.9, 0.2, -0.8, 0.1, -0.7, 0.1, -0.9, 0.2]) == "no worse"  # no equivalence: far on the good side
    assert outcome([0.9, -0.2, 0.8, -0.1, 0.7, -0.1, 0.9, -0.2]) == "undecided"


def test_a_data_set_without_spread_or_alone_leaves_the_arm_unjudged_and_says_why() -> None:
    flat = made([0.5] * 6)
    flat["set_2"]["on"] = dict.fromkeys(range(5), 0.5)
    (verdict,) = judged(flat).verdicts
    assert verdict.outcome == "not judged"
    assert "set_2" in verdict.why
    (alone,) = judged(made([0.5])).verdicts
    assert alone.outcome == "not judged"


def test_an_arm_that_cannot_be_pooled_still_counts_in_the_family() -> None:
    effects = [-0.5, -0.6, -0.4, -0.7, -0.5, -0.55, -0.45, -0.6]
    both = made(effects, arms=("on", "flat"))
    for runs in both.values():
        runs["flat"] = dict.fromkeys(range(5), 0.1)
    judgement = judged(both)
    on = judgement.verdict("on").contrast
    assert judgement.num_contrasts == 2
    assert judgement.verdict("flat").outcome == "not judged"
    assert on is not None
    assert on.adjusted_p == pytest.approx(2 * on.p)


def test_an_arm_absent_from_a_data_set_is_judged_over_the_others_and_that_is_said() -> None:
    sets = made([-0.5] * 8, arms=("on", "late"))
    del sets["set_0"]["late"]
    judgement = judged(sets)
    late = judgement.verdict("late").contrast
    assert late is not None
    assert late.n == 7
    assert any("late has no runs on set_0" in said for said in judgement.statements)
