"""A judgement says whether it was sealed before its trials; whatever was changed afterwards makes it exploratory."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.design.found import with_settings
from ablate.design.plan import make_plan
from ablate.design.record import Measured
from ablate.design.sealed import SealedPlan, shared_trials
from ablate.design.study import Study
from ablate.errors import AblateError
from ablate.verdicts.judge import judge
from ablate.verdicts.registration import registration

Make = Callable[..., Any]
SEALED_AT = 1_796_000_000.0  # 2026-11-30 00:53 UTC
RNG = np.random.default_rng(3)
CONTROL = 0.95 + RNG.normal(0, 0.004, 12)
WORSE = CONTROL - 0.006 + RNG.normal(0, 0.001, 12)


def trained(campaign: Make, seeds: int = 8, started: float = SEALED_AT + 40, **study: Any) -> Any:
    """A campaign whose trials started at ``started``."""
    made = campaign({"control": CONTROL[:seeds], "a": WORSE[:seeds]}, expect={"a": "worse"}, **study)
    for key, record in made.records.items():
        made.records[key] = dataclasses.replace(record, measured=Measured(started_at=started))
    return made


def seal(made: Any, at: float = SEALED_AT) -> SealedPlan:
    return SealedPlan(plan=made.plan, sealed_at=at, commit="1f2e3d4")


def rerun(made: Any, **changes: Any) -> Any:
    """The same records under a study of which something was changed afterwards."""
    fields = made.plan.study.model_dump() | changes
    return make_plan(Study.model_validate(fields))


def test_the_plan_that_was_sealed_is_said_with_time_commit_and_distance_to_the_first_trial(campaign: Make) -> None:
    made = trained(campaign)
    found = registration(made.plan, [seal(made)], made.records)
    assert found.is_confirmatory
    assert found.sentence == "sealed 2026-11-30 00:53 UTC at commit 1f2e3d4, 40 s before the first trial"


def test_a_margin_changed_afterwards_is_exploratory_and_the_sealed_judgement_is_shown_with_it(campaign: Make) -> None:
    made = trained(campaign)
    later = rerun(made, decision={"margin": 0.02}, expect={"a": "equivalent"})
    found = judge(later, made.records, [seal(made)])
    assert found.registration is not None
    assert not found.registration.is_confirmatory
    assert "decision.margin was 0.005 when the plan was sealed and is 0.02 now" in found.statements[0]
    assert 'expect.a was "worse" when the plan was sealed and is "equivalent" now' in found.statements[0]
    assert found.verdict("a").outcome == "equivalent"
    assert found.as_sealed is not None
    assert found.as_sealed.verdict("a").outcome == "worse"
    assert found.as_sealed.verdict("a").held is True


def test_more_seeds_than_sealed_are_exploratory(campaign: Make) -> None:
    made = trained(campaign, seeds=12)
    before = rerun(made, plan={"seeds": 8})
    found = registration(made.plan, [SealedPlan(plan=before, sealed_at=SEALED_AT, commit="")], made.records)
    assert found.reasons == ("plan.seeds was 8 when the plan was sealed and is 12 now",)


def test_seeds_that_the_sealed_looks_allow_stay_confirmatory(campaign: Make) -> None:
    looks = {"seeds": 8, "until": "settled", "max_seeds": 12, "block": 4}
    made = trained(campaign, seeds=12, plan=looks)
    assert registration(made.plan, [seal(made)], made.records).is_confirmatory


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decision": {"alpha": 0.1}}, "decision.alpha was 0.05"),
        ({"decision": {"metric": "test_loss"}}, 'decision.metric was "test_accuracy"'),
        ({"arms": {"a": {"bottleneck": "relu"}, "b": {"activation": "relu"}}}, "arms.b was absent"),
        ({"expect": {}}, 'expect.a was "worse" when the plan was sealed and is absent now'),
        ({"noise_floor": True}, "noise_floor was false"),
    ],
)
def test_whatever_of_the_plan_decides_is_compared(campaign: Make, changes: dict[str, Any], said: str) -> None:
    made = trained(campaign)
    found = registration(rerun(made, **changes), [seal(made)], made.records)
    assert not found.is_confirmatory
    assert said in found.sentence


@pytest.mark.parametrize("changes", [{"title": "Another"}, {"decision": {"also": ["test_loss"]}}, {"source": "x"}])
def test_what_changes_no_verdict_may_change(campaign: Make, changes: dict[str, Any]) -> None:
    made = trained(campaign)
    assert registration(rerun(made, **changes), [seal(made)], made.records).is_confirmatory


def test_a_plan_sealed_after_its_trials_is_exploratory_also_where_it_was_sealed_again(campaign: Make) -> None:
    made = trained(campaign)
    later = rerun(made, decision={"margin": 0.02})
    again = SealedPlan(plan=later, sealed_at=SEALED_AT + 7200, commit="")
    assert "16 of 16 trials started before the plan was sealed" in registration(later, [again], made.records).sentence
    both = registration(later, [again, seal(made)], made.records)
    assert both.sealed == seal(made)
    assert "decision.margin" in both.sentence


def test_a_plan_changed_and_sealed_again_before_any_trial_is_confirmatory(campaign: Make) -> None:
    made = trained(campaign)
    first = SealedPlan(plan=rerun(made, decision={"margin": 0.02}), sealed_at=SEALED_AT - 60, commit="")
    assert registration(made.plan, [first, seal(made)], made.records).is_confirmatory


def test_of_several_rules_sealed_before_the_trials_the_last_counts_and_none_is_chosen_afterwards(
    campaign: Make,
) -> None:
    made = trained(campaign)
    wide = rerun(made, decision={"margin": 0.02}, expect={"a": "equivalent"})
    first = SealedPlan(plan=wide, sealed_at=SEALED_AT - 60, commit="")
    chosen = judge(wide, made.records, [first, seal(made)])
    assert chosen.registration is not None
    assert not chosen.registration.is_confirmatory
    assert "decision.margin was 0.005 when the plan was sealed and is 0.02 now" in chosen.registration.sentence
    assert chosen.as_sealed is not None
    assert chosen.as_sealed.verdict("a").outcome == "worse"


def test_results_that_were_trained_again_once_they_were_known_are_named_and_the_first_ones_judged(
    campaign: Make,
) -> None:
    made = trained(campaign)
    first = made.records[made.plan.arm_trials("a")[3].key]
    same = judge(made.plan, made.records, [seal(made)], [first])
    assert same.registration is not None
    assert same.registration.is_confirmatory
    made.spoil("a", 3, metrics={"test_accuracy": 0.999, "test_loss": 0.0})
    found = judge(made.plan, made.records, [seal(made)], [first])
    assert found.registration is not None
    was = f"{100 * first.metrics['test_accuracy']:.2f}"
    assert found.registration.reasons == (
        f"a seed 3 was trained again after its result of 2026-11-30 00:54 UTC was known: {was} % then, 99.90 % now",
    )
    assert (found.verdict("a").outcome, found.as_sealed and found.as_sealed.verdict("a").outcome) == (
        "undecided",
        "worse",
    )
    crashed = dataclasses.replace(first, status="failed", metrics={})
    assert registration(made.plan, [seal(made)], made.records, [crashed]).is_confirmatory


def test_without_a_sealed_plan_or_a_start_time_nothing_is_confirmatory(campaign: Make) -> None:
    made, undated = trained(campaign), trained(campaign, started=0.0)
    assert "no plan was sealed" in registration(made.plan, [], made.records).sentence
    assert "16 of 16 records do not say" in registration(made.plan, [seal(made)], undated.records).sentence
    assert judge(made.plan, made.records).registration is None
    other = make_plan(Study(name="other", arms={"a": {"bottleneck": "relu"}}))
    strange = SealedPlan(plan=other, sealed_at=SEALED_AT, commit="")
    assert registration(made.plan, [strange], made.records).sealed is None


def test_a_tuned_study_is_confirmatory_after_its_tuning_and_judged_as_sealed_with_the_tuned_recipes(
    campaign: Make,
) -> None:
    tuning = {"trials": 2, "space": {"lr": {"low": 1e-3, "high": 1e-1, "log": True}}}
    made = trained(campaign, tuning=tuning)
    later = with_settings(made.plan, {arm.name: [{"lr": 0.01}] for arm in made.plan.arms}, tuning=())
    records = {
        new.key: dataclasses.replace(made.records[old.key], key=new.key)
        for old, new in zip(made.plan.trials, later.trials, strict=True)
    }
    assert not {trial.key for trial in made.plan.trials} & set(records)
    assert registration(later, [seal(made)], records).is_confirmatory
    moved = dataclasses.replace(later, study=later.study.model_copy(update={"expect": {"a": "better"}}))
    found = judge(moved, records, [seal(made)])
    assert found.as_sealed is not None
    assert found.as_sealed.verdict("a").held is True


def test_a_sealed_plan_reads_back(campaign: Make) -> None:
    one = seal(trained(campaign))
    again = SealedPlan.from_json(one.to_json())
    assert again == one
    assert shared_trials(again.plan, one.plan) == {trial.key for trial in one.plan.trials}
    assert json.loads(one.to_json())["format"] == 1


KEYS = st.sampled_from(["format", "plan", "sealed_at", "commit", "x"])
LEAVES = st.none() | st.integers() | st.text(max_size=5)


@given(st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=2)))
def test_what_is_no_sealed_plan_is_refused_in_a_sentence(plain: Any) -> None:
    with pytest.raises(AblateError, match=r"not a sealed plan|has format|not a plan"):
        SealedPlan.from_json(json.dumps(plain))
