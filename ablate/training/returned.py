"""What the user's own training returned: a table of numbers, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ablate.design.noun import METRIC_PATTERN
from ablate.design.record import ReportedPoint
from ablate.training.user_code import UserCodeError

MOST_METRICS = 1000


@dataclass(frozen=True)
class Returned:
    """Metrics by name, and the points of those that were given as lists."""

    metrics: dict[str, float]
    points: tuple[ReportedPoint, ...] = ()


def returned_of(found: object, what: str) -> Returned:
    """A table of metrics as an outcome; a list of numbers is a metric's learning curve, its last number the metric.

    Args:
        found: what was returned or written.
        what: begins the sentence of an error: ``"my.train:train returned"``.

    Raises:
        UserCodeError: it is no table of numbers.
    """
    if not isinstance(found, Mapping):
        raise UserCodeError(f"{what} {_shown(found)}; it must be a table of metrics, such as {{'val_loss': 0.42}}")
    lists = {name: value for name, value in found.items() if isinstance(value, list | tuple) and value}
    curves = {
        name: list(numbers(dict(enumerate(values)), f"{what} {name},", names=False).values())
        for name, values in lists.items()
    }
    last = {name: values[-1] for name, values in curves.items()}
    metrics = numbers({**found, **last}, what)
    longest = max(map(len, curves.values()), default=0)
    points = tuple(
        ReportedPoint(
            epoch=place + 1, metrics={str(name): one[place] for name, one in curves.items() if place < len(one)}
        )
        for place in range(longest)
    )
    return Returned(metrics, points)


def numbers(found: object, what: str, *, names: bool = True) -> dict[str, float]:
    """A table whose values are numbers: Python's, NumPy's, or tensors of one element.

    Raises:
        UserCodeError: it is none, or a name is not one that a metric may have.
    """
    if not isinstance(found, Mapping):
        raise UserCodeError(f"{what} {_shown(found)}; it must be a table of metrics, such as {{'val_loss': 0.42}}")
    if len(found) > MOST_METRICS:
        raise UserCodeError(f"{what} {len(found):,} metrics; at most {MOST_METRICS:,} are kept")
    for name in found:
        if names and not (isinstance(name, str) and re.fullmatch(METRIC_PATTERN, name)):
            rule = "a letter, then letters, digits, '_', '.', '/' and '-', at most 64"
            raise UserCodeError(f"{what} a metric called {_shown(name)}; its name must be {rule}")
    return {str(name): _number(value, f"{what} {name} =") for name, value in found.items()}


def _number(value: object, what: str) -> float:
    value = _alone(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserCodeError(f"{what} {_shown(value)}; a metric must be a number")
    try:
        return float(value)
    except OverflowError:
        raise UserCodeError(f"{what} a whole number of too many digits; a metric must fit a double") from None


def _alone(value: object) -> object:
    """The one number of an array of NumPy's or a tensor of torch's; anything else as it is."""
    item = getattr(value, "item", None)
    if not callable(item):
        return value
    try:
        return item()
    except (ValueError, RuntimeError):  # it holds several
        return value


def _shown(value: object) -> str:
    text = f"{value!r:.60}" if not isinstance(value, bytes) else f"{value[:40]!r}"
    return f"{text} ({type(value).__name__})"
