"""Judgements of campaigns made by hand: what comes out, what stays out, and what is said about it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ablate.design.plan import make_plan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.verdicts.contrast import describe
from ablate.verdicts.gather import gather
from ablate.verdicts.judge import judge, wanted
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.maxt import step_down
from ablate.verdicts.stats import sign_flip_p

Make = Callable[..., Any]
RNG = np.random.default_rng(3)
CONTROL = 0.95 + RNG.normal(0, 0.004, 10)
WORSE = CONTROL - 0.018 + RNG.normal(0, 0.004, 10)
BETTER = CONTROL + 0.018 + RNG.normal(0, 0.004, 10)
SAME = CONTROL + RNG.normal(0, 0.0008, 10)
NOISY = CONTROL + RNG.normal(0, 0.01, 10)
AGAIN = 0.95 + RNG.normal(0, 0.004, 10)


def judged(campaign: Any) -> Judgement:
    return judge(campaign.plan, campaign.records)


def outcomes(judgement: Judgement) -> dict[str, str]:
    return {verdict.arm: verdict.outcome for verdict in judgement.verdicts}


def test_each_outcome_comes_out_where_it_should(campaign: Make) -> None:
    found = judged(campaign({"control": CONTROL, "a": WORSE, "b": BETTER, "c": SAME, "d": NOISY}))
    assert outcomes(found) == {"a": "worse", "b": "better", "c": "equivalent", "d": "undecided"}
    assert found.stands
    assert found.num_contrasts == 4


def test_the_adjusted_p_is_max_t_over_every_arm_and_the_p_is_the_exact_one(campaign: Make) -> None:
    arms = {"a": WORSE, "b": BETTER, "c": SAME, "d": NOISY}
    found = judged(campaign({"control": CONTROL, **arms}))
    differences = np.column_stack([values - CONTROL for values in arms.values()])
    contrasts = [verdict.contrast for verdict in found.verdicts if verdict.contrast]
    assert [one.p for one in contrasts] == pytest.approx([sign_flip_p(column) for column in differences.T])
    assert [one.adjusted_p for one in contrasts] == pytest.approx(list(step_down(differences)))


def test_where_lower_is_better_the_sign_of_the_verdict_turns_and_the_number_does_not(campaign: Make) -> None:
    found = judged(campaign({"control": CONTROL, "a": WORSE}, decision={"metric": "test_loss"}))
    assert outcomes(found) == {"a": "worse"}
    contrast = found.verdict("a").contrast
    assert contrast is not None
    assert contrast.mean_difference > 0


def test_a_difference_smaller_than_the_margin_is_equivalent_and_says_so(campaign: Make) -> None:
    found = judged(campaign({"control": CONTROL, "a": SAME - 0.002})).verdict("a")
    assert found.outcome == "equivalent"
    assert "a difference smaller than the margin was found" in found.why


@pytest.mark.parametrize(
    ("expected", "held"), [("worse", True), ("different", True), ("better", False), ("undecided", False)]
)
def test_what_was_expected_is_compared_with_what_came(campaign: Make, expected: str, held: bool) -> None:
    assert judged(campaign({"control": CONTROL, "a": WORSE}, expect={"a": expected})).verdict("a").held is held


def test_an_expectation_of_an_undecided_arm_neither_held_nor_failed(campaign: Make) -> None:
    found = judged(campaign({"control": CONTROL, "a": NOISY, "b": NOISY}, expect={"a": "worse", "b": "undecided"}))
    assert (found.verdict("a").held, found.verdict("b").held) == (None, True)


def test_an_undecided_arm_says_what_its_seeds_can_find_and_how_many_would_settle_it(campaign: Make) -> None:
    verdict = judged(campaign({"control": CONTROL, "a": NOISY})).verdict("a")
    contrast = verdict.contrast
    assert contrast is not None
    assert contrast.detectable == pytest.approx(1.03 * contrast.sd_difference, rel=0.02)
    assert f"{100 * contrast.detectable:.2f} points" in verdict.why
    assert f"about {contrast.seeds_to_settle} seeds would settle it" in verdict.why


@pytest.mark.parametrize("seeds", [2, 5])
def test_seeds_that_cannot_decide_anything_promise_no_number_that_would(campaign: Make, seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    made = campaign({name: generator.normal(0.9, 0.01, seeds) for name in ("control", "a")})
    verdict = judge(made.plan, made.records).verdict("a")
    assert "the exact test cannot reach its level: 6 are needed" in verdict.why
    assert "settle" not in verdict.why
    assert verdict.contrast is not None
    assert verdict.contrast.seeds_to_settle is None


def test_a_missing_seed_of_an_arm_stops_this_arm_only(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE, "b": BETTER})
    made.drop("a", 4)
    found = judged(made)
    assert outcomes(found) == {"a": "not judged", "b": "better"}
    assert found.verdict("a").contrast is None
    assert "seed 4 of a has no record" in found.verdict("a").why
    assert found.verdict("b").contrast is not None
    assert found.num_contrasts == 2


def test_the_family_keeps_its_size_when_an_arm_cannot_be_judged(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE, "b": BETTER})
    made.drop("a", 4)
    contrast = judged(made).verdict("b").contrast
    assert contrast is not None
    assert contrast.adjusted_p == 2 * contrast.p


def test_a_failed_seed_of_the_control_stops_every_arm(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE, "b": BETTER})
    made.spoil("control", 9, status="failed", reason="out of memory\nmore lines", metrics={})
    found = judged(made)
    assert set(outcomes(found).values()) == {"not judged"}
    assert "seed 9 of control failed (out of memory)" in found.verdict("a").why
    assert found.statements[0].startswith("Not every planned seed has a sound record")


def test_divergence_is_stated_by_arm_and_accuracy_is_not_judged(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE, "b": BETTER})
    made.spoil("a", 2, status="diverged", diverged_step=7, metrics={})
    made.spoil("a", 5, status="diverged", diverged_step=7, metrics={})
    found = judged(made)
    assert outcomes(found) == {"a": "not judged", "b": "better"}
    assert found.divergence == {"control": (0, 10), "a": (2, 10), "b": (0, 10)}
    assert "a 2 of 10" in found.statements[0]


def test_a_metric_that_is_nan_is_a_fault_and_no_number_of_the_table_is_nan(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE, "b": BETTER})
    made.spoil("a", 0, metrics={"test_accuracy": float("nan"), "test_loss": 1.0})
    found = judged(made)
    assert "seed 0 of a has no finite test_accuracy" in found.verdict("a").why
    assert "nan" not in repr(found)


def test_one_seed_is_undecided_without_an_interval(campaign: Make) -> None:
    verdict = judged(campaign({"control": CONTROL[:1], "a": WORSE[:1]})).verdict("a")
    assert verdict.outcome == "undecided"
    assert verdict.contrast is not None
    assert (verdict.contrast.low, verdict.contrast.p, verdict.contrast.detectable) == (None, 1.0, None)
    assert "no interval from one seed" in verdict.why
    assert "6 are needed" in verdict.why


@pytest.mark.parametrize(("shift", "outcome"), [(0.0, "equivalent"), (-0.02, "worse"), (0.001, "equivalent")])
def test_equal_differences_get_a_verdict_and_no_nan(campaign: Make, shift: float, outcome: str) -> None:
    found = judged(campaign({"control": CONTROL, "a": CONTROL + shift}))
    assert outcomes(found) == {"a": outcome}
    assert "nan" not in repr(found)


def test_two_seeds_that_agree_prove_nothing(campaign: Make) -> None:
    assert outcomes(judged(campaign({"control": CONTROL[:2], "a": CONTROL[:2]}))) == {"a": "undecided"}


def test_an_arm_at_chance_gets_no_verdict(campaign: Make) -> None:
    found = judged(campaign({"control": CONTROL, "a": np.full(10, 0.104), "b": BETTER}))
    assert outcomes(found) == {"a": "not judged", "b": "better"}
    why = found.verdict("a").why
    assert why == "a is no better than chance on the test images, so there is nothing to compare."
    assert found.verdict("a").contrast is not None


def test_when_every_arm_is_at_chance_there_is_no_winner(campaign: Make) -> None:
    found = judged(campaign({"control": np.full(10, 0.1), "a": np.full(10, 0.11)}))
    assert outcomes(found) == {"a": "not judged"}
    assert "Every arm is at chance level: there is no winner." in found.statements


def test_chance_is_the_most_frequent_class_where_that_is_known(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": np.full(10, 0.6)})
    for position in range(10):
        made.spoil("a", position, chance=0.6)
    assert outcomes(judged(made)) == {"a": "not judged"}


def test_a_noise_floor_without_a_difference_lets_the_verdicts_stand(campaign: Make) -> None:
    found = judged(campaign({"control": CONTROL, "a": WORSE, "noise_floor": AGAIN}, noise_floor=True))
    assert found.noise_floor is not None
    assert found.noise_floor.outcome in ("undecided", "equivalent")
    assert found.stands
    assert outcomes(found) == {"a": "worse"}
    assert found.num_contrasts == 1


def test_a_noise_floor_says_what_it_would_have_found(campaign: Make) -> None:
    found = judged(campaign({"control": CONTROL, "a": WORSE, "noise_floor": AGAIN}, noise_floor=True))
    assert found.noise_floor is not None
    contrast = found.noise_floor.contrast
    assert contrast is not None
    (told,) = [one for one in found.statements if one.startswith("The noise floor passed")]
    assert f"it would have found one of {100 * contrast.detectable:.2f} points with 80 % power" in told


def test_a_noise_floor_of_too_few_seeds_cannot_tell_and_does_not_pass(campaign: Make) -> None:
    values = {"control": CONTROL[:5], "a": WORSE[:5], "noise_floor": AGAIN[:5] - 0.1}
    found = judged(campaign(values, noise_floor=True))
    assert any(one.startswith("The noise floor cannot tell: it could not fail with fewer than 6 seeds, and has 5")
               for one in found.statements)  # fmt: skip
    assert not any("passed" in one for one in found.statements)


def test_the_noise_floor_of_a_tuned_study_says_that_it_was_tuned_on_its_own(campaign: Make) -> None:
    tuning = {"trials": 2, "space": {"lr": {"low": 1e-3, "high": 1e-1, "log": True}}}
    values = {"control": CONTROL, "a": WORSE, "noise_floor": AGAIN}
    found = judged(campaign(values, noise_floor=True, tuning=tuning))
    assert any("It was tuned separately, with its own tuning seeds." in one for one in found.statements)


def test_equivalence_is_shown_with_the_interval_of_its_tests(campaign: Make) -> None:
    verdict = judged(campaign({"control": CONTROL, "a": SAME})).verdict("a")
    assert verdict.contrast is not None
    low, high = scipy_stats.ttest_1samp(SAME - CONTROL, 0).confidence_interval(0.9)
    assert (verdict.contrast.tost_low, verdict.contrast.tost_high) == pytest.approx((low, high))
    assert f"90 % interval {100 * low:+.2f} points to {100 * high:+.2f} points" in verdict.why


@pytest.mark.parametrize("shift", [0.03, 0.0045])
def test_a_noise_floor_with_a_difference_voids_every_verdict_and_says_so_first(campaign: Make, shift: float) -> None:
    floor = CONTROL + shift + RNG.normal(0, 0.0001, 10)
    found = judged(campaign({"control": CONTROL, "a": WORSE, "noise_floor": floor}, noise_floor=True))
    assert not found.stands
    assert outcomes(found) == {"a": "not judged"}
    assert found.statements[0].startswith("The noise floor failed: no verdict of this study is valid")
    assert found.effects == ()


def test_a_noise_floor_that_cannot_be_checked_voids_every_verdict(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE, "noise_floor": AGAIN}, noise_floor=True)
    made.drop("noise_floor", 9)
    found = judged(made)
    assert not found.stands
    assert outcomes(found) == {"a": "not judged"}
    assert found.statements[0].startswith("The noise floor could not be checked")


def test_too_few_seeds_are_said_and_six_are_enough_for_any_number_of_arms(campaign: Make) -> None:
    arms = {"control": CONTROL, "a": WORSE, "b": BETTER, "c": SAME, "d": NOISY}
    five, six = (judged(campaign({name: values[:n] for name, values in arms.items()})) for n in (5, 6))
    assert "worse" not in outcomes(five).values()
    assert any("fewer than 6 seeds" in statement for statement in five.statements)
    assert (outcomes(six)["a"], outcomes(six)["b"]) == ("worse", "better")


def test_where_pairing_gains_nothing_the_judgement_says_so(campaign: Make) -> None:
    opposed = 1.9 - CONTROL
    found = judged(campaign({"control": CONTROL, "a": opposed}))
    contrast = found.verdict("a").contrast
    assert contrast is not None
    assert contrast.correlation == pytest.approx(-1)
    assert contrast.pairing_helps is False
    assert any("Pairing by seed does not narrow the interval of a" in statement for statement in found.statements)
    at_chance = judged(campaign({"control": np.full(10, 0.1), "a": np.full(10, 0.1)}))
    assert not any("Pairing" in statement for statement in at_chance.statements)


def test_further_metrics_are_exploratory(campaign: Make) -> None:
    found = judged(campaign({"control": CONTROL, "a": WORSE}, decision={"also": ["test_loss"]}))
    (contrast,) = found.exploratory
    assert (contrast.arm, contrast.metric, contrast.adjusted_p) == ("a", "test_loss", None)
    assert contrast.mean_difference == pytest.approx(-(WORSE - CONTROL).mean())


def test_kept_predictions_give_an_interval_for_new_images(campaign: Make) -> None:
    contrast = judged(campaign({"control": CONTROL, "a": WORSE}, images=True)).verdict("a").contrast
    assert contrast is not None
    assert contrast.images_low is not None
    assert contrast.images_high is not None
    assert contrast.images_low < contrast.images_high < 0


def test_an_undecided_arm_says_whether_more_seeds_or_more_test_images_would_help(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": NOISY}, images=True)
    n, images = 10, made.plan.data.num_test
    generator = np.random.default_rng(8)
    easy, level = generator.normal(0, 0.6, (2, 1, images)), generator.normal(1.5, 0.04, (2, n, 1))
    arm, control = level + easy + generator.normal(0, 1, (2, n, images)) > 0
    for name, right in (("a", arm), ("control", control)):
        for position in range(n):
            made.spoil(name, position, correct=np.packbits(right[position]).tobytes())
    verdict = judged(made).verdict("a")
    contrast = verdict.contrast
    assert contrast is not None
    assert verdict.outcome == "undecided"
    seed_part, image_part, rest = parts_by_hand(arm.astype(float) - control)
    total = seed_part / n + image_part / images + rest / (n * images)
    shares = (contrast.seed_share, contrast.image_share, contrast.both_share)
    assert shares == pytest.approx([seed_part / n / total, image_part / images / total, rest / (n * images) / total])
    assert min(shares) > 0.05
    seeds_twice = seed_part / (2 * n) + image_part / images + rest / (2 * n * images)
    images_twice = seed_part / n + image_part / (2 * images) + rest / (2 * n * images)
    assert f"twice the seeds would remove {100 * (1 - seeds_twice / total):.0f} % of the variance" in verdict.why
    assert f"twice the test examples {100 * (1 - images_twice / total):.0f} %" in verdict.why


def parts_by_hand(d: np.ndarray) -> tuple[float, float, float]:
    """Variance of one seed, of one image, and of the rest of one cell: expected mean squares, solved."""
    n, m = d.shape
    rest = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    residual = (rest**2).sum() / ((n - 1) * (m - 1))
    by_seed, by_image = m * d.mean(axis=1).var(ddof=1), n * d.mean(axis=0).var(ddof=1)
    return max(0.0, (by_seed - residual) / m), max(0.0, (by_image - residual) / n), residual


def test_the_bits_of_a_record_are_read_back_in_order(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE}, images=True)
    results = gather(made.plan, made.records)
    correct = results["a"].correct(10, made.plan.data.num_test)
    assert correct is not None
    assert correct.shape == (10, made.plan.data.num_test)
    expected = np.random.default_rng(4).random(made.plan.data.num_test) < WORSE[4]
    assert (correct[4] == expected).all()


def test_records_of_another_study_do_not_count(campaign: Make) -> None:
    one, other = campaign({"control": CONTROL, "a": WORSE}), campaign({"control": CONTROL, "b": BETTER})
    mixed = {**other.records, **one.records}
    assert judge(one.plan, mixed) == judge(one.plan, one.records)


def test_the_contrast_of_two_seeds_is_what_the_formula_gives(campaign: Make) -> None:
    made = campaign({"control": [0.9, 0.92], "a": [0.95, 0.93]})
    results = gather(made.plan, made.records)
    contrast = describe(results["a"], results["control"], "test_accuracy", 2, 0.95)
    half = 12.706204736432095 * np.std([0.05, 0.01], ddof=1) / np.sqrt(2)
    assert (contrast.low, contrast.high) == pytest.approx((0.03 - half, 0.03 + half))


def test_the_verdicts_load_without_torch_and_statsmodels() -> None:
    code = "import ablate.verdicts.judge, sys; print('torch' in sys.modules, 'statsmodels' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_what_is_wanted_comes_seed_by_seed_as_the_plan_has_it(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE})
    assert wanted(made.plan, {}) == made.plan.trials


def test_a_further_metric_that_is_no_number_is_left_out(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE}, decision={"also": ["test_loss", "val_loss"]})
    made.spoil("a", 3, metrics={"test_accuracy": 0.9, "test_loss": float("nan")})
    found = judged(made)
    assert found.exploratory == ()
    assert found.verdict("a").outcome == "worse"


def test_arms_built_one_upon_another_are_compared_with_the_one_before_too() -> None:
    fields = {
        "name": "roadmap",
        "control": {"net": "mobilenet_v2_mnist", "bottleneck": "relu", "activation": "relu"},
        "design": {"kind": "add_one_in", "to": {"net": "mobilenet_v2_mnist"}},
    }
    plan = make_plan(Study.model_validate(fields))
    level = {arm.name: 0.9 + 0.02 * i for i, arm in enumerate(plan.arms)}
    generator = np.random.default_rng(0)
    records = {
        trial.key: Record(
            key=trial.key,
            study="roadmap",
            arm=trial.arm,
            seed=trial.seed,
            status="finished",
            metrics={"test_accuracy": level[trial.arm] + generator.normal(0, 0.001)},
        )
        for trial in plan.trials
    }
    steps = judge(plan, records).steps
    assert [step.arm for step in steps] == [arm.name for arm in plan.arms[1:]]
    assert [step.mean_difference for step in steps] == pytest.approx([0.02] * len(steps), abs=0.002)
    adjusted = step_down(np.column_stack([step.differences for step in steps]))
    assert [step.adjusted_p for step in steps] == pytest.approx(list(adjusted))


def test_a_fractional_study_says_its_resolution() -> None:
    factors = {
        "bottleneck": ["linear", "relu"],
        "activation": ["relu6", "relu"],
        "conv": ["depthwise", "full"],
        "shortcut": ["identity", "none"],
        "residual": ["inverted", "classic"],
    }
    fields = {"name": "fraction", "factors": factors, "design": {"kind": "fractional", "runs": 8}}
    found = judge(make_plan(Study.model_validate(fields)), {})
    assert any("8 of 32 combinations were run, a fraction of resolution III" in said for said in found.statements)
