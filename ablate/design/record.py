"""The Record: the immutable outcome of a trial, a failure included."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

from ablate.errors import AblateError
from ablate.formats import build, check_format, parse

if TYPE_CHECKING:
    from ablate.design.trial import Trial

Status = Literal["finished", "diverged", "failed"]
FORMAT = 1
MOST_PREDICTIONS = 2**26  # bytes: one or two for each test image
YEAR_10000 = 253_402_300_800  # seconds since 1970; no calendar has later dates


@dataclass(frozen=True, kw_only=True)
class EpochPoint:
    """One epoch of a learning curve; accuracies from 0 to 1, rates after the epoch's last step.

    Attributes:
        step_losses, step_accuracies: of training within the epoch, each the mean over one of several equal parts of
            its steps; about 100 parts in a trial. Empty in records of earlier versions.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    step_losses: tuple[float, ...] = ()
    step_accuracies: tuple[float, ...] = ()

    @property
    def values(self) -> dict[str, float]:
        """Every number of the whole epoch by its name."""
        return {name: value for name, value in vars(self).items() if name != "epoch" and not isinstance(value, tuple)}


@dataclass(frozen=True, kw_only=True)
class ReportedPoint:
    """What training of the user's own reported after an epoch, or whatever it counts in their place."""

    epoch: int
    metrics: dict[str, float]

    @property
    def values(self) -> dict[str, float]:
        """Every number of the epoch by its name."""
        return self.metrics


Point = EpochPoint | ReportedPoint


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the clock and the device said. The only part of a Record that two runs of one trial may differ in.

    Attributes:
        train_s, eval_s, wall_s: seconds in training steps, in evaluation, and from the trial's start to its end.
        images_per_s: training images a second over the whole trial.
        peak_bytes: cuda: max_memory_allocated; cpu: growth of the process's resident set.
        device, threads, hardware, commit, versions: where the number came from.
        kernels: what computed: "native avx2" (this package's, compiled) or "torch"; "" in records of earlier versions.
        settings: of processor and allocator, with the threads: ``flush_denormal``, ``keep_memory``.
        latency_ms: of a forward pass with one image, where a search asks for it.
    """

    train_s: float = 0.0
    eval_s: float = 0.0
    wall_s: float = 0.0
    images_per_s: float = 0.0
    latency_ms: float | None = None
    peak_bytes: int = 0
    device: str = "cpu"
    threads: int = 1
    kernels: str = ""
    settings: tuple[str, ...] = ()
    hardware: str = ""
    commit: str = ""
    started_at: float = 0.0  # seconds since 1970
    attempts: int = 1
    resumed: int = 0  # how often the trial resumed from a checkpoint
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What came of one trial.

    Attributes:
        key, study, arm, seed: of the trial.
        status: ``diverged`` is an outcome of the arm (loss not finite at ``diverged_step``); ``failed`` is not.
        metrics: test_accuracy, test_loss, val_accuracy, val_loss, train_loss of the last epoch; of training of the
            user's own what it returned; empty if it failed.
        curve: a point an epoch.
        predictions: the predicted class of each test image, one byte an image (two, little endian, above 256 classes
            and from training of the user's own).
        test_labels: digest of the test labels that the predictions belong to.
        correct: a bit a test image, ``numpy.packbits(predictions == labels)``: what statistics over images need, so
            that they can be made without the data. Empty if there are no predictions.
        chance: accuracy of always answering the test part's most frequent class; 0 if not known.
        reason: why it failed or diverged, with the last lines of output.
        notes: decisions the trainer took that a reader may want to know.
    """

    key: str
    study: str
    arm: str
    seed: int
    status: Status
    metrics: dict[str, float] = field(default_factory=dict)
    curve: tuple[Point, ...] = ()
    predictions: bytes = b""
    test_labels: str = ""
    correct: bytes = b""
    chance: float = 0.0
    diverged_step: int | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()
    measured: Measured = Measured()

    @classmethod
    def of(cls, trial: Trial, status: Status, **outcome: Any) -> Self:
        """The record of a trial; ``outcome`` has the other attributes."""
        return cls(key=trial.key, study=trial.study, arm=trial.arm, seed=trial.seed, status=status, **outcome)

    def to_json(self) -> str:
        """One line of JSON with a checksum over the rest."""
        plain = dataclasses.asdict(self)
        for name in ("predictions", "correct"):
            plain[name] = base64.b64encode(zlib.compress(plain[name])).decode()
        plain["format"] = FORMAT
        return json.dumps({**plain, "sha256": _checksum(plain)}, sort_keys=True)

    @cached_property
    def checksum(self) -> str:
        """That of its file: 64 hex digits over everything else."""
        return str(json.loads(self.to_json())["sha256"])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of ``to_json``.

        Raises:
            AblateError: the text is not a record, was changed since it was written, or was written by a newer version.
        """
        try:
            plain: dict[str, Any] = parse(text)
            found = plain.pop("format")
            check_format("record", found, FORMAT)
            checksum = plain.pop("sha256")
            _check_sum(text, checksum, {**plain, "format": found})
            what = f"record of format {found}"
            for name in ("predictions", "correct"):
                if name in plain:
                    plain[name] = _inflated(base64.b64decode(plain[name]))
            plain["curve"] = tuple(_point(point, what) for point in plain.get("curve", ()))
            plain["measured"] = build(Measured, plain.get("measured", {}), what)
            if not 0 <= plain["measured"].started_at < YEAR_10000:
                raise ValueError(f"started_at must be seconds since 1970, got {plain['measured'].started_at}")
            record = build(cls, plain, what)
            vars(record)["checksum"] = checksum  # so that a report of many records makes none of them again
            return record
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
            raise AblateError(f"not a record: {error}") from error

    def same_result(self, other: Record) -> bool:
        """Whether everything but the measurements is equal to the last bit."""
        mine, theirs = (dataclasses.replace(record, measured=Measured()) for record in (self, other))
        return mine.to_json() == theirs.to_json()  # as text, so that nan equals nan


def _inflated(content: bytes) -> bytes:
    """What zlib compressed; a small text can hold far more than fits in memory.

    Raises:
        ValueError, zlib.error: it is longer than any record's, or damaged.
    """
    stream = zlib.decompressobj()
    found = stream.decompress(content, MOST_PREDICTIONS)
    if not stream.eof:
        raise ValueError(f"its predictions are cut off, or have more than {MOST_PREDICTIONS >> 20} MiB")
    return found


def _point(plain: dict[str, Any], what: str) -> Point:
    return build(ReportedPoint, plain, what) if "metrics" in plain else build(EpochPoint, plain, what)


def _checksum(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _check_sum(text: str, written: str, plain: dict[str, Any]) -> None:
    """The text without its checksum is what the checksum is of, so that it need not be made from ``plain`` again.

    Only a record that something else laid out anew is.
    """
    rest = text.strip().replace(f'"sha256": "{written}", ', "", 1)
    if hashlib.sha256(rest.encode()).hexdigest() != written and _checksum(plain) != written:
        raise AblateError("the record does not match its checksum")
