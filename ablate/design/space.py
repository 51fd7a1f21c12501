"""The space that a search explores: an axis for each factor, and what the control becomes at a point of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

from ablate.design.arms import Images, Setup, changed, outside
from ablate.design.factors import bad_levels, differs_among_stages, held_levels
from ablate.design.imported import Imported
from ablate.design.own_block import unread_by_block
from ablate.design.own_training import OwnTraining
from ablate.design.search_fields import Span
from ablate.design.study import DataSpec, Level, Levels, Recipe, Study
from ablate.design.unread import unread
from ablate.design.validation import FieldError, FieldsError
from ablate.model.spec import BlockSpec, NetSpec

Point = Mapping[str, Level]  # factor -> its value
NOT_SEARCHED = ("recipe.init_from", "recipe.init_sha256", "recipe.freeze")  # files, and what depends on the net
MOST_COUNTED = 512  # points of a space that are made one by one to see how many differ
_TYPES = {field.name: field.type for field in (*fields(BlockSpec), *fields(NetSpec))}
_SIGNIFICANT = 4  # digits of a value drawn from a range
_DIGITS = 12  # to which a value of a stepped range is rounded: 0.3, not 0.30000000000000004


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One factor of a search.

    Attributes:
        name: ``conv``, ``recipe.lr``.
        own: the control's value.
        levels: those to choose from; empty where it is a range.
        low, high, log, step: of a range.
        whole: whether a range holds whole numbers only.
    """

    name: str
    own: Level
    levels: Levels = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def size(self) -> int | None:
        """How many values it has; None where there is no end of them."""
        if self.levels:
            return len(self.levels)
        step = self.step or (1.0 if self.whole else None)
        return None if step is None else round((self.high - self.low) / step) + 1

    def value(self, drawn: Level) -> Level:
        """A drawn value as it is trained; one at the control's is the control's."""
        if self.levels or isinstance(drawn, str | bool):
            return drawn
        value: float = int(drawn) if self.whole else round(drawn, _DIGITS) if self.step else self._rounded(drawn)
        return self.own if math.isclose(value, float(self.own), rel_tol=1e-12) else value

    def _rounded(self, drawn: float) -> float:
        """A number of a range to ``_SIGNIFICANT`` digits, so that a study file can repeat it."""
        return min(self.high, max(self.low, float(f"{drawn:.{_SIGNIFICANT}g}")))

    def place(self, value: Level) -> float:
        """Where a value lies, from 0 to 1: in its range, in the scale that it is drawn in, or among the levels."""
        if self.levels:
            return self.levels.index(value) / (len(self.levels) - 1)
        if self.log:
            return math.log(float(value) / self.low) / math.log(self.high / self.low)
        return (float(value) - self.low) / (self.high - self.low)


def space_of(study: Study, control: Setup) -> tuple[Axis, ...]:
    """The axes of a search, in the order of its factors.

    Raises:
        FieldsError: a factor that no arm can change, a range that cannot be, or one that leaves out the control.
    """
    axes: list[Axis] = []
    errors: list[FieldError] = []
    for name, factor in study.factors.items():
        found = _axis(study, control, name, factor)
        if isinstance(found, Axis):
            axes.append(found)
        else:
            errors += found
    if errors:
        raise FieldsError(errors)
    return tuple(axes)


def _axis(study: Study, control: Setup, name: str, factor: Levels | Span) -> Axis | list[FieldError]:
    key = f"factors.{name}"
    if name in NOT_SEARCHED:
        return [FieldError(key, "is not searched: set it for the control, or compare arms that differ in it")]
    ends = (factor.low, factor.high) if isinstance(factor, Span) else factor
    if isinstance(factor, Span) and factor.low >= factor.high:
        return [FieldError(f"{key}.low", f"must be below high = {factor.high:g}, got {factor.low:g}")]
    if isinstance(factor, Span) and (whole := _is_whole(study, control, name)):
        ends = tuple(int(end) if end.is_integer() else end for end in ends if isinstance(end, float))
    if errors := bad_levels(control, name, ends, key):
        return errors
    held = held_levels(study, control, name)
    if not held:
        return [FieldError(key, f"needs the control's own value: set control.{name}")]
    if len(held) > 1:
        return [FieldError(key, differs_among_stages(name, held))]
    own = held[0]
    if not isinstance(factor, Span):
        if own not in factor:
            return [FieldError(key, f"must hold the control's own level {own!r}, got {list(factor)!r}")]
        return Axis(name=name, own=own, levels=factor)
    if isinstance(own, bool | str):
        return [FieldError(key, f"must be a list of levels: the control's {own!r} is not a number")]
    step = factor.step
    axis = Axis(name=name, own=own, low=factor.low, high=factor.high, log=factor.log, step=step, whole=whole)
    return _span_errors(axis, key) or axis


