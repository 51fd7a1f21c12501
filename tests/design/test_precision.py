"""The precision is the recipe's, so arms cannot differ in it."""

from __future__ import annotations

import pytest

from ablate.design.plan import make_plan
from ablate.design.study import Study
from ablate.errors import StudyError


def test_every_trial_of_a_study_computes_in_the_precision_that_its_recipe_says() -> None:
    study = Study(
        name="x",
        recipe={"precision": "bf16"},
        factors={"residual": ("inverted", "classic"), "bottleneck": ("linear", "relu")},
        noise_floor=True,
        plan={"seeds": 3},
    )
    plan = make_plan(study)
    assert len(plan.arms) == 5
    assert {trial.recipe.precision for trial in plan.trials} == {"bf16"}


@pytest.mark.parametrize("where", [{"arms": {"half": {"precision": "bf16"}}}, {"control": {"precision": "bf16"}}])
def test_an_arm_cannot_have_a_precision_of_its_own(where: dict[str, dict[str, object]]) -> None:
    arms = {"arms": {"relu": {"bottleneck": "relu"}}}
    with pytest.raises(StudyError, match="precision"):
        make_plan(Study(name="x", **{**arms, **where}))
