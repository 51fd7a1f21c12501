"""The fields of `[tuning]` in a study file and their defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ablate.design.noun import Noun, Range


class Tuning(Noun):
    """Before the confirming seeds, every arm (the control too) tries settings of its recipe, all arms equally many.

    The first setting is the recipe as written. Settings are scored on the validation images, with seeds of their own.
    """

    trials: int | None = Field(
        default=None, ge=1, le=10_000, description="settings that each arm may try; not written: nothing is tuned"
    )
    sampler: Literal["quasi_random", "tpe"] = Field(
        default="quasi_random", description="quasi_random: the same settings for every arm; tpe: led by the scores"
    )
    seeds: int = Field(default=1, ge=1, le=1_000, description="tuning seeds that each setting is trained with")
    blocks: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="tunings of each arm: 1, or as many as plan.seeds, so that each seed confirms its own tuning",
    )
    space: dict[str, Range] = Field(default_factory=dict, description="fields of the recipe and their ranges")
