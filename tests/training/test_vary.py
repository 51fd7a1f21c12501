"""``vary``: which sources of randomness a seed moves, in keys, in data and in training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.design.plan import CampaignPlan, Trial, make_plan, setting
from ablate.design.study import SEEDED, SOURCES, Source, Study
from ablate.errors import StudyError
from ablate.training.data import Images, load_images
from ablate.training.fit import fit
from ablate.training.streams import stream_seed
from ablate.verdicts.judge import judge
from ablate.verdicts.statements import covered

Make = Callable[..., Trial]
STUDY: dict[str, Any] = {
    "name": "x",
    "arms": {"a": {"bottleneck": "relu"}},
    "plan": {"seeds": 3, "first_seed": 5},
    "noise_floor": True,
}


def planned(*vary: Source, **more: Any) -> CampaignPlan:
    return make_plan(Study.model_validate({**STUDY, "vary": vary, **more}))


def test_without_the_key_and_with_its_default_every_trial_is_the_same() -> None:
    plain = make_plan(Study.model_validate(STUDY))
    assert planned("weights", "order", "augmentation").trials == plain.trials
    assert all(trial.fixed == () and trial.data == plain.study.data for trial in plain.trials)


def test_split_draws_the_parts_anew_by_seed_alike_for_every_arm() -> None:
    plan, plain = planned(*SOURCES), make_plan(Study.model_validate(STUDY))
    parts = {arm.name: [trial.data.split_seed for trial in plan.arm_trials(arm.name)] for arm in plan.arms}
    assert parts["control"] == parts["a"] == [0, 1, 2]
    assert not set(parts["noise_floor"]) & set(parts["control"])
    keys, before = ([trial.key for trial in one.trials] for one in (plan, plain))
    assert keys[:2] == before[:2]  # the first seed's parts are those of the study
    assert not set(keys[2:6]) & set(before)
    assert CampaignPlan.from_json(plan.to_json()) == plan
    tuned = planned(*SOURCES, tuning={"trials": 2, "seeds": 2, "space": {"lr": {"low": 1e-3, "high": 1e-1}}})
    tried = setting(tuned.study, tuned.control, tuned.data, {"lr": 0.01}).trials
    assert len({trial.data.split_seed for trial in tried}) == 2


def test_other_parts_are_other_images(tmp_path: Path) -> None:
    first, second = (trial.data for trial in planned(*SOURCES, data={"name": "synthetic"}).arm_trials("control")[:2])
    one, two = (load_images(data, tmp_path, tmp_path) for data in (first, second))
    assert len(one.train) == len(two.train)
    assert not np.array_equal(one.val.numpy(), two.val.numpy())
    assert np.array_equal(one.test.numpy(), two.test.numpy())


@pytest.mark.parametrize("source", SEEDED)
def test_a_source_that_is_not_varied_starts_alike_for_every_seed_and_the_others_do_not(source: Source) -> None:
    plan = planned(*(one for one in SEEDED if one != source))
    first, second, _ = plan.arm_trials("control")
    streams = {"weights": ("weights",), "order": ("order",)}
    of = streams.get(source, ("augmentation", "dropout", "drop_path", "rand_augment", "erasing", "mixing"))
    every = ("weights", "order", "augmentation", "dropout", "drop_path", "rand_augment", "erasing", "mixing")
    same = {one for one in every if stream_seed(first.seeds, one, 1) == stream_seed(second.seeds, one, 1)}  # type: ignore[arg-type]
    assert same == set(of)
    plain = make_plan(Study.model_validate(STUDY))
    assert not {trial.key for trial in plan.trials} & {trial.key for trial in plain.trials}
    assert stream_seed(first.seeds, of[0]) == stream_seed(plan.study.plan.first_seed, of[0])  # type: ignore[arg-type]
    assert len({trial.key for trial in plan.trials}) == len(plan.trials)


def test_two_seeds_train_alike_where_nothing_that_they_move_is_in_the_recipe(images: Images, make_trial: Make) -> None:
    """Without crops, flips and dropout, the seed of augmentation moves nothing."""
    spec = dataclasses.replace(make_trial().spec, dropout=0.0)
    one, two, other = (
        fit(dataclasses.replace(make_trial(spec=spec, seed=seed, epochs=1), fixed=fixed, common=7), images)
        for seed, fixed in ((0, ("weights", "order")), (1, ("weights", "order")), (1, ("weights",)))
    )
    assert one.predictions == two.predictions
    assert one.curve == two.curve
    assert other.curve != two.curve


def test_the_report_says_what_its_intervals_cover() -> None:
    told = covered(planned("order", "split").study)
    assert told == (
        "Seeds move the order of the images and which training images are held back for validation; intervals cover "
        "these. They do not cover initial weights, augmentation and dropout and the test images."
    )
    plan = planned("order")
    assert judge(plan, {}).method.endswith(covered(plan.study))


@pytest.mark.parametrize(
    ("vary", "told"),
    [
        ([], "vary must hold at least one of weights, order, augmentation, split"),
        (["order", "order"], "vary must hold every source once"),
    ],
)
def test_what_is_wrong_is_named(vary: list[str], told: str) -> None:
    with pytest.raises(StudyError, match=told):
        planned(*vary)  # type: ignore[arg-type]


def test_split_is_refused_where_a_file_brings_its_own_validation_images(tmp_path: Path) -> None:
    rng, file = np.random.default_rng(0), tmp_path / "own.npz"
    arrays = {
        f"{part}_{kind}": rng.integers(0, 2 if kind == "labels" else 255, (80,) if kind == "labels" else (80, 8, 8))
        for part in ("train", "val", "test")
        for kind in ("images", "labels")
    }
    np.savez(file, **{name: array.astype(np.uint8) for name, array in arrays.items()})
    with pytest.raises(StudyError, match="has its own validation images"):
        planned(*SOURCES, data={"name": str(file)}, recipe={"batch_size": 16})
    half = {"name": str(file), "fraction": 0.5}  # which half is trained on is drawn anew
    assert planned(*SOURCES, data=half, recipe={"batch_size": 16}).trials
