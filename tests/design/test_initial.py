"""Weights to start from and frozen stages in a study file: keys, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.read import load_study
from ablate.design.study import Recipe
from ablate.errors import AblateError, StudyError

STUDY = """
[control]
net = "mobilenet_v2_mnist"
[arms.tuned]
recipe.init_from = "start.pt"
[arms.frozen]
recipe.init_from = "start.pt"
recipe.freeze = "features"
[data]
name = "synthetic"
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "start.pt").write_bytes(b"weights")


def planned(text: str = STUDY, root: Path | None = None) -> CampaignPlan:
    Path("transfer.toml").write_text(text)
    return make_plan(load_study("transfer.toml"), root, where="transfer.toml")


def key(plan: CampaignPlan, arm: str) -> str:
    return plan.arm_trials(arm)[0].key


def test_the_files_content_is_part_of_the_key_of_the_arms_that_start_from_it(tmp_path: Path) -> None:
    before = planned()
    assert before.arm("tuned").recipe.init_sha256 == hashlib.sha256(b"weights").hexdigest()
    assert key(planned(), "tuned") == key(before, "tuned")
    (tmp_path / "start.pt").write_bytes(b"other weights")
    after = planned()
    assert key(after, "control") == key(before, "control")
    assert {key(after, arm) for arm in ("tuned", "frozen")}.isdisjoint(
        {key(before, arm) for arm in ("tuned", "frozen")}
    )


def test_a_plan_is_read_back_without_the_file(tmp_path: Path) -> None:
    before = planned()
    (tmp_path / "start.pt").unlink()
    assert CampaignPlan.from_json(before.to_json()) == before


def test_a_recipe_that_starts_from_nothing_and_freezes_nothing_has_the_key_of_one_without_these_fields() -> None:
    text = STUDY.replace('recipe.init_from = "start.pt"', "recipe.lr = 0.1")
    plain, written = planned(text), planned(text + '[recipe]\ninit_from = ""\nfreeze = 0\n')
    assert [trial.key for trial in plain.trials] == [trial.key for trial in written.trials]


def test_a_file_is_also_looked_for_below_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "start.pt").rename(tmp_path / "data/start.pt")
    planned(root=tmp_path / "data")
    with pytest.raises(StudyError, match=r"there is no 'start\.pt'"):
        planned(root=tmp_path)


def test_a_digest_that_is_written_pins_the_file() -> None:
    right = hashlib.sha256(b"weights").hexdigest()
    pinned = STUDY + f'[recipe]\ninit_from = "start.pt"\ninit_sha256 = "{right}"\n'
    pinned = pinned.replace('[arms.tuned]\nrecipe.init_from = "start.pt"', "[arms.tuned]\nrecipe.lr = 0.1")
    assert planned(pinned).control.recipe.init_sha256 == right
    with pytest.raises(StudyError, match=rf"recipe\.init_sha256 must be {right}, as start\.pt is; got 'abc'"):
        planned(pinned.replace(right, "abc"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            'recipe.init_from = "none.pt"',
            "arms.new.recipe.init_from must be a file, from here or below data; there is no",
        ),
        (
            'recipe.init_from = "start.onnx"',
            "arms.new.recipe.init_from must end in .pt, .pth, .safetensors, got 'start.onnx'",
        ),
        ("recipe.init_from = 3", "arms.new.recipe.init_from must be text in quotes, got 3"),
        ("recipe.freeze = 5", 'arms.new.recipe.freeze must be at most 4, the stages of its net, or "features"; got 5'),
        ("recipe.freeze = -1", 'arms.new.recipe.freeze must be a number of stages from 0, or "features", got -1'),
        ('recipe.freeze = "feature"', "must be a number of stages from 0, or \"features\", got 'feature'"),
        ("recipe.freeze = true", 'must be a number of stages from 0, or "features", got true'),
        ('recipe.init_sha256 = "ab"', "recipe.init_sha256 needs init_from"),
        ("recipe.init = 1", "is not a key of a study"),
        ('recipe.freeze = 1\n[budget.quick]\nmatch = "train_flops"', "does not go with match = 'train_flops'"),
    ],
)
def test_what_cannot_be_is_refused_by_file_field_and_value(written: str, said: str) -> None:
    with pytest.raises(AblateError) as raised:
        planned(f"{STUDY}[arms.new]\n{written}\n")
    assert str(raised.value).startswith("transfer.toml: ")
    assert said in str(raised.value)


def test_a_recipe_of_all_is_named_where_it_is_written() -> None:
    with pytest.raises(StudyError, match=r"transfer\.toml: recipe\.freeze must be at most 4"):
        planned(STUDY + "[recipe]\nfreeze = 9\n")


@given(value=st.one_of(st.integers(), st.text(), st.booleans(), st.floats(), st.none(), st.lists(st.integers())))
def test_freeze_takes_whole_numbers_from_0_and_features_alone(value: object) -> None:
    fits = (type(value) is int and value >= 0) or value == "features"
    try:
        recipe = Recipe(freeze=value)  # type: ignore[arg-type]
    except ValueError:
        assert not fits
    else:
        assert fits
        assert recipe.freeze == value
