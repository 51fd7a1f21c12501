"""``ask = "no_worse"``: one-sided, against scipy, and by simulation at the margin."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats as scipy_stats

from ablate.design.study import Study
from ablate.verdicts import power
from ablate.verdicts.judge import judge
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.sequential import Look, decide

Make = Callable[..., Any]
RNG = np.random.default_rng(3)
CONTROL = 0.95 + RNG.normal(0, 0.004, 8)
SLIGHTLY_WORSE = CONTROL - 0.002 + RNG.normal(0, 0.0005, 8)
NOISY = CONTROL - 0.004 + np.array([-1, 1, -2, 2, -3, 3, -4, 4]) * 0.002
BETTER = CONTROL + 0.004 + RNG.normal(0, 0.0005, 8)
WORSE = CONTROL - 0.02 + RNG.normal(0, 0.0005, 8)
ASK = {"ask": "no_worse"}


def judged(campaign: Make, arms: dict[str, np.ndarray], **study: Any) -> Judgement:
    made = campaign({"control": CONTROL, **arms}, **{"decision": ASK, **study})
    return judge(made.plan, made.records)


def test_each_outcome_comes_out_where_it_should(campaign: Make) -> None:
    found = judged(campaign, {"a": SLIGHTLY_WORSE, "b": NOISY, "c": BETTER, "d": WORSE})
    assert [one.outcome for one in found.verdicts] == ["no worse", "undecided", "better", "worse"]
    assert "a difference smaller than the margin was found" in found.verdict("a").why
    assert found.verdict("a").why.startswith("not worse by 0.50 points or more: -0.")
    assert "No worse: a one-sided test" in found.method


def test_the_p_is_the_larger_of_scipys_one_sided_t_test_and_a_count_over_all_flips(campaign: Make) -> None:
    contrast = judged(campaign, {"a": NOISY}).verdict("a").contrast
    assert contrast is not None
    theirs = scipy_stats.ttest_1samp(NOISY - CONTROL, -0.005, alternative="greater").pvalue
    above = NOISY - CONTROL + 0.005
    flips = np.array(list(itertools.product((1, -1), repeat=8))) @ above
    assert contrast.equivalence_p == pytest.approx(max(theirs, (flips >= above.sum() - 1e-12).mean()))


def test_where_lower_is_better_the_good_side_turns(campaign: Make) -> None:
    """The fixture's loss is 1 - accuracy: an arm of higher accuracy has the lower loss."""
    better = judged(campaign, {"a": BETTER}, decision={**ASK, "metric": "test_loss"})
    worse = judged(campaign, {"a": WORSE}, decision={**ASK, "metric": "test_loss"})
    assert (better.verdict("a").outcome, worse.verdict("a").outcome) == ("better", "worse")


def test_an_expectation_of_no_worse_holds_where_better_comes_out(campaign: Make) -> None:
    found = judged(campaign, {"a": BETTER, "d": WORSE}, expect={"a": "no worse", "d": "no worse"})
    assert (found.verdict("a").held, found.verdict("d").held) == (True, False)


def test_an_expectation_that_cannot_come_out_is_refused() -> None:
    for expected, decision in (("no worse", {}), ("equivalent", ASK)):
        fields = {"name": "x", "arms": {"a": {"bottleneck": "relu"}}, "expect": {"a": expected}, "decision": decision}
        with pytest.raises(ValidationError, match="cannot come out"):
            Study.model_validate(fields)


@pytest.mark.parametrize("m", [1, 4])
def test_an_arm_that_is_worse_by_the_margin_is_called_no_worse_in_alpha_of_the_studies(m: int) -> None:
    generator = np.random.default_rng(m)
    wrong = 0
    for _ in range(600):
        values = generator.normal(size=(m + 1, 10))
        arms = {str(place): row - 2.0 - values[0] for place, row in enumerate(values[1:])}
        found = decide(arms, (Look(10, 1.0),), alpha=0.05, margin=2.0, num_contrasts=m, good=1)
        wrong += any(one.conclusion == "no worse" for one in found.values())
    assert wrong / 600 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


def test_the_power_is_that_of_the_one_sided_test() -> None:
    promised = power.no_worse_power(1.0, 1.0, 9)
    d = np.random.default_rng(6).normal(0.0, 1.0, (600, 9))
    found = [decide({"a": row}, (Look(9, 1.0),), alpha=0.05, margin=1.0, num_contrasts=1, good=1)["a"] for row in d]
    shown = np.mean([one.equivalence_holm_p <= 0.05 for one in found])
    assert shown == pytest.approx(promised, abs=0.05)
    assert promised > power.equivalence_power(1.0, 1.0, 9)
