"""The studies that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.design.forecast import forecast
from ablate.design.plan import make_plan
from ablate.design.read import load_study, read_toml
from ablate.design.search import confirmed_names

FOLDER = Path(__file__).parents[2] / "studies"
BUDGETS = ("quick", "laptop", "full")
LARGE = {"mnist_digits": "mnist"}  # what laptop and full train on; all others: cifar10
SHIPPED = sorted(FOLDER.glob("*.toml"))


def test_the_five_questions_of_the_paper_are_there() -> None:
    names = {path.stem for path in SHIPPED}
    assert {"linear_bottleneck", "inverted_residual", "relu6", "depthwise", "toggles"} <= names


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_says_its_question_its_source_and_what_is_expected(path: Path) -> None:
    study = load_study(path)
    assert study.question.endswith("?")
    assert "arXiv:" in study.source
    assert study.expect


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_names_its_commands_first(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith(f"# python -m ablate.study {path.stem} ")
    for line, budget in zip(lines[1:], BUDGETS[1:], strict=False):
        assert line.startswith(f"# python -m ablate.study {path.stem} --budget {budget} ")


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_is_planned_in_every_budget_as_its_header_counts(path: Path, budget: str) -> None:
    study = load_study(path, budget=budget)
    plan = make_plan(study)
    assert study.data.name == ("mnist5k" if budget == "quick" else LARGE.get(path.stem, "cifar10"))
    known = {name.partition("@")[0] for name in study.expect}
    arms_of_it = {arm.name.partition("@")[0] for arm in plan.arms} | set(confirmed_names(study))
    assert known <= arms_of_it | study.factors.keys()
    header = path.read_text().splitlines()[BUDGETS.index(budget)]
    arms = len(plan.arms) + plan.to_find - study.noise_floor
    assert f" {budget}: {study.data.name}, {arms} arms " in header
    assert header.endswith(f" x {study.plan.seeds} seeds x {study.recipe.epochs} epochs")


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_has_the_seeds_with_which_its_exact_test_can_decide(path: Path, budget: str) -> None:
    study = load_study(path, budget=budget)
    plan = make_plan(study)
    smallest_p = 2 / 2**study.plan.seeds
    assert smallest_p <= study.decision.alpha / (len(plan.arms) + plan.to_find - 1)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_laptop_budget_takes_about_an_hour_for_eight_seeds_of_one_contrast(path: Path) -> None:
    plan = make_plan(load_study(path, budget="laptop"))
    hours = forecast(plan, jobs=2).minutes / 60
    eights = (len(plan.arms) + plan.to_find - 1) * plan.study.plan.seeds / 8
    assert hours / eights < 2  # the control's trials count once


def test_linear_bottleneck_is_the_sample_of_the_documentation() -> None:
    tables = read_toml(FOLDER / "linear_bottleneck.toml")
    assert tables["control"] == {"net": "mobilenet_v2_mnist"}
    assert tables["arms"] == {"relu_bottleneck": {"bottleneck": "relu"}}
    assert tables["recipe"] == {
        "epochs": 4, "batch_size": 64, "optimizer": "adamw", "lr": 6e-3, "schedule": "one_cycle",
    }  # fmt: skip
    assert tables["decision"] == {"metric": "test_accuracy", "margin": 0.005, "alpha": 0.05}


def test_toggles_compares_all_sixteen_combinations_at_equal_macs() -> None:
    plan = make_plan(load_study(FOLDER / "toggles.toml"))
    assert len(plan.arms) == 16
    assert all(arm.match is not None and abs(arm.match.remainder) < 0.05 for arm in plan.arms)


@pytest.mark.parametrize("name", ["linear_bottleneck", "toggles"])
def test_two_studies_ask_whether_they_hold_at_other_budgets(name: str) -> None:
    study = load_study(name, budget="stability")
    plan, quick = make_plan(study), make_plan(load_study(name))
    assert plan.trials == quick.trials  # what the quick budget trained is not trained again
    header = next(line for line in (FOLDER / f"{name}.toml").read_text().splitlines() if " stability: " in line)
    levels = [at.level for at in plan.levels]
    assert levels == [2, 8]
    assert header.endswith(f"{len(plan.arms)} arms x {study.plan.seeds} seeds x 2, 4 and 8 epochs")


def test_the_roadmap_ends_at_mobilenet_v2() -> None:
    full = make_plan(load_study(FOLDER / "from_v1_to_v2.toml", budget="full"))
    cifar = make_plan(load_study(FOLDER / "linear_bottleneck.toml", budget="full"))
    assert full.arms[-1].spec == cifar.control.spec
