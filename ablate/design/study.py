"""A Study: question, control, arms, recipe, data, seeds, decision rule, and what was expected beforehand.

The fields of a study file and their defaults stand here; `read.py` reads the file. Whatever is not written has the
default below, whatever is written is checked, and an unknown key is an error.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Expectation = Literal["better", "worse", "equivalent", "different", "undecided"]
Metric = Literal["test_accuracy", "test_loss", "val_accuracy", "val_loss"]
HIGHER_IS_BETTER: dict[str, bool] = {
    "test_accuracy": True,
    "test_loss": False,
    "val_accuracy": True,
    "val_loss": False,
}
Optimizer = Literal["sgd", "adam", "adamw", "rmsprop"]
Schedule = Literal["one_cycle", "cosine", "step", "constant"]
# The name of a study or an arm becomes part of a path and of a page, so it holds nothing that either could mistake.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
# One line of text that people read; every page escapes it.
Line = Annotated[str, Field(max_length=500)]
Level = str | int | float | bool


class _Noun(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Recipe(_Noun):
    """How every arm is trained: optimiser, schedule, epochs, batch size, augmentation."""

    epochs: int = Field(4, ge=1, le=100_000)
    batch_size: int = Field(64, ge=2, le=65_536)
    optimizer: Optimizer = "adamw"
    lr: float = Field(6e-3, gt=0, le=100)
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd (Nesterov) and rmsprop")
    rms_decay: float = Field(0.9, gt=0, lt=1, description="rmsprop's smoothing of the squared gradients")
    weight_decay: float = Field(0.0, ge=0, le=10)
    weight_decay_on: Literal["all", "weights"] = Field(
        "all", description="weights: neither batch norm nor biases"
    )
    schedule: Schedule = "one_cycle"
    warmup_epochs: float = Field(0.0, ge=0, description="linear warm-up; for one_cycle, 0 means 30 % of the epochs")
    step_epochs: float = Field(1.0, gt=0, description="step: the rate falls every so many epochs")
    step_factor: float = Field(0.1, gt=0, le=1, description="step: what the rate is multiplied with")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    ema: float = Field(0.0, ge=0, lt=1, description="decay a step of the averaged weights that are evaluated; 0: none")
    crop_padding: int = Field(0, ge=0, le=64, description="pixels of padding of the random crop; 0: none")
    flip: bool = Field(False, description="random horizontal flip")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="the same for every arm")

    @model_validator(mode="after")
    def _warmup_fits(self) -> Recipe:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs must be below epochs = {self.epochs}, got {self.warmup_epochs:g}"
            )
        return self


class DataSpec(_Noun):
    """Which images, and which part of the training images is held back for validation.

    ``name`` is a known data set or the path of an .npz file. Validation images are drawn stratified by class with
    ``split_seed``, the same for every trial of the study; an .npz that brings val_images keeps its own.
    """

    name: str = Field("mnist5k", min_length=1, max_length=1000)
    validation: float = Field(0.1, gt=0, lt=1)
    split_seed: int = Field(0, ge=0, lt=2**32)


class Plan(_Noun):
    """How many paired seeds: ``first_seed``, ``first_seed + 1``, ..."""

    seeds: int = Field(8, ge=1, le=10_000)
    first_seed: int = Field(0, ge=0, lt=2**31)


class Decision(_Noun):
    """The rule that turns contrasts into verdicts, fixed before the runs.

    ``margin`` is the smallest difference that matters, in the metric's own unit (accuracy: from 0 to 1);
    ``also`` lists further metrics that are reported as exploratory.
    """

    metric: Metric = "test_accuracy"
    margin: float = Field(0.005, gt=0)
    alpha: float = Field(0.05, gt=0, lt=0.5)
    also: tuple[Metric, ...] = Field((), strict=False)


class Study(_Noun):
    """One question, its control and arms, and the rule that answers it.

    ``arms`` maps an arm's name to its changes against the control; a factorial study has ``factors`` instead, each
    with its levels. ``control`` holds ``net``, a name of the zoo, and any field of it set beside.
    """

    name: Name
    title: Line = ""
    question: Line = ""
    source: Line = ""
    expect: dict[str, Expectation] = Field(default_factory=dict)
    control: dict[str, Level] = Field(default_factory=lambda: {"net": "mobilenet_v2_mnist"})
    arms: dict[Name, dict[str, Level]] = Field(default_factory=dict)
    factors: dict[str, Annotated[tuple[Level, ...], Field(strict=False)]] = Field(default_factory=dict)
    data: DataSpec = DataSpec()
    recipe: Recipe = Recipe()
    plan: Plan = Plan()
    decision: Decision = Decision()
    noise_floor: bool = Field(False, description="adds an A/A arm: the control again under other seeds")
    keep_weights: bool = Field(False, description="keeps each trial's weights as an artifact")
    budget: str = Field("quick", description="which budget this is; a file's [budget.NAME] tables make the others")

    @property
    def digest(self) -> str:
        """16 hex digits over everything the study says: the campaign's identity."""
        return digest(self.model_dump(mode="json"))


def digest(plain: Any) -> str:
    """16 hex digits of the sha256 of a plain value's canonical JSON."""
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
