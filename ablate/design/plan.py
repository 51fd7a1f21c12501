"""From a Study to its arms and trials; torch stays out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ablate.design.study import DataSpec, Level, Recipe, digest
from ablate.model.spec import Change, NetSpec

CONTROL = "control"
NOISE_FLOOR = "noise_floor"
TRIAL_FORMAT = 1  # raised when the same trial would train to other numbers, so that old records are not mixed in


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A NetSpec reached from the control by a named set of changes; ``factors`` are its levels in a factorial study."""

    name: str
    spec: NetSpec
    changes: tuple[Change, ...] = ()
    factors: dict[str, Level] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One arm trained once with one seed.

    ``key`` is a hash of everything that decides the result: net, recipe, data, seed. Names do not decide it, so a
    renamed arm keeps its records.
    """

    study: str
    arm: str
    seed: int
    spec: NetSpec
    recipe: Recipe
    data: DataSpec
    data_digest: str = ""  # of the file's content, for an .npz of the user's own
    keep_weights: bool = False

    @cached_property
    def key(self) -> str:
        """16 hex digits."""
        decides: dict[str, Any] = {
            "format": TRIAL_FORMAT,
            "spec": self.spec.to_dict(),
            "recipe": self.recipe.model_dump(mode="json"),
            "data": self.data.model_dump(mode="json") | {"digest": self.data_digest},
            "seed": self.seed,
        }
        return digest(decides)
