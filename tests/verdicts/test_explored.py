"""The front and the luck of a search, against brute force and arithmetic by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.campaign.schedule import Scheduler
from ablate.design.plan import Trial, make_plan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.verdicts.explored import lucks, pareto
from ablate.verdicts.judge import judge

POINTS = st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float)), min_size=1, max_size=12)


@given(points=POINTS)
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    found = [points[place] for place in pareto(points)]
    undominated = {
        one for one in points if not any(two != one and two[0] >= one[0] and two[1] <= one[1] for two in points)
    }
    assert set(found) == undominated
    assert len(found) == len(set(found))
    assert [score for score, _ in found] == sorted((score for score, _ in found), reverse=True)


def train(trial: Trial) -> Record:
    """In the search ``full`` is 3 points ahead of the control, with fresh seeds 1 point."""
    ahead = 0.0 if trial.spec.stages[0].block.conv == "depthwise" else 0.01 if trial.phase == "confirm" else 0.03
    if trial.spec.stages[0].block.activation == "silu":
        ahead -= 0.2
    value = 0.9 + ahead + 0.001 * (trial.seed % 5)
    metrics = {"val_accuracy": value, "val_loss": 1 - value}
    metrics |= {"test_accuracy": value, "test_loss": 1 - value} if trial.phase == "confirm" else {}
    return Record.of(trial, "finished", metrics=metrics)


@pytest.mark.parametrize("metric", ["test_accuracy", "test_loss"])
def test_luck_is_the_lead_of_the_search_minus_the_one_with_fresh_seeds(metric: str) -> None:
    study = Study.model_validate(
        {
            "name": "looking",
            "design": {"kind": "search"},
            "factors": {"conv": ["depthwise", "full"], "activation": ["relu6", "silu"]},
            "search": {"trials": 4, "confirm": 1, "sampler": "random"},
            "decision": {"metric": metric},
            "data": {"name": "synthetic"},
        }
    )
    scheduler, records = Scheduler(make_plan(study)), dict[str, Record]()
    while missing := [trial for trial in scheduler.schedule(records).trials if trial.key not in records]:
        records |= {trial.key: train(trial) for trial in missing}
    plan = scheduler.schedule(records).plan
    (found,) = lucks(plan, records)
    assert found.arm == "best_1"
    assert plan.arm("best_1").changes[0].after == "full"
    assert found.search_lead == pytest.approx(0.03)
    assert found.confirmed_lead == pytest.approx(0.01)
    assert found.luck == pytest.approx(0.02)
    sentence = " ".join(judge(plan, records).statements)
    told = "+3.00 points in the search and leads by +1.00 points" if "acc" in metric else "+0.03 in the search"
    assert told in sentence
