"""What every table of a study file is: frozen, strict, closed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Noun(BaseModel):
    """A table of a study file: an unknown key, another type and a number that is not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Range(Noun):
    """Between which ends a number is tried; ``log`` draws it evenly in its logarithm."""

    low: float = Field(description="the smallest value tried")
    high: float = Field(description="the largest value tried")
    log: bool = Field(default=False, description="evenly in the logarithm, as for a learning rate")
