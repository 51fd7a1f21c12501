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
from ablate.design.study import SEEDED, DataSpec, Recipe, Source

TRIAL_FORMAT = 1  # raised when the same trial would train to other numbers, so that old records are not mixed in
SEED = "\x00seed"  # stands for the seed; no field of a spec can hold it
# confirm: verdicts rest on it. The others never see the test images: tuning, and what a search tries; a timed one
# measures its net's latency too.
Phase = Literal["confirm", "tuning", "search", "timed"]


@dataclass(frozen=True)
class Seeds:
    """The seed of each source of randomness: ``own``, but for those in ``fixed`` ``common``, that of all trials."""

    own: int
    fixed: tuple[Source, ...] = ()
    common: int = 0

    def of(self, source: Source) -> int:
        """The seed that a source starts from."""
        return self.common if source in self.fixed else self.own


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One arm trained once with one seed.

    ``key`` is a hash of everything that decides the result: net, recipe, data, seed. Names do not decide it, so a
    renamed arm keeps its records.

    Attributes:
        metrics: of training of the user's own, those that it has to give, the deciding one first.
        fixed, common: the sources that the seed does not move, and the seed that they have in every trial.
        phase: verdicts rest on ``confirm``; trials of the other phases never see the test images.
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
    fixed: tuple[Source, ...] = ()
    common: int = 0

    @property
    def seeds(self) -> Seeds:
        """What each source of randomness starts from."""
        return Seeds(self.seed, self.fixed, self.common)

    @property
    def title(self) -> str:
        """``control, seed 3``, ``relu, tuning seed 2000000``: what people read."""
        told = {"tuning": "tuning ", "search": "search ", "timed": "search "}.get(self.phase, "")
        return f"{self.arm}, {told}seed {self.seed}"

    @cached_property
    def key(self) -> str:
        """16 hex digits."""
        before, after = _around_seed(self.spec, self.recipe, self.data, self.data_digest, self.phase)
        fixed = f"{','.join(self.fixed)}={self.common}" if self.fixed else ""
        return hashlib.sha256(f"{before}{self.seed}{after}{fixed}".encode()).hexdigest()[:16]


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


def moved_by(vary: tuple[Source, ...], seed: int, data: DataSpec, first_seed: int) -> dict[str, Any]:
    """The fields of a trial that ``vary`` decides: its data, whose parts a seed may draw anew, and what is fixed.

    The parts of the first seed are those of ``data.split_seed``.
    """
    fixed = tuple(source for source in SEEDED if source not in vary)
    if "split" in vary:
        data = data.model_copy(update={"split_seed": (data.split_seed + seed - first_seed) % 2**32})
    return {"data": data, "fixed": fixed, "common": first_seed if fixed else 0}
