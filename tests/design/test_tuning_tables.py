"""Whatever stands in ``[tuning]``: a plan whose settings are recipes, or a refusal with file and key."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.design.arms import NOISE_FLOOR
from ablate.design.forecast import forecast, rough_forecast
from ablate.design.noun import Range
from ablate.design.plan import CampaignPlan, make_plan, setting
from ablate.design.read import load_study
from ablate.design.study import Plan, Recipe, Study, Tuning
from ablate.design.tuning import NOISE_FLOOR_SEEDS, TUNABLE, at_edge, own_values, place, tuned_recipe, tuning_seeds
from ablate.errors import StudyError

FEW = settings(derandomize=True, suppress_health_check=list(HealthCheck))
NUMBERS = st.one_of(
    st.sampled_from([0, 0.0, 1e-3, 0.006, 0.5, 0.99, 1, 2, -1]), st.floats(allow_nan=False), st.integers(-3, 70)
)
WRONG = st.one_of(st.booleans(), st.text(max_size=3), st.just([]), st.just({}))
RANGES = st.one_of(
    st.fixed_dictionaries({"low": NUMBERS, "high": NUMBERS}, optional={"log": st.booleans()}),
    st.dictionaries(st.sampled_from(["low", "high", "log", "step"]), st.one_of(NUMBERS, WRONG), max_size=3),
    WRONG,
)
FIELDS = st.sampled_from([*TUNABLE, "epochs", "batch_size", "optimizer", "x"])
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "trials": st.one_of(st.integers(-1, 9), WRONG),
        "seeds": st.one_of(st.integers(-1, 3), WRONG),
        "sampler": st.sampled_from(["quasi_random", "tpe", "grid"]),
        "space": st.one_of(st.dictionaries(FIELDS, RANGES, max_size=2), WRONG),
        "other": WRONG,
    },
)
HEAD = "[control]\nnet = 'mobilenet_v2_mnist'\n[arms.relu]\nbottleneck = 'relu'\n[plan]\nseeds = 2\n"


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value.encode("utf-8", "replace").decode()) + '"'


def plan_of(path: Path) -> CampaignPlan | StudyError:
    try:
        return make_plan(load_study(path), where=str(path))
    except StudyError as error:
        return error


@FEW
@given(TABLES)
def test_a_tuning_table_is_planned_or_refused_with_its_key(table: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_text(f"tuning = {toml(table)}\n{HEAD}")
        plan = plan_of(path)
    if isinstance(plan, StudyError):
        assert all(problem.key.startswith("tuning") for problem in plan.problems)
        assert all("\n" not in str(problem) for problem in plan.problems)
        return
    study = plan.study
    for name, span in study.tuning.space.items():
        for end in (span.low, span.high):
            assert getattr(tuned_recipe(study.recipe, {name: end}), name) == end
    made = setting(study, plan.control, plan.data, own_values(study, plan.control))
    assert all(trial.recipe == study.recipe for trial in made.trials)
    assert CampaignPlan.from_json(plan.to_json()) == plan


def problems(table: str, tmp_path: Path, recipe: str = "") -> list[str]:
    path = tmp_path / "x.toml"
    path.write_text(f"{HEAD}[recipe]\n{recipe}\n[tuning]\n{table}\n")
    with pytest.raises(StudyError) as caught:
        load_study(path)
    return [f"{problem.key} {problem.message}" for problem in caught.value.problems]


def test_every_problem_comes_in_one_answer(tmp_path: Path) -> None:
    table = """trials = 4
    space.lr = { low = 1e-2, high = 1e-1 }
    space.momentum = { low = 0.1, high = 0.9 }
    space.epochs = { low = 1, high = 9 }
    space.rate = { low = 1, high = 2 }
    space.weight_decay = { low = 0.0, high = 0.1, log = true }
    space.label_smoothing = { low = 0.3, high = 0.1 }
    space.crop_padding = { low = 0, high = 2.5 }
    space.warmup_epochs = { low = 0, high = 9 }"""
    assert problems(table, tmp_path) == [
        "tuning.space.lr must hold recipe.lr = 0.006, which is tried first, got 0.01 to 0.1",
        "tuning.space.momentum does nothing with recipe.optimizer = 'adamw': it is read by sgd and rmsprop",
        "tuning.space.epochs is not tuned: it decides what training costs, which has to be alike for every setting",
        f"tuning.space.rate must be one of {', '.join(TUNABLE)}; got 'rate'",
        "tuning.space.weight_decay.low must be above 0 where log = true, got 0",
        "tuning.space.label_smoothing.low must be below high = 0.1, got 0.3",
        "tuning.space.crop_padding.high must be a whole number, without log, got 2.5",
        "tuning.space.warmup_epochs.high must be below epochs = 4, got 9",
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("space.lr = { low = 1e-3, high = 1e-1 }", "tuning.trials is missing"),
        ("trials = 4", "tuning.space must hold at least one field"),
        ("trials = 0", "tuning.trials must be at least 1 and at most 10000, got 0"),
        ("trials = 4\nspace.lr = { low = 1e-3 }", "tuning.space.lr.high "),
        ("trials = 4\nspace.lr = { low = 1e-3, high = 1e-1, stop = 1 }", "tuning.space.lr.stop is not a key"),
        ("trials = 4\nspace.lr = { low = true, high = 1e-1 }", "tuning.space.lr.low must be a number, got true"),
        ("sampler = 'grid'", "tuning.sampler must be one of quasi_random, tpe; got 'grid'"),
        ("trials = 2000\nspace.lr = { low = 1e-3, high = 1e-1 }\nseeds = 9000", "tuning.seeds must be at least 1 and"),
    ],
)
def test_a_problem_names_its_key_and_what_is_allowed(table: str, message: str, tmp_path: Path) -> None:
    assert problems(table, tmp_path)[0].startswith(message)


def test_a_wrong_recipe_is_not_blamed_on_the_tuning(tmp_path: Path) -> None:
    found = problems("trials = 4\nspace.lr = { low = 0.01, high = 0.1 }", tmp_path, recipe="lr = -1")
    assert [line.split()[0] for line in found] == ["recipe.lr"]


def study_of(**fields: Any) -> Study:
    space = {"lr": Range(low=1e-3, high=1e-1, log=True)}
    tuning = Tuning(**{"trials": 5, "space": space, **fields})
    return Study(name="x", arms={"relu": {"bottleneck": "relu"}}, tuning=tuning)


@given(st.integers(0, 2**31 - 1), st.integers(1, 10_000), st.integers(1, 1_000))
@settings(derandomize=True)
def test_tuning_seeds_never_meet_the_confirming_ones_nor_the_noise_floors(first: int, seeds: int, own: int) -> None:
    study = study_of(seeds=own).model_copy(update={"plan": Plan(first_seed=first, seeds=seeds)})
    ours = tuning_seeds(study)
    assert len(ours) == own
    assert ours[0] > first + NOISE_FLOOR_SEEDS + seeds
    blocks = [*ours, *tuning_seeds(study, block=1), *tuning_seeds(study, NOISE_FLOOR), *tuning_seeds(study, "relu", 2)]
    assert len(set(blocks)) == len(blocks) == 4 * own
    assert tuning_seeds(study, "relu") == ours


def test_the_phase_enters_the_key_of_a_tuning_trial_alone() -> None:
    plan = make_plan(study_of())
    tuning = setting(plan.study, plan.control, plan.data, own_values(plan.study, plan.control)).trials[0]
    confirming = plan.trials[0]
    assert confirming.key == make_plan(Study(name="x", arms=plan.study.arms)).trials[0].key
    assert tuning.key != type(tuning)(**{**_fields(tuning), "phase": "confirm"}).key


def _fields(trial: object) -> dict[str, Any]:
    return {name: value for name, value in vars(trial).items() if name != "key"}


def test_a_study_that_tunes_nothing_keeps_its_identity() -> None:
    study = study_of()
    plain = study.model_copy(update={"tuning": Tuning()})
    assert plain.digest != study.digest
    assert "tuning" in study.model_dump()
    dump = plain.model_dump(mode="json")
    del dump["tuning"]
    assert Study.model_validate(dump).digest == plain.digest


def test_the_forecast_counts_and_times_what_tunes() -> None:
    study = study_of(seeds=2).model_copy(update={"noise_floor": True})
    without = study.model_copy(update={"tuning": Tuning()})
    plan, plain = make_plan(study), make_plan(without)
    for one, other in ((forecast(plan), forecast(plain)), (rough_forecast(study), rough_forecast(without))):
        assert one is not None
        assert other is not None
        assert (one.tuning, one.trials - other.trials, other.tuning) == (30, 30, 0)
        assert one.minutes > other.minutes


@pytest.mark.parametrize(("blocks", "told"), [(3, "must be 1 or plan.seeds = 8"), (0, "must be at least 1")])
def test_blocks_are_one_or_as_many_as_the_seeds(blocks: int, told: str) -> None:
    overrides = {"tuning.blocks": blocks}
    with pytest.raises(StudyError, match=f"tuning.blocks {told}"):
        load_study("linear_bottleneck_tuned", overrides=overrides)
    plan = make_plan(load_study("linear_bottleneck_tuned", overrides={"tuning.blocks": 8}))
    assert forecast(plan).tuning == 8 * 12


@pytest.mark.parametrize(
    ("span", "value", "near"),
    [
        (Range(low=1e-3, high=1e-1, log=True), 1.2e-3, True),
        (Range(low=1e-3, high=1e-1, log=True), 2e-3, False),  # 2 % of a linear range, 15 % of this one
        (Range(low=1e-3, high=1e-1), 2e-3, True),
        (Range(low=1e-3, high=1e-1), 0.097, True),
        (Range(low=1e-3, high=1e-1), 0.05, False),
    ],
)
def test_an_edge_is_within_five_percent_of_the_range_in_its_own_scale(span: Range, value: float, near: bool) -> None:
    study = study_of(space={"lr": span})
    assert at_edge(study, {"lr": value}) == (("lr",) if near else ())
    assert 0 <= place(value, span) <= 1


def test_an_end_beyond_which_nothing_is_allowed_is_no_edge() -> None:
    study = study_of(space={"weight_decay": Range(low=0.0, high=0.1)})
    assert at_edge(study, {"weight_decay": 0.0}) == ()
    assert at_edge(study, {"weight_decay": 0.1}) == ("weight_decay",)


def test_every_field_that_can_be_tuned_is_a_number_of_the_recipe() -> None:
    assert set(TUNABLE) <= {name for name, value in Recipe() if isinstance(value, int | float)}


def test_a_study_that_tunes_is_not_judged_on_the_images_that_its_settings_are_chosen_by(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    tables = HEAD + "[decision]\nmetric = 'val_accuracy'\n"
    file.write_text(tables)
    assert load_study(str(file)).decision.metric == "val_accuracy"
    file.write_text(tables + "[tuning]\ntrials = 2\nspace.lr = { low = 1e-3, high = 1e-1 }\n")
    with pytest.raises(StudyError, match=r"decision\.metric must not be 'val_accuracy'.*allowed is 'test_accuracy'"):
        load_study(str(file))
