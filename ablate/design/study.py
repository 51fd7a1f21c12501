"""A Study: question, control, arms, recipe, data, seeds, decision rule, and what was expected beforehand.

The fields of a study file and their defaults stand here; `read.py` reads the file. Whatever is not written has the
default below, whatever is written is checked, and an unknown key is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from ablate.design.decision import Decision
from ablate.design.identity import digest, identity
from ablate.design.noun import LINE_PATTERN, Line, Noun
from ablate.design.search_fields import Search, Span
from ablate.design.tuning_fields import Tuning

Expectation = Literal["better", "worse", "equivalent", "no worse", "different", "undecided"]
Optimizer = Literal["sgd", "adam", "adamw", "rmsprop"]
Schedule = Literal["one_cycle", "cosine", "step", "constant"]
Matched = Literal["none", "macs", "params", "train_flops", "peak_memory"]
DesignKind = Literal["one_change", "factorial", "fractional", "add_one_in", "leave_one_out", "search"]
# The name of a study or an arm becomes part of a path and of a page, so it holds nothing that either could mistake.
MAX_NAME = 64
NAME_PATTERN = rf"^[A-Za-z0-9][A-Za-z0-9_.+-]{{0,{MAX_NAME - 1}}}$"
NAME_RULE = (
    f"must start with a letter or digit and hold only letters, digits, '_', '.', '+' and '-', at most {MAX_NAME}"
)
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Level = str | int | float | bool
Source = Literal["weights", "order", "augmentation", "split"]
SOURCES: tuple[Source, ...] = ("weights", "order", "augmentation", "split")
SEEDED: tuple[Source, ...] = ("weights", "order", "augmentation")  # what a seed moves where a study says nothing
QUICK = "quick"  # the budget that a file is as it is written

OUTSIDE_THE_NET = ("recipe", "data")  # what an arm can change besides fields of the net


def dotted(table: Any) -> Any:
    """``{"recipe": {"lr": 1}}`` as ``{"recipe.lr": 1}``: how a change outside the net is named everywhere.

    Raises:
        ValueError: a name is written both ways.
    """
    if not isinstance(table, Mapping):
        return table
    flat: dict[str, Any] = {}
    for name, value in table.items():
        nested = name in OUTSIDE_THE_NET and isinstance(value, Mapping)
        for key, one in ({f"{name}.{field}": one for field, one in value.items()} if nested else {name: value}).items():
            if key in flat:
                raise ValueError(f"{key} is written twice: in quotes and as a table")
            flat[key] = one
    return flat


Changes = Annotated[dict[str, Level], BeforeValidator(dotted)]
LEVELS, RANGE = "levels", "range"  # the two ways to write a factor; the tags stand in pydantic's errors
Levels = tuple[Level, ...]
Factor = Annotated[
    Annotated[Levels, Field(strict=False), Tag(LEVELS)] | Annotated[Span, Tag(RANGE)],
    Discriminator(lambda written: RANGE if isinstance(written, Mapping | Span) else LEVELS),
]

FEATURES = "features"


def _frozen(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not whole and value != FEATURES:
        raise PydanticCustomError("freeze", 'must be a number of stages from 0, or "features"')
    return value


Frozen = Annotated[
    int | str,
    BeforeValidator(_frozen),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"const": FEATURES}]}),
]


class Recipe(Noun):
    """How every arm is trained, where it changes nothing: optimiser, schedule, epochs, batch size, augmentation."""

    epochs: int = Field(default=4, ge=1, le=100_000, description="passes over the training images")
    batch_size: int = Field(default=64, ge=2, le=65_536, description="images a step")
    optimizer: Optimizer = Field(default="adamw", description="what moves the weights")
    lr: float = Field(default=6e-3, gt=0, le=100, description="highest learning rate of the schedule")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd (Nesterov) and rmsprop")
    rms_decay: float = Field(default=0.9, gt=0, lt=1, description="rmsprop's smoothing of the squared gradients")
    weight_decay: float = Field(default=0.0, ge=0, le=10, description="decoupled for adamw, else added to the gradient")
    weight_decay_on: Literal["all", "weights"] = Field(
        default="all", description="weights: neither batch norm nor biases"
    )
    schedule: Schedule = Field(default="one_cycle", description="of the learning rate, step by step")
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="linear warm-up; for one_cycle, 0 means 30 % of the epochs"
    )
    step_epochs: float = Field(default=1.0, gt=0, description="step: the number of epochs after which the rate falls")
    step_factor: float = Field(default=0.1, gt=0, le=1, description="step: what the rate is multiplied with")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of the target spread over all classes")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="decay a step of the averaged weights that are evaluated; 0: none"
    )
    crop_padding: int = Field(default=0, ge=0, le=64, description="pixels of padding of the random crop; 0: none")
    flip: bool = Field(default=False, description="random horizontal flip")
    rand_augment: int = Field(
        default=0, ge=0, le=30, description="magnitude of RandAugment, two operations an image; 0: none"
    )
    random_erasing: float = Field(
        default=0.0, ge=0, le=1, description="share of the images that a random rectangle is erased from"
    )
    mixup: float = Field(default=0.0, ge=0, le=100, description="a of the shares' distribution Beta(a, a); 0: none")
    cutmix: float = Field(
        default=0.0, ge=0, le=100, description="likewise; with mixup, each batch takes one of the two; 0: none"
    )
    grad_clip: float = Field(
        default=0.0, ge=0, description="largest L2 norm of all gradients together, longer ones are scaled; 0: none"
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="adam and adamw: decay of the mean gradient")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="adam and adamw: decay of the mean squared gradient")
    bn_momentum: float = Field(
        default=0.1, gt=0, le=1, description="share of a new batch in the running statistics of batch norm"
    )
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="of activations and gradients in training")
    init_from: str = Field(
        default="",
        max_length=1000,
        pattern=LINE_PATTERN,
        description="a file of weights to start from (.pt, .pth, .safetensors), matched by name and shape",
    )
    init_sha256: str = Field(
        default="",
        max_length=64,
        description="of that file; filled in from the file, and compared with it where it is written",
    )
    freeze: Frozen = Field(
        default=0,
        description='the stem and so many stages are not trained, or "features": all but the classifier; their batch '
        "norm uses its running statistics",
    )

    @model_validator(mode="after")
    def _fields_fit(self) -> Recipe:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs must be below epochs = {self.epochs}, got {self.warmup_epochs:g}")
        if self.init_sha256 and not self.init_from:
            raise ValueError("init_sha256 needs init_from, the file that it is of")
        return self


class DataSpec(Noun):
    """Which images, and which part of the training images is held back for validation.

    ``name`` is a known data set, the path of an .npz file, a folder of images with a folder a class (it ends with a
    slash), or the import path of a function. Validation images are drawn stratified by class with
    ``split_seed``, the same for every trial of the study; an .npz that brings val_images keeps its own.
    """

    name: str = Field(
        default="mnist5k",
        min_length=1,
        max_length=1000,
        pattern=LINE_PATTERN,
        description="a known data set, the path of an .npz file, a folder/ of images, or an import path",
    )
    validation: float = Field(default=0.1, gt=0, lt=1, description="share of the training images held back")
    split_seed: int = Field(default=0, ge=0, lt=2**32, description="which images are held back")
    fraction: float = Field(
        default=1.0, gt=0, le=1, description="share of the images left that is trained on, of every class alike"
    )
    label_noise: float = Field(
        default=0.0, ge=0, lt=1, description="share of the training labels that are changed to another class"
    )


class Plan(Noun):
    """How many paired seeds: ``first_seed``, ``first_seed + 1``, ...

    ``until = "settled"`` starts with ``seeds`` and adds ``block`` seeds at a time until every contrast is decided or
    ``max_seeds`` is reached; the error rate holds over all these looks.
    """

    seeds: int = Field(default=8, ge=1, le=10_000, description="paired seeds an arm")
    first_seed: int = Field(default=0, ge=0, lt=2**31, description="the seeds count up from it")
    until: Literal["planned", "settled"] = Field(
        default="planned", description="settled: seeds are added until every contrast is decided"
    )
    max_seeds: int | None = Field(default=None, ge=2, le=10_000, description="settled: the most seeds")
    block: int = Field(default=4, ge=1, le=1_000, description="settled: seeds added at a time")

    @model_validator(mode="after")
    def _looks_fit(self) -> Plan:
        if self.until == "planned" and self.max_seeds is not None:
            raise ValueError('max_seeds needs until = "settled"')
        if self.until == "planned" and self.block != 4:
            raise ValueError('block needs until = "settled"')
        if self.until == "settled" and self.max_seeds is None:
            raise ValueError('until = "settled" needs max_seeds')
        if self.max_seeds is not None and self.max_seeds < self.seeds:
            raise ValueError(f"max_seeds must be at least seeds = {self.seeds}, got {self.max_seeds}")
        return self

    @property
    def most_seeds(self) -> int:
        """The seeds that an arm can get at all."""
        return self.seeds if self.max_seeds is None else self.max_seeds


class Design(Noun):
    """Which arms are made of the changes; `design/arms.py` makes them.

    ``one_change``: an arm for each entry of ``[arms]``, against the control. ``factorial``: every combination of the
    levels in ``[factors]``. ``fractional``: a balanced part of them. ``add_one_in`` and ``leave_one_out`` need no
    ``[arms]``: the steps are the differences between the control and the net ``to``; ``add_one_in`` makes one step
    after another and keeps them (the last arm is ``to``), ``leave_one_out`` makes each step alone: declare the
    complete net as the control and what to take each choice back to as ``to``. ``search``: the arms are the best that
    a search of ``[factors]`` finds.
    """

    kind: DesignKind | None = Field(
        default=None, description="which arms are made; not written: factorial with [factors], else one_change"
    )
    to: Changes = Field(
        default_factory=dict,
        description="add_one_in, leave_one_out: the other net, written as [control] is, and fields of recipe and data",
    )
    order: tuple[str, ...] = Field(
        default=(), strict=False, description="add_one_in, leave_one_out: the steps in this order"
    )
    runs: int | None = Field(
        default=None, ge=8, le=128, description="fractional: how many arms; not written: the fewest of resolution IV"
    )


class Study(Noun):
    """One question, its control and arms, and the rule that answers it.

    ``arms`` maps an arm's name to its changes against the control; a factorial study has ``factors`` instead, each
    with its levels. A field of the net goes by its own name, one of the recipe or the data by a dotted one:
    ``recipe.lr``. ``stability`` repeats the contrasts at other levels of one such field. ``control`` holds ``net``, a
    name of the zoo, and the fields of it that differ. With a ``trainer`` or a ``command`` it holds the fields of that,
    and net, recipe and data of this package are not there.
    """

    name: Name
    title: Line = Field(default="", description="of the report")
    question: Line = Field(default="", description="what the study is to answer")
    source: Line = Field(default="", description="where the question or the claim comes from")
    expect: Annotated[dict[str, Expectation], BeforeValidator(dotted)] = Field(
        default_factory=dict, description="an arm's name to what is expected of it, written before the runs"
    )
    control: dict[str, Level] = Field(
        default={"net": "mobilenet_v2_mnist"}, description="net, a named net, and any field of it"
    )
    arms: dict[Name, Changes] = Field(
        default_factory=dict, description="[arms.NAME]: what the arm changes against the control"
    )
    factors: Annotated[dict[str, Factor], BeforeValidator(dotted)] = Field(
        default_factory=dict,
        description="a field of the net, of recipe or of data to its levels, the control's among them; in a search "
        "also to a range",
    )
    trainer: Line = Field(default="", description="your own training, 'package.module:function', with its [control]")
    command: Annotated[tuple[Line, ...], Field(strict=False, max_length=200)] = Field(
        default=(), description="your own training as a command line, with {field}, {seed} and {out} in it"
    )
    data: DataSpec = DataSpec()
    recipe: Recipe = Recipe()
    plan: Plan = Plan()
    decision: Decision = Decision()
    tuning: Tuning = Tuning()
    search: Search = Search()
    design: Design = Design()
    stability: Annotated[dict[str, Annotated[tuple[Level, ...], Field(strict=False)]], BeforeValidator(dotted)] = Field(
        default_factory=dict,
        description="one field of the net, of recipe or of data to levels at which the contrasts are repeated",
    )
    vary: tuple[Source, ...] = Field(
        default=SEEDED,
        strict=False,
        description="what a seed moves: initial weights, order of the images, augmentation (dropout too), and split: "
        "which training images are held back",
    )
    match: Matched = Field(
        default="none",
        description="what every arm is to cost alike; its width is solved for it; peak_memory: of a training step",
    )
    match_field: Line = Field(
        default="width_mult", description="with match: the keyword of an imported net that is solved"
    )
    unmatched: bool = Field(
        default=True, description="with match: also run the arms as they are, where their cost differs"
    )
    noise_floor: bool = Field(default=False, description="adds an A/A arm: the control again under other seeds")
    keep_weights: bool = Field(default=False, description="keeps each trial's weights as an artifact")
    budget: str = Field(
        default=QUICK, description="which budget this is; a file's [budget.NAME] tables make the others"
    )

    @model_validator(mode="before")
    @classmethod
    def _own_training_has_no_net(cls, tables: Any) -> Any:
        own = isinstance(tables, Mapping) and (tables.get("trainer") or tables.get("command"))
        return {"control": {}, **tables} if own else tables

    @model_validator(mode="after")
    def _expectations_can_come_out(self) -> Study:
        cannot = "equivalent" if self.decision.ask == "no_worse" else "no worse"
        for name, expected in self.expect.items():
            if expected == cannot and name not in self.factors:
                raise ValueError(
                    f'expect.{name} = "{expected}" cannot come out with decision.ask = "{self.decision.ask}"'
                )
        return self

    @property
    def own_training(self) -> bool:
        """Whether a trainer or a command of the user's trains, in place of this package's nets, data and recipe."""
        return bool(self.trainer or self.command)

    @property
    def design_kind(self) -> DesignKind:
        """The design as written, or the one that the tables stand for."""
        return self.design.kind or ("factorial" if self.factors else "one_change")

    @property
    def levels(self) -> dict[str, Levels]:
        """The factors that are levels: all of them, but in a search."""
        return {name: factor for name, factor in self.factors.items() if not isinstance(factor, Span)}

    @property
    def searched(self) -> bool:
        """Whether a search decides which arms there are."""
        return self.design_kind == "search"

    @property
    def tuned(self) -> bool:
        """Whether the arms' recipes are tuned before they are compared."""
        return self.tuning != Tuning()

    @property
    def explores(self) -> bool:
        """Whether trials of a search or a tuning decide what the confirming trials are."""
        return self.searched or self.tuned

    @property
    def digest(self) -> str:
        """16 hex digits over everything the study says: the campaign's identity."""
        return digest(identity(self))
