"""The space of a search: what an axis holds, how brackets share a budget, and what is refused before training."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.design.arms import Images, control_of
from ablate.design.plan import make_plan
from ablate.design.read import load_study
from ablate.design.search import brackets, kept, rungs, search_trials, shortened
from ablate.design.search_fields import Search
from ablate.design.space import points, setup_at, size_of, space_of
from ablate.design.study import Recipe, Study
from ablate.errors import StudyError

IMAGES = Images(channels=1, num_classes=4)
FILE = """
[control]
net = "mobilenet_v2_mnist"
expand_ratio = 2
[design]
kind = "search"
[factors]
residual = ["inverted", "classic"]
activation = ["relu6", "silu"]
"recipe.lr" = { low = 1e-3, high = 3e-2, log = true }
expand_ratio = { low = 1, high = 4, step = 1 }
[search]
trials = 12
confirm = 2
pruner = "successive_halving"
[data]
name = "synthetic"
[recipe]
epochs = 6
"""
FACTORS = FILE[FILE.index("[factors]") : FILE.index("[search]")]


def refused(tmp_path: Path, old: str, new: str) -> str:
    assert old in FILE
    path = tmp_path / "looking.toml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(StudyError) as caught:
        make_plan(load_study(path), where=str(path))
    return str(caught.value).replace(f"{path}: ", "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("low = 1e-3, high = 3e-2", "low = 3e-2, high = 1e-3", "recipe.lr.low must be below high = 0.001, got 0.03"),
        ("low = 1e-3", "low = -1.0", "factors.recipe.lr must be above 0"),
        (", high = 3e-2", "", "factors.recipe.lr.high is missing"),
        ("log = true", "lgo = true", "factors.recipe.lr.lgo is not a key of a study"),
        ("high = 3e-2", 'high = "x"', "factors.recipe.lr.high must be a number, got 'x'"),
        ("low = 1, high = 4, step = 1", "low = 3, high = 4", "must hold the control's own 2, got 3 to 4"),
        ("step = 1", "step = 2", "factors.expand_ratio.step must divide high - low = 3, got 2"),
        ("low = 1, high = 4, step = 1", "low = 1, high = 4, log = true, step = 1", "step does not go with log"),
        ('["relu6", "silu"]', '["silu", "relu"]', "factors.activation must hold the control's own level 'relu6'"),
        ("activation =", "activatoin =", "did you mean 'activation'?"),
        (FACTORS, "[factors]\n", "factors must hold at least one factor in a study of design 'search'"),
        (FACTORS, '[factors]\nconv = ["depthwise", "full"]\n', "search.trials must be at most 2, the different"),
        ("trials = 12", "trials = 12\nseeds = 0", "search.seeds must be at least 1 and at most 1000, got 0"),
        ("confirm = 2", "confirm = 12", "search.confirm must be below trials = 12"),
        ("trials = 12\n", "", "search.trials is missing"),
        ("epochs = 6", "epochs = 2", "search.pruner 'successive_halving' needs recipe.epochs of at least 3"),
        ("epochs = 6", 'epochs = 6\n[tuning]\ntrials = 3', "tuning is not read by a study of design 'search'"),
        ("[control]", 'match = "macs"\n[control]', "match is not read by a study of design 'search'"),
        ("[control]", 'expect = { best_3 = "better" }\n[control]', "expect.best_3 is not an arm of this study"),
        ('kind = "search"', 'kind = "factorial"', "a range is of design 'search'"),
        ("[recipe]", '[decision]\nmetric = "val_loss"\n[recipe]', "decision.metric must not be 'val_loss' in a search"),
        ('pruner = "successive_halving"', 'sampler = "nsga2"\npruner = "hyperband"', "search.pruner does not go with"),
        ('pruner = "successive_halving"', 'against = "macs"', 'search.against needs sampler = "nsga2", got \'tpe\''),
        ('pruner = "successive_halving"', "min_epochs = 2", "search.min_epochs needs a pruner"),
        ('"recipe.lr" =', '"recipe.freeze" =', "factors.recipe.freeze is not searched"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_with_its_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    answer = refused(tmp_path, old, new)
    assert said in answer
    assert "Traceback" not in answer


def test_one_wrong_key_of_the_search_is_one_problem(tmp_path: Path) -> None:
    answer = refused(tmp_path, "trials = 12", 'trials = 12\nsampler = "tpee"')
    assert answer == "search.sampler must be one of tpe, nsga2, random; got 'tpee'; did you mean 'tpe'?"


def looking(factors: dict[str, Any], **search: Any) -> Study:
    asked = {"trials": 3, "confirm": 1, **search}
    return Study.model_validate({"name": "looking", "design": {"kind": "search"}, "factors": factors, "search": asked})


def test_a_space_with_an_end_has_the_points_that_its_size_counts() -> None:
    study = looking({"kernel_size": {"low": 3, "high": 7, "step": 2}, "conv": ["depthwise", "full"]})
    control = control_of(study, IMAGES)
    axes = space_of(study, control)
    found = list(points(axes))
    assert len(found) == size_of(axes) == 6
    assert {point["kernel_size"] for point in found} == {3, 5, 7}
    assert all(setup_at(study, control, IMAGES, axes, point) is not None for point in found)


@given(drawn=st.floats(1e-3, 3e-2), share=st.floats(0, 1))
def test_a_drawn_value_stays_in_its_range_and_reads_as_a_person_would_write_it(drawn: float, share: float) -> None:
    study = looking({"recipe.lr": {"low": 1e-3, "high": 3e-2, "log": True}, "dropout": {"low": 0.0, "high": 0.5}})
    rate, dropout = space_of(study, control_of(study, IMAGES))
    value = rate.value(drawn)
    assert isinstance(value, float)
    assert 1e-3 <= value <= 3e-2
    assert float(f"{value:.4g}") == value
    assert 0 <= rate.place(value) <= 1
    assert 0 <= dropout.place(dropout.value(0.5 * share)) <= 1


@given(epochs=st.integers(1, 500), reduction=st.integers(2, 10), least=st.integers(1, 20))
def test_rungs_end_with_the_recipes_epochs_and_grow_by_the_reduction(epochs: int, reduction: int, least: int) -> None:
    found = rungs(epochs, Search(trials=9, pruner="hyperband", min_epochs=least, reduction=reduction))
    assert found[-1] == epochs
    assert all(small * reduction <= large for small, large in itertools.pairwise(found))
    assert len(found) == 1 or found[0] >= least


@given(trials=st.integers(12, 3000), epochs=st.integers(9, 100), confirm=st.integers(1, 5))
def test_brackets_share_the_whole_budget_and_each_rung_is_no_larger(trials: int, epochs: int, confirm: int) -> None:
    search = Search(trials=trials, pruner="hyperband", confirm=confirm)
    study = looking({"recipe.lr": {"low": 1e-3, "high": 0.1}}).model_copy(
        update={"search": search, "recipe": Recipe(epochs=epochs)}
    )
    made = brackets(study)
    assert sum(one.size for one in made) == trials
    assert [one.first for one in made] == [1 + sum(before.size for before in made[:i]) for i in range(len(made))]
    for one in made:
        counts = one.counts(search)
        assert list(counts) == sorted(counts, reverse=True)
        assert counts[-1] >= min(one.size, confirm)
    assert sum(count for _, count in search_trials(study)) == sum(sum(one.counts(search)) for one in made)


def test_halving_keeps_a_third_but_never_fewer_than_are_confirmed() -> None:
    search = Search(trials=30, pruner="successive_halving", confirm=4)
    assert [kept(number, search) for number in (29, 12, 9, 3)] == [9, 4, 4, 3]


def test_a_shortened_recipe_has_the_same_schedule_in_less_time() -> None:
    recipe = Recipe(epochs=30, schedule="step", step_epochs=10.0, warmup_epochs=3.0)
    short = shortened(recipe, 10, 30)
    assert (short.epochs, short.step_epochs, short.warmup_epochs) == (10, pytest.approx(10 / 3), pytest.approx(1.0))
    assert shortened(recipe, 30, 30) == recipe
