"""What the user's own training returned: a table of numbers, and predictions for each test example, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.design.noun import METRIC_PATTERN
from ablate.design.record import MOST_PREDICTIONS, ReportedPoint
from ablate.training.examples import example_fields
from ablate.training.user_code import UserCodeError

MOST_METRICS = 1000
MOST_CLASSES = 2**16
ACCURACY = "test_accuracy"  # what predictions and labels decide
TOLERANCE = 1e-4  # by which it may differ from their share, for what was rounded


@dataclass(frozen=True)
class Returned:
    """Metrics by name, the points of those that were given as lists, and a record's fields of what was predicted."""

    metrics: dict[str, float]
    points: tuple[ReportedPoint, ...] = ()
    predicted: Mapping[str, Any] = field(default_factory=dict)


def returned_of(found: object, what: str) -> Returned:
    """A table of metrics as an outcome; a list of numbers is a metric's learning curve, its last number the metric.

    ``predictions`` and ``labels`` are no metrics: the predicted and the true class of each test example.

    Args:
        found: what was returned or written.
        what: begins the sentence of an error: ``"my.train:train returned"``.

    Raises:
        UserCodeError: it is no table of numbers.
    """
    if not isinstance(found, Mapping):
        raise UserCodeError(f"{what} {_shown(found)}; it must be a table of metrics, such as {{'val_loss': 0.42}}")
    examples = {name: found[name] for name in ("predictions", "labels") if name in found}
    found = {name: value for name, value in found.items() if name not in examples}
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
    predicted = _predicted(examples, metrics.get(ACCURACY), what) if examples else {}
    return Returned(metrics, points, predicted)


def _predicted(examples: Mapping[str, object], accuracy: float | None, what: str) -> dict[str, Any]:
    """A record's predictions, two bytes each, which of them are right, and what guessing reaches.

    Raises:
        UserCodeError: they are no classes, not as many as there are labels, or another accuracy was returned.
    """
    for name, other in (("predictions", "labels"), ("labels", "predictions")):
        if name not in examples:
            raise UserCodeError(f"{what} {other} without {name}; give both, the classes of each test example, or none")
    given, labels = (_classes(examples[name], f"{what} {name}") for name in ("predictions", "labels"))
    if len(given) != len(labels):
        raise UserCodeError(f"{what} {len(given):,} predictions and {len(labels):,} labels; give one each an example")
    right = given == labels
    if accuracy is not None and not abs(accuracy - float(right.mean())) <= TOLERANCE:
        told = f"of its predictions {right.mean():.6g} are right; return that, or leave predictions and labels out"
        raise UserCodeError(f"{what} {ACCURACY} = {accuracy:.6g}, but {told}")
    return example_fields(given, right, labels, wide=True)


def _classes(found: object, what: str) -> NDArray[np.int64]:
    """Whole numbers from 0 on, of a list, an array of NumPy's or a tensor of torch's."""
    plain = found.tolist() if callable(getattr(found, "tolist", None)) else found  # type: ignore[attr-defined]
    if not isinstance(plain, list | tuple) or not 0 < len(plain) <= MOST_PREDICTIONS // 2:
        raise UserCodeError(f"{what} = {_shown(plain)}; it must be a list with the class of each test example")
    for place, one in enumerate(plain):
        if type(one) is not int or not 0 <= one < MOST_CLASSES:
            allowed = f"a class must be a whole number from 0 to {MOST_CLASSES - 1:,}"
            raise UserCodeError(f"{what}[{place}] = {_shown(one)}; {allowed}")
    return np.array(plain, np.int64)


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
