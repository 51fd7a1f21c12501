"""The studies that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.design.plan import make_plan
from ablate.design.read import load_study, read_toml

FOLDER = Path(__file__).parents[2] / "studies"
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
    assert lines[1].startswith(f"# python -m ablate.study {path.stem} --budget full ")


@pytest.mark.parametrize("budget", ["quick", "full"])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_is_planned_in_both_budgets_as_its_header_counts(path: Path, budget: str) -> None:
    study = load_study(path, budget=budget)
    plan = make_plan(study)
    assert study.data.name == {"quick": "mnist5k", "full": "cifar10"}[budget]
    assert {name.partition("@")[0] for name in study.expect} <= {arm.name.partition("@")[0] for arm in plan.arms}
    header = path.read_text().splitlines()[budget == "full"]
    arms = len(plan.arms) - study.noise_floor
    assert f": {study.data.name}, {arms} arms " in header
    assert header.endswith(f" x {study.plan.seeds} seeds x {study.recipe.epochs} epochs")


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


def test_the_roadmap_ends_at_mobilenet_v2() -> None:
    full = make_plan(load_study(FOLDER / "from_v1_to_v2.toml", budget="full"))
    cifar = make_plan(load_study(FOLDER / "linear_bottleneck.toml", budget="full"))
    assert full.arms[-1].spec == cifar.control.spec
