"""One trial of the user's own training: calls the function or runs the command, and makes a record of its metrics."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import math
import multiprocessing
import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.cpu import cpu_facts
from ablate.design.own_training import OwnTraining
from ablate.design.plan import Trial
from ablate.design.record import Measured, Record
from ablate.design.study import Level
from ablate.errors import AblateError, nearest
from ablate.files import read_whole, write_whole
from ablate.measure.memory import PeakMemory
from ablate.provenance import commit
from ablate.training.curve import Curve, OnPoint
from ablate.training.returned import Returned, returned_of
from ablate.training.user_code import UserCodeError, load_function, told

OUT = "metrics.json"  # the file that a command is told to write
STARTED = ".started"  # when the first attempt at the trial began, seconds since 1970
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MOST_BYTES = 16 * 1024**2  # of a command's metrics


class Fields(Mapping[str, Level]):
    """An arm's fields, as a mapping and as attributes: ``fields["lr"]`` and ``fields.lr``."""

    def __init__(self, fields: Mapping[str, Level]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> Level:
        return self._fields[name]

    def __getattr__(self, name: str) -> Level:
        fields: dict[str, Level] = self.__dict__.get("_fields", {})
        if name not in fields:
            there = ", ".join(fields) or "none"
            raise AttributeError(f"[control] has no field {name!r}{nearest(name, fields)} (it has: {there})")
        return fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Fields({self._fields})"


@dataclass(frozen=True, kw_only=True)
class OwnTrial:
    """What a trainer is called with.

    Attributes:
        arm, seed: which arm, and with which seed. Python's, NumPy's and torch's global generators are seeded with it.
        fields: of the arm.
        device: ``cpu`` or ``cuda``.
        threads: how many threads it may use.
        folder: its own folder, for checkpoints: what an earlier attempt at the same trial left is there.
        phase: ``confirm``; ``tuning`` or ``search`` while a setting or a candidate is tried, which should not look at
            the test data.
    """

    arm: str
    seed: int
    fields: Fields
    device: str
    threads: int
    folder: Path
    phase: str
    curve: Curve = field(repr=False)

    def report(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Adds a point to the learning curve.

        Args:
            epoch: counted from 1, or whatever is counted in its place; higher than the one before. After a trial was
                resumed, points from this epoch on are replaced.
            metrics: numbers by name.

        Raises:
            UserCodeError: something in it is no number.
        """
        self.curve.report(epoch, metrics)


def train_own(trial: Trial, folder: Path, *, device: str, threads: int, on_point: OnPoint) -> Record:
    """Trains one trial by the user's own function or command.

    Args:
        trial: its ``spec`` is the training.
        folder: the trial's own, for checkpoints.
        device: ``cpu`` or ``cuda``.
        threads: of the trial.
        on_point: called with each point of the learning curve.

    Returns:
        A record with status finished, or diverged where the metric is not finite.

    Raises:
        UserCodeError: the training failed, or returned something else than the metrics that the study declares.
    """
    assert isinstance(trial.spec, OwnTraining)
    own = OwnTrial(
        arm=trial.arm, seed=trial.seed, fields=Fields(dict(trial.spec.keywords)), device=device, threads=threads,
        folder=folder, phase=trial.phase, curve=Curve(folder, on_point),
    )  # fmt: skip
    started, began = _first_start(folder), time.monotonic()
    with PeakMemory(device) as memory:
        outcome = _run(trial.spec, own) if trial.spec.command else _call(trial.spec, own)
    wall_s = time.monotonic() - began
    measured = Measured(
        train_s=wall_s, wall_s=wall_s, peak_bytes=_children_bytes() if trial.spec.command else memory.bytes,
        device=device, threads=threads, hardware=cpu_facts()[0], commit=commit(), started_at=started,
        versions=_versions(),
    )  # fmt: skip
    return dataclasses.replace(_record(trial, outcome, own.curve), measured=measured)


def _first_start(folder: Path) -> float:
    """When the first attempt began: what it printed may be known, and a later attempt may resume it."""
    file, now = folder / STARTED, time.time()
    with contextlib.suppress(OSError, ValueError, AblateError):
        return max(0.0, min(now, float(read_whole(file))))
    write_whole(file, repr(now).encode())
    return now


def _record(trial: Trial, outcome: Returned, curve: Curve) -> Record:
    missing = [name for name in trial.metrics if name not in outcome.metrics]
    what = trial.spec.name if isinstance(trial.spec, OwnTraining) else ""
    if missing:
        there = ", ".join(outcome.metrics) or "nothing"
        raise UserCodeError(f"{what}: gave no {missing[0]!r}{nearest(missing[0], outcome.metrics)} (it gave: {there})")
    points = (*curve.points, *(outcome.points if not curve.points else ()))
    deciding = trial.metrics[0] if trial.metrics else ""
    if deciding and not math.isfinite(outcome.metrics[deciding]):
        reason = f"{deciding} is {outcome.metrics[deciding]}"
        return Record.of(trial, "diverged", curve=points, reason=reason)
    return Record.of(trial, "finished", metrics=outcome.metrics, curve=points, **outcome.predicted)


def check_trainer(training: OwnTraining) -> None:
    """Imports a trainer and sees whether it can be called with one argument; of a command there is nothing to see.

    Raises:
        UserCodeError: it cannot be imported, or takes other arguments.
    """
    if training.command:
        return
    function = load_function(training)
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        takes = inspect.signature(function)
        message = f"must take one argument, the trial; it is {training.function}{takes}: {error}"
        raise UserCodeError(f"{training.path}: {message}") from error
    except ValueError:  # a function that is written in C has no signature
        return


def _call(training: OwnTraining, own: OwnTrial) -> Returned:
    """The trainer called in this process."""
    multiprocessing.current_process().daemon = False  # so that it may have workers of its own, as a data loader has
    check_trainer(training)
    function, process = load_function(training), os.getpid()
    _seed(own)
    try:
        returned = function(own)
    except SystemExit as error:
        raise UserCodeError(f"{training.path}: ended the process with exit code {error.code}") from error
    except BaseException as error:
        raise UserCodeError(f"{training.path}: {told(error)}") from error
    finally:
        if os.getpid() != process:  # a process that it forked comes back from it too
            os._exit(0)
    return returned_of(returned, f"{training.path} returned")


def _seed(own: OwnTrial) -> None:
    import numpy as np
    import torch

    random.seed(own.seed)
    np.random.seed(own.seed % 2**32)  # noqa: NPY002 - the generator that the user's code may draw from
    torch.manual_seed(own.seed)
    torch.set_num_threads(own.threads)


def _run(training: OwnTraining, own: OwnTrial) -> Returned:
    """The command run in a process of this one's group, with which it is killed."""
    out = own.folder / OUT
    out.unlink(missing_ok=True)
    given = {
        "seed": own.seed, "out": out, "folder": own.folder, "device": own.device, "threads": own.threads,
        "arm": own.arm, "phase": own.phase,
    }  # fmt: skip
    words = training.words(given)
    said = {f"ABLATE_{name.upper()}": str(value) for name, value in given.items()}
    environment = {**os.environ, **said, **dict.fromkeys(THREAD_VARIABLES, str(own.threads))}
    print(shlex.join(words), flush=True)  # noqa: T201 - the first line of the trial's output
    try:
        code = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603
    except OSError as error:
        raise UserCodeError(f"{words[0]}: cannot be started ({error.strerror})") from error
    if code:
        ending = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise UserCodeError(f"{training.name}: {ending}")
    return returned_of(_written(out, training.name), f"{training.name} wrote")


def _written(out: Path, name: str) -> object:
    try:
        if out.stat().st_size > MOST_BYTES:
            raise AblateError(f"{out.name} must be at most {MOST_BYTES:,} bytes, got {out.stat().st_size:,}")
        text = read_whole(out).decode("utf-8")
    except AblateError as error:
        raise UserCodeError(f"{name}: {error}") from error
    except FileNotFoundError:
        told_by = "{out} or $ABLATE_OUT names"
        raise UserCodeError(f"{name}: wrote no metrics: write them as JSON to the file that {told_by}") from None
    except UnicodeDecodeError as error:
        raise UserCodeError(f"{name}: {out.name} must be JSON in UTF-8; byte {error.start} is not") from error
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserCodeError(f"{name}: {out.name} must be JSON, got {text[:60]!r} ({error})") from error
    return found


def _children_bytes() -> int:
    """The largest resident set of the processes that have ended under this one."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _versions() -> dict[str, str]:
    from ablate.training.hardware import versions

    return versions()
