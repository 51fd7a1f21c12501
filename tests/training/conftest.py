from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ablate.design.plan import Trial
from ablate.design.study import DataSpec, Recipe
from ablate.model.spec import NetSpec, StageSpec
from ablate.training.data import Images, load_images

TINY = NetSpec(
    stages=(StageSpec(channels=8, stride=2), StageSpec(channels=8)),
    stem_channels=8,
    stem_stride=1,
    head_channels=16,
    in_channels=1,
    num_classes=4,
)


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> Iterator[None]:
    """Every trial collects garbage before it measures memory; torch's own modules need not be looked through again."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(DataSpec(name="synthetic"), Path("unused"), tmp_path_factory.mktemp("cache"))


@pytest.fixture
def make_trial() -> Callable[..., Trial]:
    def make(*, seed: int = 0, spec: NetSpec = TINY, keep_weights: bool = False, **recipe: Any) -> Trial:
        return Trial(
            study="study",
            arm="arm",
            seed=seed,
            spec=spec,
            recipe=Recipe(**{"epochs": 2, "batch_size": 96, **recipe}),
            data=DataSpec(name="synthetic"),
            keep_weights=keep_weights,
        )

    return make
