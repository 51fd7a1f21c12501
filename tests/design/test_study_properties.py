"""Whatever is written: it is planned, or refused with file and key; nothing else, and soon."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablate.design.datasets import KNOWN
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.read import load_study
from ablate.design.study import Study
from ablate.errors import DataError, StudyError
from ablate.model.spec import CHANGEABLE, LEVELS
from ablate.model.zoo import NETS

FEW = settings(derandomize=True, suppress_health_check=list(HealthCheck))
VALUES = {
    **LEVELS,
    "net": tuple(NETS),
    "expand_ratio": (1, 2.5, 6),
    "width_mult": (0.25, 1.0, 1),
    "divisor": (1, 8),
    "dropout": (0, 0.2),
    "stem_pool": (True, False),
}
WRONG = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}))
names = st.one_of(st.sampled_from(["a", "relu", "control", "x.y", "a b", "", "noise_floor"]), st.text(max_size=6))
good_change = st.sampled_from(sorted(VALUES)).flatmap(lambda key: st.tuples(st.just(key), st.sampled_from(VALUES[key])))
any_change = st.one_of(good_change, st.tuples(st.one_of(st.sampled_from(CHANGEABLE), names), WRONG))
good_changes = st.lists(good_change, min_size=1, max_size=3).map(dict)
any_changes = st.one_of(good_changes, st.lists(any_change, max_size=3).map(dict), WRONG)
data_names = st.one_of(
    st.sampled_from(
        ["cifar10", "synthetic", "x", "x.npz", "~nobody_here/x.npz", "a\0b.npz", "a" * 300 + ".npz", ".npz"]
    ),
    st.text(max_size=8).map(lambda text: f"{text}.npz"),
    st.text(max_size=8),
)
tables: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "title": st.one_of(st.text(max_size=8), WRONG),
        "control": st.one_of(good_changes.map(lambda changes: {"net": "mobilenet_v2_mnist", **changes}), any_changes),
        "arms": st.one_of(st.dictionaries(names, any_changes, max_size=3), WRONG),
        "factors": st.one_of(
            st.sets(st.sampled_from(sorted(LEVELS)), max_size=3).map(
                lambda keys: {key: list(LEVELS[key]) for key in keys}
            ),
            WRONG,
        ),
        "design": st.one_of(
            st.fixed_dictionaries(
                {"kind": st.sampled_from(["add_one_in", "leave_one_out", "fractional", "one_change", "x"])},
                optional={"to": any_changes, "order": st.lists(names, max_size=3), "runs": st.integers(0, 130)},
            ),
            WRONG,
        ),
        "match": st.sampled_from(["none", "macs", "params", "peak_memory", "mac"]),
        "unmatched": st.booleans(),
        "noise_floor": st.booleans(),
        "expect": st.one_of(st.dictionaries(names, st.sampled_from(["better", "bad"]), max_size=2), WRONG),
        "recipe": st.one_of(
            st.dictionaries(st.sampled_from(["lr", "epochs", "batch_size", "x"]), WRONG, max_size=2), WRONG
        ),
        "plan": st.one_of(st.fixed_dictionaries({"seeds": st.integers(-1, 4)}), WRONG),
        "data": st.one_of(st.fixed_dictionaries({"name": data_names}), WRONG),
        "budget": st.one_of(st.dictionaries(names, WRONG, max_size=1), WRONG),
        "other": WRONG,
    },
)


def toml(value: Any) -> str:
    """A value as TOML writes it inline; what TOML cannot say becomes text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value).encode("utf-8", "replace").decode()
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08x}" for c in text) + '"'


def plan_of(path: Path, **kwargs: Any) -> CampaignPlan | StudyError | DataError:
    """The plan of a file, or why there is none; any other exception fails the test."""
    try:
        return make_plan(load_study(path, **kwargs), where=str(path))
    except (StudyError, DataError) as error:
        return error


def check(outcome: CampaignPlan | StudyError | DataError, path: Path) -> None:
    """A plan holds together and reads back; a refusal names where and what."""
    if isinstance(outcome, DataError):
        assert str(outcome).startswith(f"{path}: data.name ")
        assert "\n" not in str(outcome)
    elif isinstance(outcome, StudyError):
        assert outcome.problems
        for problem in outcome.problems:
            assert problem.where in (str(path), "--set")
            assert problem.key
            assert problem.message
            assert "\n" not in str(problem)
    else:
        assert outcome.arms[0].name == "control"
        assert len({arm.name for arm in outcome.arms}) == len(outcome.arms)
        specs = [arm.spec for arm in outcome.arms if arm.name != "noise_floor"]
        assert len(set(specs)) == len(specs)
        keys = {trial.key for trial in outcome.trials}
        assert len(keys) == len(outcome.trials) == len(outcome.arms) * outcome.study.plan.seeds
        assert CampaignPlan.from_json(outcome.to_json()) == outcome


@FEW
@given(tables)
def test_a_file_is_planned_or_refused(written: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in written.items()))
        check(plan_of(path), path)


@FEW
@given(data_names)
def test_any_name_of_data_is_planned_or_refused(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_text(
            f"data = {{name = {toml(name)}}}\narms = {{relu = {{bottleneck = 'relu'}}}}\nplan = {{seeds = 2}}"
        )
        outcome = plan_of(path)
        check(outcome, path)
        assert isinstance(outcome, CampaignPlan) == (name in KNOWN)


@FEW
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_planned(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_bytes(content)
        outcome = plan_of(path)
        assert isinstance(outcome, CampaignPlan) or str(path) in str(outcome)


keys = st.one_of(
    st.sampled_from(
        ["recipe.lr", "plan.seeds", "control.net", "arms.relu.conv", "data", "design.kind", "x.y", ".", ""]
    ),
    st.text(alphabet="ab.", max_size=12),
)


@FEW
@given(st.dictionaries(keys, st.one_of(WRONG, st.sampled_from(["full", "resnet50"])), max_size=3))
def test_any_override_is_planned_or_refused(overrides: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_text("[arms.relu]\nbottleneck = 'relu'\n[plan]\nseeds = 2\n")
        check(plan_of(path, overrides=overrides), path)


@FEW
@given(st.lists(good_changes, min_size=1, max_size=3), st.booleans(), st.integers(1, 3))
def test_arms_that_are_allowed_are_planned_and_read_back(
    arms: list[dict[str, Any]], noise_floor: bool, seeds: int
) -> None:
    study = Study.model_validate(
        {
            "name": "x",
            "arms": {f"arm{i}": changes for i, changes in enumerate(arms)},
            "noise_floor": noise_floor,
            "plan": {"seeds": seeds},
        }
    )
    outcome: CampaignPlan | StudyError
    try:
        outcome = make_plan(study)
    except StudyError as error:
        outcome = error
    if isinstance(outcome, StudyError):
        reasons = ("changes nothing", "is the same as", "of inverted blocks", "needs a", "goes with")
        assert all(any(reason in problem.message for reason in reasons) for problem in outcome.problems)
    else:
        assert CampaignPlan.from_json(outcome.to_json()) == outcome
        assert not any(a.spec == b.spec for a, b in itertools.combinations(outcome.arms[: len(arms) + 1], 2))
