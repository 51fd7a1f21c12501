"""The Trial: one arm trained once with one seed."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ablate.design.identity import canonical, identity
from ablate.design.imported import Model
from ablate.design.study import DataSpec, Recipe

TRIAL_FORMAT = 1  # raised when the same trial would train to other numbers, so that old records are not mixed in
SEED = "\x00seed"  # stands for the seed; no field of a spec can hold it
Phase = Literal["confirm", "tuning"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One arm trained once with one seed.

    ``key`` is a hash of everything that decides the result: net, recipe, data, seed. Names do not decide it, so a
    renamed arm keeps its records.

    Attributes:
        metrics: of training of the user's own, those that it has to give, the deciding one first.
        phase: verdicts rest on ``confirm``; a ``tuning`` trial never sees the test images.
    """

    study: str
    arm: str
    seed: int
    spec: Model
    recipe: Recipe
    data: DataSpec
    data_digest: str = ""  # of the file's content, for an .npz of the user's own
    keep_weights: bool = False
    metrics: tuple[str, ...] = ()
    phase: Phase = "confirm"

    @cached_property
    def key(self) -> str:
        """16 hex digits."""
        before, after = _around_seed(self.spec, self.recipe, self.data, self.data_digest, self.phase)
        return hashlib.sha256(f"{before}{self.seed}{after}".encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=4096)
def _around_seed(spec: Model, recipe: Recipe, data: DataSpec, data_digest: str, phase: Phase) -> tuple[str, str]:
    """What a key hashes, before and after the seed: a campaign's thousands of trials differ in little else."""
    decides: dict[str, Any] = {
        "format": TRIAL_FORMAT,
        "spec": identity(spec),
        "recipe": identity(recipe),
        "data": identity(data) | {"digest": data_digest},
        "seed": SEED,
    }
    if phase != "confirm":
        decides["phase"] = phase
    before, after = canonical(decides).split(json.dumps(SEED))
    return before, after
