"""The training loop of one trial, read top to bottom."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from ablate.design.own_block import is_ours
from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.design.study import Recipe
from ablate.errors import AblateError, DataError
from ablate.measure.latency import in_turns
from ablate.measure.memory import PeakMemory
from ablate.model.fused import with_kernels
from ablate.model.nets import build
from ablate.model.spec import NetSpec, StageSpec
from ablate.training.data import Images
from ablate.training.feed import Feed
from ablate.training.frozen import train_mode
from ablate.training.hardware import check_device
from ablate.training.mixing import hard
from ablate.training.optim import make_optimizer, rate_at, set_rate
from ablate.training.outcome import DivergedError, diverged, evaluate, finished, logits_of, tested
from ablate.training.processor import TORCH, kernels, processor
from ablate.training.state import WEIGHTS, State, start
from ablate.training.streams import generator

POINTS = 100  # of a trial's training curve
CHECK_EVERY = 50  # steps between looks at the loss: on a GPU each look waits for the device


def fit(
    trial: Trial,
    images: Images,
    *,
    device: str = "cpu",
    threads: int = 1,
    folder: Path | None = None,
    init_file: Path | None = None,
    on_epoch: Callable[[EpochPoint, float], None] | None = None,
) -> Record:
    """Trains one arm with one seed and tests it once, after the last epoch, unless it tunes or searches.

    Args:
        trial: net, recipe, seed.
        images: the trial's data.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        threads: of this process, on the CPU.
        folder: where the state after each epoch but the last is kept, and resumed from: a trial that was killed at any
            instant gives the same record as one that was not. None: nothing is kept.
        init_file: the weights to start from, where the recipe names some; None: where its name leads to.
        on_epoch: called with each new point of the learning curve and the epoch's training images a second.

    Returns:
        A record with status finished or diverged.

    Raises:
        AblateError: the device, the data, the weights to start from or the folder cannot serve the trial.
    """
    _check(trial, images, device, folder)
    computing = kernels(device, threads, trial.recipe.precision) if is_ours(trial.spec) else TORCH
    with PeakMemory(device) as memory, processor(threads) as settings:
        feed = Feed(images, trial.recipe, trial.seeds, device)
        native = computing != TORCH
        state = start(trial, images.info, device=device, folder=folder, native=native, init_file=init_file)
        try:
            while len(state.curve) < trial.recipe.epochs:
                state.curve.append(_epoch(state, feed))
                if len(state.curve) < trial.recipe.epochs:
                    state.save()
                if on_epoch is not None:
                    on_epoch(state.curve[-1], state.clock.images_per_s)
            record = _test(state, feed) if trial.phase == "confirm" else finished(state)
        except DivergedError as error:
            record = diverged(state, error)
    if trial.keep_weights and folder is not None:
        state.keep_weights(folder / WEIGHTS)
    measured = state.measured(
        device=device, threads=threads, kernels=computing, peak_bytes=memory.bytes, settings=settings
    )
    if trial.phase == "timed":
        measured = dataclasses.replace(measured, latency_ms=_latency_ms(state.net, feed, threads))
    return dataclasses.replace(record, measured=measured)


def _latency_ms(net: nn.Module, feed: Feed, threads: int) -> float:
    """Milliseconds of a forward pass with one image, in eval mode: the median of its repeats."""
    image = feed.images.val[:1].float()
    net.eval()

    def run() -> None:
        net(image)
        if image.is_cuda:
            torch.cuda.synchronize(image.device)

    with processor(threads), torch.inference_mode():
        return in_turns({"net": run})["net"].median_ms


def _epoch(state: State, feed: Feed) -> EpochPoint:
    """Trains an epoch and validates.

    Raises:
        DivergedError: a loss is not finite.
    """
    epoch, steps = len(state.curve), feed.steps_per_epoch
    recipe, net, optimizer = state.trial.recipe, state.net, state.optimizer
    losses = torch.zeros(steps, device=feed.device)
    correct = torch.zeros(steps, dtype=torch.int64, device=feed.device)
    train_mode(net, recipe.freeze)
    state.seed_dropout(epoch)
    with state.clock.training(steps * feed.batch_size):
        for step, (batch, targets) in enumerate(feed.epoch(epoch)):
            rate = rate_at(recipe, epoch * steps + step, steps)
            set_rate(optimizer, rate)
            logits = logits_of(net, batch, recipe.precision)
            loss = functional.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.grad_clip:
                clip_grad_norm_(net.parameters(), recipe.grad_clip)
            optimizer.step()
            if state.average is not None:
                state.average.update_parameters(net)
            losses[step] = loss.detach()
            correct[step] = (logits.detach().argmax(1) == hard(targets)).sum()
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                _check_finite(losses[: step + 1], epoch * steps)
        losses, right = losses.double().cpu(), correct.double().cpu()
    with state.clock.evaluating():
        val = evaluate(state.evaluated, feed, feed.images.val, feed.images.val_labels)
    if not math.isfinite(val.loss):
        raise DivergedError((epoch + 1) * steps, "validation loss")
    return EpochPoint(
        epoch=epoch + 1,
        train_loss=losses.mean().item(),
        train_accuracy=right.sum().item() / (steps * feed.batch_size),
        val_loss=val.loss,
        val_accuracy=val.accuracy,
        lr=rate,
        step_losses=_parts(losses, recipe.epochs),
        step_accuracies=_parts(right / feed.batch_size, recipe.epochs),
    )


def _parts(values: Tensor, epochs: int) -> tuple[float, ...]:
    """The means over equal parts of an epoch's steps, about ``POINTS`` in all epochs; a shorter rest is left out."""
    width = min(len(values), math.ceil(len(values) * epochs / POINTS))
    return tuple(round(part.mean().item(), 6) for part in values.split(width) if len(part) == width)


