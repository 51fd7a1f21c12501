"""Co-primary metrics: one family with the deciding metric, and the gain in seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ablate.design.sealed import SealedPlan
from ablate.verdicts.contrast import paired_contrast
from ablate.verdicts.family import seed_gain
from ablate.verdicts.judge import judge, wanted
from ablate.verdicts.maxt import step_down
from ablate.verdicts.tally import tally

Make = Callable[..., Any]
LOSS = {"decision": {"co_primary": {"test_loss": {"margin": 0.05}}}}


def with_losses(made: Any, losses: dict[str, np.ndarray]) -> Any:
    """The campaign with these test losses in its records."""
    for arm, values in losses.items():
        for trial, value in zip(made.plan.arm_trials(arm), values, strict=False):
            record = made.records[trial.key]
            made.records[trial.key] = dataclasses.replace(record, metrics=record.metrics | {"test_loss": float(value)})
    return made


def drawn(generator: np.random.Generator, n: int = 8) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Accuracies and losses of a control and an arm: the accuracies are alike, the losses are not."""
    accuracies = {name: 0.9 + generator.normal(0, 0.01, n) for name in ("control", "a", "b")}
    losses = {"control": 0.3, "a": 0.5, "b": 0.301}
    return accuracies, {name: mean + generator.normal(0, 0.01, n) for name, mean in losses.items()}


def test_a_loss_is_judged_with_its_own_margin_and_direction(campaign: Make) -> None:
    accuracies, losses = drawn(np.random.default_rng(1))
    found = judge(*(lambda made: (made.plan, made.records))(with_losses(campaign(accuracies, **LOSS), losses)))
    (loss,) = found.co_primary
    assert (loss.metric, loss.margin, loss.higher_is_better) == ("test_loss", 0.05, False)
    assert {one.arm: one.outcome for one in loss.verdicts} == {"a": "worse", "b": "equivalent"}
    assert found.num_contrasts == 4
    contrast = loss.verdicts[0].contrast
    assert contrast is not None
    difference = losses["a"] - losses["control"]
    span = stats.t.interval(0.95, 7, difference.mean(), stats.sem(difference))
    assert (contrast.low, contrast.high) == pytest.approx(span)
    assert contrast.joint_low is not None
    assert contrast.joint_high is not None
    assert contrast.joint_low <= contrast.low < contrast.high <= contrast.joint_high


def test_the_adjusted_p_is_max_t_over_both_metrics_of_every_arm(campaign: Make) -> None:
    accuracies, losses = drawn(np.random.default_rng(2))
    made = with_losses(campaign(accuracies, **LOSS), losses)
    found = judge(made.plan, made.records)
    columns = [values[arm] - values["control"] for values in (accuracies, losses) for arm in ("a", "b")]
    every = [one.contrast.adjusted_p for one in found.every_verdict if one.contrast is not None]
    assert every == pytest.approx(list(step_down(np.column_stack(columns))))


def test_without_a_co_primary_nothing_of_a_judgement_changes(campaign: Make) -> None:
    accuracies, losses = drawn(np.random.default_rng(3))
    made = with_losses(campaign(accuracies), losses)
    found = judge(made.plan, made.records)
    assert found.co_primary == ()
    assert found.num_contrasts == 2
    assert "co_primary" not in str(made.plan.study.model_dump(exclude_defaults=True))


def test_a_loss_that_is_no_number_is_a_fault_of_its_seed(campaign: Make) -> None:
    accuracies, losses = drawn(np.random.default_rng(4))
    losses["a"][3] = np.nan
    made = with_losses(campaign(accuracies, **LOSS), losses)
    found = judge(made.plan, made.records)
    assert found.verdict("a").outcome == "not judged"
    assert "no finite test_loss" in found.verdict("a").why


def test_a_study_until_settled_adds_seeds_while_either_metric_is_open(campaign: Make) -> None:
    generator = np.random.default_rng(5)
    accuracies = {"control": 0.90 + generator.normal(0, 0.001, 8), "a": 0.95 + generator.normal(0, 0.001, 8)}
    plan = {"seeds": 8, "until": "settled", "max_seeds": 12}
    for rule, more in (({}, 0), (LOSS, 8)):
        made = campaign(accuracies, plan=plan, **rule)
        with_losses(made, {name: generator.normal(0.3, 0.2, 8) for name in accuracies})
        assert len(wanted(made.plan, made.records)) == 16 + more


