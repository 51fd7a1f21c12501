"""The Trial: one arm trained once with one seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ablate.design.identity import digest, identity
from ablate.design.study import DataSpec, Recipe
from ablate.model.spec import NetSpec

TRIAL_FORMAT = 1  # raised when the same trial would train to other numbers, so that old records are not mixed in
Phase = Literal["confirm", "tuning"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One arm trained once with one seed.

    ``key`` is a hash of everything that decides the result: net, recipe, data, seed. Names do not decide it, so a
    renamed arm keeps its records.

    Attributes:
        phase: verdicts rest on ``confirm``; a ``tuning`` trial never sees the test images.
    """

    study: str
    arm: str
    seed: int
    spec: NetSpec
    recipe: Recipe
    data: DataSpec
    data_digest: str = ""  # of the file's content, for an .npz of the user's own
    keep_weights: bool = False
    phase: Phase = "confirm"

    @cached_property
    def key(self) -> str:
        """16 hex digits."""
        decides: dict[str, Any] = {
            "format": TRIAL_FORMAT,
            "spec": identity(self.spec),
            "recipe": identity(self.recipe),
            "data": identity(self.data) | {"digest": self.data_digest},
            "seed": self.seed,
        }
        if self.phase != "confirm":
            decides["phase"] = self.phase
        return digest(decides)
