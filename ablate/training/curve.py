"""The learning curve that the user's own training reports, kept on disk so that a resumed trial has all of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

from ablate.design.record import ReportedPoint
from ablate.training.returned import numbers
from ablate.training.user_code import UserCodeError

FILE = "curve.jsonl"
MOST_POINTS = 100_000
OnPoint = Callable[[ReportedPoint], None]


class Curve:
    """The points of one trial.

    Args:
        folder: of the trial; what an earlier attempt reported is there.
        on_point: called with each new point.
    """

    def __init__(self, folder: Path, on_point: OnPoint) -> None:
        self._file = folder / FILE
        self._on_point = on_point
        self._earlier = _read(self._file)
        self._new: list[ReportedPoint] = []

    @property
    def points(self) -> tuple[ReportedPoint, ...]:
        """By epoch; an earlier attempt's as far as this one has not gone over them again."""
        first = self._new[0].epoch if self._new else 0
        return (*(point for point in self._earlier if point.epoch < first), *self._new)

    def report(self, epoch: object, metrics: object) -> None:
        """Adds a point.

        Raises:
            UserCodeError: an epoch that is no whole number above the one before, or a metric that is no number.
        """
        if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
            raise UserCodeError(f"report: epoch must be a whole number of at least 0, got {epoch!r}")
        if self._new and epoch <= self._new[-1].epoch:
            raise UserCodeError(f"report: epoch must be above the last one, {self._new[-1].epoch}, got {epoch}")
        if len(self._new) >= MOST_POINTS:
            raise UserCodeError(f"report: must be called at most {MOST_POINTS:,} times in a trial")
        point = ReportedPoint(epoch=epoch, metrics=numbers(metrics, "report: got"))
        self._new.append(point)
        mode = "a" if len(self._new) > 1 else "w"
        kept = self.points if mode == "w" else (point,)
        with self._file.open(mode, encoding="utf-8") as file:
            file.writelines(json.dumps([one.epoch, one.metrics]) + "\n" for one in kept)
        self._on_point(point)


def _read(file: Path) -> list[ReportedPoint]:
    """What an earlier attempt reported; a line that was cut off by its end is left out."""
    found: list[ReportedPoint] = []
    with contextlib.suppress(OSError, ValueError, TypeError):
        for line in file.read_text(encoding="utf-8").splitlines():
            epoch, metrics = json.loads(line)
            found.append(ReportedPoint(epoch=epoch, metrics=metrics))
    return found