def test_a_noise_floor_that_differs_in_the_loss_alone_voids_every_verdict(campaign: Make) -> None:
    accuracies, losses = drawn(np.random.default_rng(6))
    accuracies["noise_floor"] = accuracies["b"]
    losses["noise_floor"] = losses["a"]
    made = with_losses(campaign(accuracies, noise_floor=True, **LOSS), losses)
    found = judge(made.plan, made.records)
    assert not found.stands
    assert {one.outcome for one in found.every_verdict} == {"not judged"}


def test_a_margin_of_the_loss_that_was_changed_after_the_seal_is_exploratory(campaign: Make) -> None:
    accuracies, losses = drawn(np.random.default_rng(7))
    made = with_losses(campaign(accuracies, **LOSS), losses)
    before = campaign(accuracies, decision={"co_primary": {"test_loss": {"margin": 0.3}}})
    sealed = SealedPlan(plan=before.plan, sealed_at=1.0, commit="")
    found = judge(made.plan, made.records, [sealed])
    assert found.registration is not None
    assert "decision.co_primary.test_loss.margin was 0.3 when the plan was sealed and is 0.05 now" in str(
        found.registration.reasons
    )


def test_the_tally_counts_the_contrasts_of_every_metric_that_decides(campaign: Make) -> None:
    accuracies, losses = drawn(np.random.default_rng(11))
    made = with_losses(campaign(accuracies, **LOSS), losses)
    found = tally([(made.plan, judge(made.plan, made.records))])
    assert (found.contrasts, found.different) == (4, 1)


def test_the_gain_in_seeds_is_the_ratio_of_the_squared_effects_and_its_interval_holds(campaign: Make) -> None:
    accuracies, losses = drawn(np.random.default_rng(9))
    accuracies["a"] = accuracies["a"] - 0.05
    made = with_losses(campaign(accuracies, **LOSS), losses)
    found = judge(made.plan, made.records)
    (gain,) = found.co_primary[0].gains.values()
    effects = [
        stats.ttest_rel(values["a"], values["control"]).statistic for values in (accuracies, losses)
    ]  # t = effect x sqrt(n)
    assert gain.ratio == pytest.approx((effects[1] / effects[0]) ** 2)
    assert gain.low < gain.ratio < gain.high


def test_the_interval_of_a_gain_is_as_wide_as_gains_vary_from_study_to_study() -> None:
    """The SD of the logarithm over 4,000 studies of 40 seeds, whose two metrics correlate by .9."""
    drawn = np.random.default_rng(11).normal(size=(2, 4000, 40))
    both = drawn[0] + 1.0, 0.9 * drawn[0] + np.sqrt(1 - 0.9**2) * drawn[1] + 1.5
    ratios = [(one.mean(axis=1) / one.std(axis=1, ddof=1)) ** 2 for one in both]
    reach = stats.t.ppf(0.975, 39) * np.log(ratios[1] / ratios[0]).std()
    gains = []
    for row in range(100):
        first, second = (paired_contrast("a", "x", tuple(range(40)), one[row], np.zeros(40), 0.95) for one in both)
        found = [dataclasses.replace(one, adjusted_p=0.001) for one in (first, second)]
        gain = seed_gain(found[0], found[1], 0.05)
        assert gain is not None
        gains.append(np.log(gain.high / gain.ratio))
    assert np.median(gains) == pytest.approx(reach, rel=0.1)


def test_a_noise_floor_is_no_part_of_the_arms_family(campaign: Make) -> None:
    generator = np.random.default_rng(12)
    accuracies = {name: 0.9 + generator.normal(0, 0.01, 8) for name in ("control", "a", "b", "c", "noise_floor")}
    made = campaign(accuracies, noise_floor=True)
    floor = judge(made.plan, made.records).noise_floor
    assert floor is not None
    assert floor.contrast is not None
    assert floor.contrast.adjusted_p == floor.contrast.p


def test_no_gain_is_told_of_a_difference_that_was_not_found(campaign: Make) -> None:
    accuracies, losses = drawn(np.random.default_rng(10))
    made = with_losses(campaign(accuracies, **LOSS), losses)
    found = judge(made.plan, made.records)
    assert found.co_primary[0].gains == {}
    first, second = (one[0].contrast for one in (found.verdicts, found.co_primary[0].verdicts))
    assert first is not None
    assert second is not None
    assert seed_gain(first, second, 0.05) is None
