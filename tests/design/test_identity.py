"""A trial's key is the same in every version: new fields enter it only where they do something."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest
from pydantic import Field

from ablate.design.identity import PINNED
from ablate.design.plan import make_plan
from ablate.design.read import load_study
from ablate.design.study import DataSpec, Recipe, Study
from ablate.design.trial import Trial
from ablate.model.spec import BlockSpec, NetSpec, StageSpec
from ablate.model.zoo import mobilenet_v2_mnist

KEPT = Path(__file__).parent / "kept"
spec = importlib.util.spec_from_file_location("keep", KEPT / "keep.py")
assert spec is not None
assert spec.loader is not None
keep = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keep)

TRIAL = Trial(
    study="x", arm="a", seed=0, spec=mobilenet_v2_mnist(in_channels=1, num_classes=10), recipe=Recipe(), data=DataSpec()
)


@pytest.mark.parametrize("folder", sorted(KEPT.glob("format_*")), ids=lambda folder: folder.name)
def test_studies_and_trials_have_the_keys_that_earlier_versions_gave_them(folder: Path) -> None:
    assert keep.keys_of(folder / "studies") == json.loads((folder / "keys.json").read_text())


class RecipeOfLater(Recipe):
    clip_of_later: float = 0.0


class DataOfLater(DataSpec):
    fraction_of_later: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockOfLater(BlockSpec):
    attention_of_later: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageOfLater(StageSpec):
    block: BlockSpec = dataclasses.field(default_factory=BlockOfLater)
    drop_of_later: float = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetOfLater(NetSpec):
    pool_of_later: str = "mean"


def later(**changed: object) -> Trial:
    """``TRIAL`` as a later version would have it, with new fields at their defaults except those in ``changed``."""

    def new(kind: type, old: object, **moved: object) -> object:
        held = {name: getattr(old, name) for name in PINNED[kind.__mro__[1].__name__]} | moved
        return kind(**held, **{name: value for name, value in changed.items() if name in kind.__annotations__})

    stages = tuple(new(StageOfLater, row, block=new(BlockOfLater, row.block)) for row in TRIAL.spec.stages)
    return dataclasses.replace(
        TRIAL,
        spec=new(NetOfLater, TRIAL.spec, stages=stages),
        recipe=new(RecipeOfLater, TRIAL.recipe),
        data=new(DataOfLater, TRIAL.data),
    )


def test_new_fields_at_their_defaults_leave_a_key_as_it_was() -> None:
    assert later().key == TRIAL.key


@pytest.mark.parametrize(
    "changed",
    [
        {"clip_of_later": 1.0},
        {"fraction_of_later": 0.5},
        {"attention_of_later": (4,)},
        {"drop_of_later": 0.1},
        {"pool_of_later": "max"},
    ],
    ids=str,
)
def test_a_new_field_that_is_moved_makes_another_trial(changed: dict[str, object]) -> None:
    assert later(**changed).key != TRIAL.key


def test_every_pinned_field_decides_the_key() -> None:
    keys = {TRIAL.key}
    for name in PINNED["Recipe"]:
        moved = TRIAL.recipe.model_copy(update={name: "moved"})
        keys.add(dataclasses.replace(TRIAL, recipe=moved).key)
    for name in PINNED["DataSpec"]:
        keys.add(dataclasses.replace(TRIAL, data=TRIAL.data.model_copy(update={name: "moved"})).key)
    assert len(keys) == 1 + len(PINNED["Recipe"]) + len(PINNED["DataSpec"])


def test_a_new_field_of_a_study_leaves_its_digest_as_it_was() -> None:
    class StudyOfLater(Study):
        note_of_later: str = Field(default="", description="")

    study = Study(name="x", arms={"a": {"conv": "full"}})
    plain = study.model_dump()
    assert StudyOfLater(**plain).digest == study.digest
    assert StudyOfLater(**plain, note_of_later="x").digest != study.digest


def test_names_do_not_decide_a_key() -> None:
    plan = make_plan(load_study(KEPT.parents[2] / "studies" / "linear_bottleneck.toml"))
    trial = plan.trials[0]
    assert dataclasses.replace(trial, arm="another", study="another").key == trial.key
