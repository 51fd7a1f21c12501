"""A study whose training is the user's own: what is refused before anything runs, and what a trial's key holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.design.own_training import GIVEN, OwnTraining, planned_epochs
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.read import load_study
from ablate.design.study import Study
from ablate.errors import StudyError

TRAINER = """
def train(trial):
    return {"val_bits": 1.0}

def two(trial, more):
    return {}

def none():
    return {}

def many(*trials, more=1):
    return {}
"""
TEST = {"metric": "test_bits", "higher_is_better": False, "margin": 0.1}
SEARCH = {"trials": 4, "confirm": 1}
LOOK = {"arms": {}, "design": {"kind": "search"}, "factors": {"lr": {"low": 0.01, "high": 1}}, "search": SEARCH}
DECISION = {"metric": "val_bits", "higher_is_better": False, "margin": 0.1}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a trainer and a script; its module may not be imported here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_module.py").write_text(TRAINER)
    (tmp_path / "script.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text("x = 1\n")
    yield tmp_path
    assert "own_module" not in sys.modules


def study(**fields: object) -> Study:
    tables: dict[str, object] = {
        "name": "own",
        "trainer": "own_module:train",
        "control": {"lr": 0.1, "layers": 2},
        "arms": {"fast": {"lr": 0.2}},
        "decision": DECISION,
        **fields,
    }
    return Study.model_validate({name: value for name, value in tables.items() if value is not None})


def plan(**fields: object) -> CampaignPlan:
    return make_plan(study(**fields))


def refused(**fields: object) -> str:
    with pytest.raises(StudyError) as raised:
        plan(**fields)
    return str(raised.value)


def test_an_arm_is_a_diff_of_the_trainers_fields() -> None:
    made = plan()
    assert dict(made.arm("fast").spec.keywords) == {"lr": 0.2, "layers": 2}  # type: ignore[union-attr]
    assert [(change.field, change.before, change.after) for change in made.arm("fast").changes] == [("lr", 0.1, 0.2)]
    assert made.trials[0].metrics == ("val_bits",)


def test_factors_cross_the_trainers_fields() -> None:
    made = plan(arms={}, factors={"lr": (0.1, 0.2), "layers": (1, 2)})
    assert {arm.name for arm in made.arms} == {"control", "lr-0.2", "layers-1", "lr-0.2+layers-1"}


def test_the_way_to_another_setting_goes_field_by_field() -> None:
    made = plan(arms={}, design={"kind": "add_one_in", "to": {"lr": 0.3, "layers": 4}})
    assert dict(made.arms[-1].spec.keywords) == {"lr": 0.3, "layers": 4}  # type: ignore[union-attr]
    assert len(made.arms) == 3


def test_a_plan_is_read_back_as_it_was_without_the_source(here: Path) -> None:
    made = plan(
        tuning={"trials": 3, "space": {"lr": {"low": 0.01, "high": 1.0}}}, decision=DECISION | {"metric": "test_bits"}
    )
    text = made.to_json()
    (here / "own_module.py").unlink()
    again = CampaignPlan.from_json(text)
    assert [trial.key for trial in again.trials] == [trial.key for trial in made.trials]
    assert again.to_json() == text


def test_epochs_of_a_call_are_answered_with_the_field_of_the_control() -> None:
    wanted = {"lr": 0.1, "layers": 2, "epochs": 3}
    assert "for one call, --set control.epochs=VALUE" in refused(control=wanted, recipe={"epochs": 2})
    assert "for one call" not in refused(recipe={"epochs": 2})


def test_edited_code_makes_other_trials(here: Path) -> None:
    before = {trial.key for trial in plan().trials}
    (here / "own_module.py").write_text(TRAINER.replace("1.0", "2.0"))
    assert not before & {trial.key for trial in plan().trials}


@pytest.mark.parametrize("edited", ["script.py", "helper.py"])
def test_an_edited_script_or_what_it_imports_makes_other_trials(here: Path, edited: str) -> None:
    command = ("python", "script.py", "--lr={lr}", "{layers}")
    before = {trial.key for trial in plan(trainer=None, command=command).trials}
    assert before == {trial.key for trial in plan(trainer=None, command=command).trials}
    (here / edited).write_text("import helper  # edited\n")
    assert not before & {trial.key for trial in plan(trainer=None, command=command).trials}


def test_the_deciding_metric_is_no_part_of_a_key() -> None:
    other = plan(decision=DECISION | {"metric": "val_other"})
    assert [trial.key for trial in other.trials] == [trial.key for trial in plan().trials]


def test_a_trainer_is_found_beside_the_study_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = here / "deeper"
    folder.mkdir()
    (folder / "beside_it.py").write_text(TRAINER)
    (folder / "nested.toml").write_text(
        'trainer = "beside_it:train"\ncontrol = { lr = 0.1 }\narms.a.lr = 1.0\n'
        '[decision]\nmetric = "val_bits"\nhigher_is_better = false\nmargin = 0.1\n'
    )
    monkeypatch.chdir(here)
    found = make_plan(load_study("deeper/nested.toml")).control.spec
    assert isinstance(found, OwnTraining)
    assert Path(found.place) == folder


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"trainer": "own_module.train"}, "trainer must be written PACKAGE.MODULE:FUNCTION"),
        ({"trainer": "own_modul:train"}, "there is no module 'own_modul'"),
        ({"trainer": "own_module:trian"}, "did you mean 'train'?"),
        ({"trainer": "own_module:two"}, "must take one argument, the trial"),
        ({"trainer": "own_module:none"}, "must take one argument, the trial"),
        ({"arms": {"a": {"lrr": 1.0}}}, "is not a field of [control]; did you mean 'lr'? (it has: layers, lr)"),
        ({"arms": {"a": {"recipe.lr": 1.0}}}, "arms.a.recipe.lr is not a field of [control]"),
        ({"arms": {"a": {"lr": 0.1}}}, "changes nothing"),
        ({"factors": {"depth": (1, 2)}, "arms": {}}, "factors.depth is not a field of [control]"),
        ({"control": {"lr": 0.1, "seed": 3}}, "control.seed may not be a field"),
        ({"control": {"lr": 0.1, "a-b": 3}}, "control.a-b must be a name"),
        ({"recipe": {"epochs": 2}}, "recipe.epochs is read by this package's own training only"),
        ({"data": {"name": "mnist"}}, "data.name is read by this package's own training only"),
        ({"match": "macs"}, "match is not possible with a trainer"),
        ({"keep_weights": True}, "keep_weights is of this package's own training"),
        ({"command": ("python", "script.py")}, "command and trainer exclude each other"),
        ({"decision": {"metric": "val_bits", "margin": 0.1}}, "decision.higher_is_better is missing"),
        ({"decision": {"metric": "val_bits", "higher_is_better": False}}, "decision.margin is missing"),
        ({"decision": {"metric": "val_loss", "higher_is_better": True, "margin": 0.1}}, "must be false for val_loss"),
        ({"decision": {"metric": "val_accuracy", "unit": "points", "margin": 0.1}}, "decision.unit is percent"),
        ({"decision": {"metric": "val_accuracy", "margin": 0.5}}, "decision.margin must be at most 0.2"),
        ({"decision": DECISION | {"co_primary": {"val_words": {"margin": 1.0}}}}, "higher_is_better is missing"),
        (
            {"decision": DECISION | {"co_primary": {"val_loss": {"margin": 1.0, "higher_is_better": True}}}},
            "must be false for val_loss",
        ),
        ({"tuning": {"trials": 2, "space": {"lr": {"low": 0.01, "high": 1}}}}, "decision.metric must start with test_"),
        ({"tuning": {"trials": 2, "space": {"rl": {"low": 0.01, "high": 1}}}}, "tuning.space.rl must be one of lr"),
        ({"tuning": {"trials": 2, "space": {"lr": {"low": 0.2, "high": 1}}}}, "must hold lr = 0.1 of control"),
        ({"tuning": {"trials": 2, "space": {"layers": {"low": 0.5, "high": 2}}}}, "must be a whole number"),
        (LOOK, "decision.metric must start with test_ in a search, got 'val_bits'"),
        (LOOK | {"decision": TEST, "search": {**SEARCH, "pruner": "hyperband"}}, "needs control.epochs"),
        (LOOK | {"decision": TEST, "factors": {"lr": {"low": 0.2, "high": 1}}}, "must hold the control's own 0.1"),
        (LOOK | {"decision": TEST, "factors": {"layers": (2, 3)}}, "search.trials must be at most 2"),
    ],
)  # fmt: skip
def test_what_a_trainer_cannot_do_is_refused_with_key_value_and_what_is_allowed(
    fields: dict[str, object], told: str
) -> None:
    assert told in refused(**fields)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("pyhton", "script.py", "{lr}", "{layers}"), "command starts with 'pyhton', which is neither a program"),
        (("python", "scirpt.py", "{lr}", "{layers}"), "did you mean 'script.py'?"),
        (("python", "script.py", "{rl}", "{layers}"), "placeholder {rl}, which nothing fills; did you mean 'lr'?"),
        (("python", "script.py", "{lr}"), "control.layers does nothing: the command has no {layers}"),
        (("python", "-m", "no_such_module", "{lr}", "{layers}"), "there is no module 'no_such_module'"),
    ],
)  # fmt: skip
def test_what_a_command_cannot_do_is_refused(command: tuple[str, ...], told: str) -> None:
    assert told in refused(trainer=None, command=command)


@pytest.mark.parametrize("name", [name for name in GIVEN if name != "seed"])
def test_a_command_has_no_field_that_is_given_to_each_trial(name: str) -> None:
    told = refused(trainer=None, command=("python", "script.py", "{lr}", f"{{{name}}}"), control={"lr": 0.1, name: 1})
    assert f"control.{name} may not be a field" in told


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        ({"metric": "val_bits"}, "decision.metric must be one of test_accuracy"),
        ({"also": ("val_bits",)}, "must be one of test_accuracy"),
        ({"higher_is_better": True}, "decision.higher_is_better is declared with a trainer"),
        ({"unit": "bits"}, "decision.unit is declared with a trainer"),
    ],
)
def test_without_a_trainer_the_metrics_are_the_packages_own(decision: dict[str, object], told: str) -> None:
    with pytest.raises(StudyError) as raised:
        make_plan(Study.model_validate({"name": "ours", "arms": {"a": {"conv": "full"}}, "decision": decision}))
    assert told in str(raised.value)


@given(text=st.text(max_size=40), field=st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_command_is_read_word_by_word_and_fields_fill_only_their_placeholders(text: str, field: object) -> None:
    own = OwnTraining(command=("python", "{lr}", text.replace("{", "")), keywords=(("lr", field),))  # type: ignore[arg-type]
    words = own.words({"seed": 0})
    assert len(words) == 3
    assert words[1] == (str(field).lower() if isinstance(field, bool) else str(field))
    assert words[2] == text.replace("{", "") or Path(words[2]).is_file()


@given(path=st.text(max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_as_a_trainer_is_a_plan_or_a_refusal(path: str) -> None:
    try:
        made = make_plan(Study.model_validate(study().model_dump() | {"trainer": path, "command": ()}))
    except (StudyError, ValueError):
        return
    assert made.control.spec.path == path  # type: ignore[union-attr]


def test_epochs_are_known_where_a_field_says_them() -> None:
    assert planned_epochs(OwnTraining(keywords=(("epochs", 3),))) == 3
    assert planned_epochs(OwnTraining(keywords=(("epochs", True),))) is None
    assert planned_epochs(OwnTraining()) is None
