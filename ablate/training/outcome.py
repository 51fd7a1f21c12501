"""A net's answers for held-back images, and the record of a trial."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ablate.design.record import Record
from ablate.training.examples import example_fields
from ablate.training.feed import Feed
from ablate.training.state import State


class DivergedError(Exception):
    """The loss is not finite at a step, counted from 1 over the whole trial."""

    def __init__(self, step: int, what: str) -> None:
        self.step = step
        super().__init__(f"the {what} is not finite at step {step}")


@dataclass(frozen=True)
class Outcome:
    """An evaluation: mean cross-entropy over images, and for each image the predicted class and whether it is right."""

    loss: float
    predictions: NDArray[np.int64]
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


def logits_of(net: nn.Module, batch: Tensor, precision: str) -> Tensor:
    """The net's answers in the recipe's precision, as float32."""
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: Tensor = net(batch)
    return logits.float()


@torch.inference_mode()
def evaluate(net: nn.Module, feed: Feed, images: Tensor, labels: Tensor) -> Outcome:
    """What the net answers on images uint8 N C H W, in eval mode."""
    net.eval()
    loss = torch.zeros((), dtype=torch.float64, device=labels.device)
    predictions = []
    for batch, their_labels in feed.whole(images, labels):
        logits = logits_of(net, batch, feed.recipe.precision)
        loss += functional.cross_entropy(logits, their_labels, reduction="sum")
        predictions.append(logits.argmax(1))
    predicted = torch.cat(predictions)
    return Outcome((loss / len(labels)).item(), predicted.cpu().numpy(), (predicted == labels).cpu().numpy())


def finished(state: State) -> Record:
    """The record of a trial that was trained to its end, without its test."""
    last = state.curve[-1]
    return Record.of(
        state.trial,
        "finished",
        metrics={"val_accuracy": last.val_accuracy, "val_loss": last.val_loss, "train_loss": last.train_loss},
        curve=tuple(state.curve),
        notes=tuple(state.notes),
    )


def tested(record: Record, test: Outcome, labels: NDArray[np.int64], num_classes: int) -> Record:
    """The record with its test."""
    return dataclasses.replace(
        record,
        metrics={"test_accuracy": test.accuracy, "test_loss": test.loss, **record.metrics},
        **example_fields(test.predictions, test.right, labels, wide=num_classes > 256),
    )


def diverged(state: State, error: DivergedError) -> Record:
    """The record of a trial that diverged."""
    return Record.of(
        state.trial,
        "diverged",
        curve=tuple(state.curve),
        diverged_step=error.step,
        reason=str(error),
        notes=tuple(state.notes),
    )
