"""What every table of a study file is: frozen, strict, closed."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

METRIC_PATTERN = r"^[A-Za-z][A-Za-z0-9_./-]{0,63}$"
Metric = Annotated[str, Field(pattern=METRIC_PATTERN)]
LINE_PATTERN = r"^[^\x00-\x1f\x7f]*$"
# One line of text that people read; every page escapes it.
Line = Annotated[str, Field(max_length=500, pattern=LINE_PATTERN)]
# What our own training measures; a study's own trainer or command returns whatever it likes.
HIGHER_IS_BETTER = {"test_accuracy": True, "test_loss": False, "val_accuracy": True, "val_loss": False}


class Noun(BaseModel):
    """A table of a study file: an unknown key, another type and a number that is not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Range(Noun):
    """Between which ends a number is tried; ``log`` draws it evenly in its logarithm."""

    low: float = Field(description="the smallest value tried")
    high: float = Field(description="the largest value tried")
    log: bool = Field(default=False, description="evenly in the logarithm, as for a learning rate")