def _is_whole(study: Study, control: Setup, name: str) -> bool:
    table, of_table = outside(name)
    if table:
        model = Recipe if table == "recipe" else DataSpec
        return of_table in model.model_fields and model.model_fields[of_table].annotation is int
    if isinstance(control.spec, OwnTraining) or (isinstance(control.spec, Imported) and name != "net"):
        return any(type(held) is int for held in held_levels(study, control, name))
    return _TYPES.get(name) == "int"


def _span_errors(axis: Axis, key: str) -> list[FieldError]:
    if axis.log and axis.low <= 0:
        return [FieldError(f"{key}.low", f"must be above 0 where log = true, got {axis.low:g}")]
    if axis.log and axis.step:
        return [FieldError(f"{key}.step", "does not go with log = true")]
    for name in ("low", "high", "step"):
        value = getattr(axis, name)
        if axis.whole and value is not None and value % 1:
            return [FieldError(f"{key}.{name}", f"must be a whole number, got {value:g}")]
    if axis.step and not _on_grid(axis.high, axis):
        return [FieldError(f"{key}.step", f"must divide high - low = {axis.high - axis.low:g}, got {axis.step:g}")]
    own = float(axis.own)
    if not axis.low <= own <= axis.high:
        return [FieldError(key, f"must hold the control's own {own:g}, got {axis.low:g} to {axis.high:g}")]
    if axis.step and not _on_grid(own, axis):
        told = f"{axis.low:g}, {axis.low + axis.step:g}, ..., {axis.high:g}"
        return [FieldError(f"{key}.step", f"must reach the control's own {own:g}, got {told}")]
    return []


def _on_grid(value: float, axis: Axis) -> bool:
    steps = (value - axis.low) / (axis.step or 1.0)
    return abs(steps - round(steps)) < 1e-6


def size_of(axes: tuple[Axis, ...]) -> int | None:
    """How many points a space has; None where there is no end of them."""
    sizes = [axis.size for axis in axes]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def points(axes: tuple[Axis, ...]) -> Iterator[dict[str, Level]]:
    """Every point of a space with an end."""
    values = [axis.levels or _values(axis) for axis in axes]
    for cell in itertools.product(*values):
        yield {axis.name: value for axis, value in zip(axes, cell, strict=True)}


def _values(axis: Axis) -> Levels:
    return tuple(axis.value(axis.low + number * (axis.step or 1.0)) for number in range(axis.size or 0))


def setup_at(
    study: Study, control: Setup, images: Images, axes: tuple[Axis, ...], point: Point
) -> tuple[Setup, dict[str, Level]] | None:
    """What the control becomes at a point, and the factors that count there; None where its fields exclude each other.

    A field that the point's recipe (``recipe.momentum`` with adamw) or own block does not read does not count: it
    keeps the value of the control.
    """
    own = {axis.name: axis.own for axis in axes}
    changes = {name: value for name, value in point.items() if value != own[name]}
    if isinstance(control.spec, OwnTraining):
        return replace(control, spec=control.spec.with_changes(changes)), dict(point)
    moved = {name.removeprefix("recipe."): value for name, value in point.items() if name.startswith("recipe.")}
    try:
        recipe = Recipe.model_validate({**study.recipe.model_dump(), **moved})
        idle = {f"recipe.{name}" for name in moved if unread(recipe, name)}
        residual = point.get("residual", study.control.get("residual"))
        idle |= {name for name in point if unread_by_block(residual, name)}
        setup = changed(study, {name: value for name, value in changes.items() if name not in idle}, images, "factors")
    except (FieldsError, ValueError):  # pydantic's error is a ValueError
        return None
    return setup, {name: value for name, value in point.items() if name not in idle}


def distinct(study: Study, control: Setup, images: Images, axes: tuple[Axis, ...]) -> int | None:
    """How many different setups a space holds; None where it has more than ``MOST_COUNTED`` points."""
    size = size_of(axes)
    if size is None or size > MOST_COUNTED:
        return None
    made = (setup_at(study, control, images, axes, point) for point in points(axes))
    return len({found[0] for found in made if found is not None})