def _check_finite(losses: Tensor, steps_before: int) -> None:
    """Raises a DivergedError that names the first step whose loss is not finite."""
    wrong = ~losses.isfinite()
    if wrong.any():
        raise DivergedError(steps_before + int(wrong.nonzero()[0]) + 1, "training loss")


def _test(state: State, feed: Feed) -> Record:
    """The record after the last epoch, with its test."""
    with state.clock.evaluating():
        test = evaluate(state.evaluated, feed, feed.images.test, feed.images.test_labels)
    if not math.isfinite(test.loss):
        raise DivergedError(state.trial.recipe.epochs * feed.steps_per_epoch, "test loss")
    return tested(finished(state), test, feed.images.test_labels.cpu().numpy(), feed.images.info.num_classes)


def _check(trial: Trial, images: Images, device: str, folder: Path | None) -> None:
    check_device(device, trial.recipe.precision)
    spec, info = trial.spec, images.info
    if (info.name, info.digest) != (trial.data.name, trial.data_digest):
        raise DataError(
            f"{trial.data.name}: the images at hand are {info.name} {info.digest or '(known)'}, but the plan was made "
            f"for {trial.data.name} {trial.data_digest or '(known)'}; plan again if the file was changed on purpose"
        )
    if isinstance(spec, NetSpec) and (info.channels, info.num_classes) != (spec.in_channels, spec.num_classes):
        raise DataError(
            f"{info.name}: {info.channels} channels and {info.num_classes} classes, but the net of arm {trial.arm} "
            f"takes {spec.in_channels} channels and tells {spec.num_classes} classes apart"
        )
    if trial.keep_weights and folder is None:
        raise AblateError("keep_weights needs a folder to keep them in")


@functools.cache
def warm_up(device: str, threads: int) -> None:
    """A step and an evaluation of a small net, once in a process.

    What a process touches for the first time (code of torch's, its allocator's pages: 40 MB) would be counted as the
    peak memory of its first trial and of no other.
    """
    random = generator(0, "weights")
    spec = NetSpec(stages=(StageSpec(channels=8, repeats=2),), stem_channels=8, head_channels=8)
    images = torch.randn(32, spec.in_channels, 16, 16, generator=random).to(device)
    with processor(threads):
        net = build(spec, generator=random).to(device)
        if kernels(device, threads, "fp32") != TORCH:
            with_kernels(net)
        optimizer = make_optimizer(net, Recipe())
        functional.cross_entropy(net(images), torch.zeros(32, dtype=torch.int64, device=device)).backward()
        optimizer.step()
        with torch.inference_mode():
            net.eval()(images)
