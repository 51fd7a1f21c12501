"""One trial: the training loop, read top to bottom."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.errors import AblateError, DataError
from ablate.measure.memory import PeakMemory
from ablate.training.data import Images
from ablate.training.feed import Feed
from ablate.training.hardware import check_device
from ablate.training.optim import rate_at, set_rate
from ablate.training.processor import processor
from ablate.training.state import State, start
from ablate.training.streams import stream_seed

CHECK_EVERY = 50  # steps between looks at the loss: on a GPU each look waits for the device


class _DivergedError(Exception):
    """The loss is not finite at a step, counted from 1 over the whole trial."""

    def __init__(self, step: int, what: str) -> None:
        self.step = step
        super().__init__(f"the {what} is not finite at step {step}")


def fit(
    trial: Trial,
    images: Images,
    *,
    device: str = "cpu",
    threads: int = 1,
    folder: Path | None = None,
    on_epoch: Callable[[EpochPoint, float], None] | None = None,
) -> Record:
    """Trains one arm with one seed and tests it once, after the last epoch; a tuning trial is never tested.

    Args:
        trial: net, recipe, seed.
        images: the trial's data.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        threads: of this process, on the CPU.
        folder: where the state after each epoch but the last is kept, and gone on from: a trial that was killed at any
            instant gives the same record as one that was not. None: nothing is kept.
        on_epoch: called with each new point of the learning curve and the epoch's training images a second.

    Returns:
        A record with status finished or diverged.

    Raises:
        AblateError: the device, the data or the folder cannot serve the trial.
    """
    _check(trial, images, device, folder)
    cuda = [torch.device(device)] if device.startswith("cuda") else []
    with PeakMemory(device) as memory, processor(threads) as settings, torch.random.fork_rng(cuda):
        state = start(trial, device=device, folder=folder)
        try:
            record = _train(trial, images, state, device, on_epoch)
        except _DivergedError as error:
            record = _diverged(trial, state, error)
    if trial.keep_weights and folder is not None:
        state.keep_weights(folder / "weights.pt")
    return dataclasses.replace(record, measured=state.measured(device, threads, memory.bytes, settings))


def _train(
    trial: Trial,
    images: Images,
    state: State,
    device: str,
    on_epoch: Callable[[EpochPoint, float], None] | None,
) -> Record:
    recipe, net, optimizer, average = trial.recipe, state.net, state.optimizer, state.average
    feed = Feed(images, recipe, trial.seed, device)
    steps = feed.steps_per_epoch
    for epoch in range(len(state.curve), recipe.epochs):
        torch.manual_seed(stream_seed(trial.seed, "dropout", epoch))
        losses = torch.zeros(steps, device=device)
        correct = torch.zeros((), dtype=torch.int64, device=device)
        with state.clock.training(steps * feed.batch_size):
            net.train()
            for step, (batch, labels) in enumerate(feed.epoch(epoch)):
                rate = rate_at(recipe, epoch * steps + step, steps)
                set_rate(optimizer, rate)
                logits = _logits(net, batch, recipe.precision)
                loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                if average is not None:
                    average.update_parameters(net)
                losses[step] = loss.detach()
                correct += (logits.detach().argmax(1) == labels).sum()
                if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                    _stop_if_diverged(losses[: step + 1], epoch * steps)
            train_loss = losses.double().mean().item()
            train_accuracy = correct.item() / (steps * feed.batch_size)
        with state.clock.evaluating():
            val = _evaluate(state.evaluated, feed, feed.images.val, feed.images.val_labels)
        if not math.isfinite(val.loss):
            raise _DivergedError((epoch + 1) * steps, "validation loss")
        point = EpochPoint(
            epoch=epoch + 1,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val.loss,
            val_accuracy=val.accuracy,
            lr=rate,
        )
        state.curve.append(point)
        if epoch + 1 < recipe.epochs:
            state.save()
        if on_epoch is not None:
            on_epoch(point, state.clock.images_per_s)
    if trial.phase == "tuning":  # settings are chosen without the test images
        return _finished(trial, state)
    with state.clock.evaluating():
        test = _evaluate(state.evaluated, feed, feed.images.test, feed.images.test_labels)
    if not math.isfinite(test.loss):
        raise _DivergedError(recipe.epochs * steps, "test loss")
    return _tested(_finished(trial, state), test, images.test_labels.numpy(), trial.spec.num_classes)


def _logits(net: nn.Module, batch: Tensor, precision: str) -> Tensor:
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: Tensor = net(batch)
    return logits.float()


def _stop_if_diverged(losses: Tensor, steps_before: int) -> None:
    finite = losses.isfinite()
    if not finite.all():
        raise _DivergedError(steps_before + int((~finite).nonzero()[0]) + 1, "training loss")


@dataclass(frozen=True)
class _Outcome:
    """An evaluation: mean cross-entropy over images, and for each image the predicted class and whether it is right."""

    loss: float
    predictions: NDArray[np.int64]
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


@torch.inference_mode()
def _evaluate(net: nn.Module, feed: Feed, images: Tensor, labels: Tensor) -> _Outcome:
    net.eval()
    loss = torch.zeros((), dtype=torch.float64, device=labels.device)
    predictions = []
    for batch, their_labels in feed.whole(images, labels):
        logits = _logits(net, batch, feed.recipe.precision)
        loss += functional.cross_entropy(logits, their_labels, reduction="sum")
        predictions.append(logits.argmax(1))
    predicted = torch.cat(predictions)
    return _Outcome(loss.item() / len(labels), predicted.cpu().numpy(), (predicted == labels).cpu().numpy())


def _finished(trial: Trial, state: State) -> Record:
    last = state.curve[-1]
    return Record(
        key=trial.key,
        study=trial.study,
        arm=trial.arm,
        seed=trial.seed,
        status="finished",
        metrics={"val_accuracy": last.val_accuracy, "val_loss": last.val_loss, "train_loss": last.train_loss},
        curve=tuple(state.curve),
        notes=tuple(state.notes),
    )


def _tested(record: Record, test: _Outcome, labels: NDArray[np.int64], num_classes: int) -> Record:
    return dataclasses.replace(
        record,
        metrics={"test_accuracy": test.accuracy, "test_loss": test.loss, **record.metrics},
        predictions=test.predictions.astype(np.uint8 if num_classes <= 256 else "<u2").tobytes(),
        test_labels=hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()[:16],
        correct=np.packbits(test.right).tobytes(),
        chance=float(np.bincount(labels).max() / len(labels)),
    )


def _diverged(trial: Trial, state: State, error: _DivergedError) -> Record:
    return Record(
        key=trial.key,
        study=trial.study,
        arm=trial.arm,
        seed=trial.seed,
        status="diverged",
        curve=tuple(state.curve),
        diverged_step=error.step,
        reason=str(error),
        notes=tuple(state.notes),
    )


def _check(trial: Trial, images: Images, device: str, folder: Path | None) -> None:
    check_device(device, trial.recipe.precision)
    spec, info = trial.spec, images.info
    if (info.name, info.digest) != (trial.data.name, trial.data_digest):
        raise DataError(
            f"{trial.data.name}: the images at hand are {info.name} {info.digest or '(known)'}, but the plan was made "
            f"for {trial.data.name} {trial.data_digest or '(known)'}; plan again if the file was changed on purpose"
        )
    if (info.channels, info.num_classes) != (spec.in_channels, spec.num_classes):
        raise DataError(
            f"{info.name}: {info.channels} channels and {info.num_classes} classes, but the net of arm {trial.arm} "
            f"takes {spec.in_channels} channels and tells {spec.num_classes} classes apart"
        )
    if trial.keep_weights and folder is None:
        raise AblateError("keep_weights needs a folder to keep them in")
