"""The training loop, read top to bottom: of one trial, or of several seeds of an arm as one net."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.design.study import Recipe
from ablate.errors import AblateError, DataError
from ablate.measure.memory import PeakMemory
from ablate.model.nets import build
from ablate.model.spec import NetSpec, StageSpec
from ablate.training.data import Images
from ablate.training.feed import Feed
from ablate.training.group import Group
from ablate.training.hardware import check_device
from ablate.training.optim import make_optimizer, rate_at, set_rate
from ablate.training.outcome import DivergedError, diverged, evaluate, finished, logits_of, tested
from ablate.training.processor import processor
from ablate.training.state import WEIGHTS, start
from ablate.training.streams import generator

CHECK_EVERY = 50  # steps between looks at the loss: on a GPU each look waits for the device
OnPoint = Callable[[str, EpochPoint, float], None]


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

    def told(_: str, point: EpochPoint, images_per_s: float) -> None:
        if on_epoch is not None:
            on_epoch(point, images_per_s)

    (record,) = fit_together([trial], images, device=device, threads=threads, folders=[folder], on_epoch=told)
    return record


def fit_together(
    trials: Sequence[Trial],
    images: Images,
    *,
    device: str = "cpu",
    threads: int = 1,
    folders: Sequence[Path | None] | None = None,
    on_epoch: OnPoint | None = None,
) -> list[Record]:
    """Trains seeds of one arm as one net: what ``fit`` gives for each, up to floating-point reassociation.

    Trials whose checkpoints stand at other epochs train in groups of their own, one after the other; one that diverges
    leaves its group.

    Args:
        trials: alike in all but the seed.
        images: as of ``fit``.
        device: as of ``fit``.
        threads: as of ``fit``.
        folders: of each trial, as of ``fit``.
        on_epoch: called with the trial's key besides.

    Raises:
        AblateError: as of ``fit``, or the trials differ in more than the seed.
    """
    folders = folders or [None] * len(trials)
    for trial, folder in zip(trials, folders, strict=True):
        _check(trial, trials[0], images, device, folder)
    records: dict[str, Record] = {}
    fused = device == "cpu" and trials[0].recipe.precision == "fp32"
    with PeakMemory(device) as memory, processor(threads, fused=fused) as settings:
        feed = Feed(images, trials[0].recipe, trials[0].seed, device)
        states = [start(trial, device=device, folder=folder) for trial, folder in zip(trials, folders, strict=True)]
        by_epoch = sorted(states, key=lambda state: len(state.curve))
        for _, alike in itertools.groupby(by_epoch, key=lambda state: len(state.curve)):
            records |= _train(Group(list(alike), feed, device), images, on_epoch)
    for state, folder in zip(states, folders, strict=True):
        if state.trial.keep_weights and folder is not None:
            state.keep_weights(folder / WEIGHTS)
    together = [f"together {len(trials)}"] if len(trials) > 1 else []
    peak = memory.bytes // len(trials)
    return [
        dataclasses.replace(records[s.trial.key], measured=s.measured(device, threads, peak, (*settings, *together)))
        for s in states
    ]


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
        optimizer = make_optimizer(net, Recipe())
        functional.cross_entropy(net(images), torch.zeros(32, dtype=torch.int64, device=device)).backward()
        optimizer.step()
        with torch.inference_mode():
            net.eval()(images)


def _train(group: Group | None, images: Images, on_epoch: OnPoint | None) -> dict[str, Record]:
    """The records of all that are in the group, by key."""
    records: dict[str, Record] = {}
    while group is not None and group.epoch < group.recipe.epochs:
        points = _epoch(group, group.epoch)
        if gone := {k: error for k, error in enumerate(points) if isinstance(error, DivergedError)}:
            records |= {group.states[k].trial.key: diverged(group.states[k], error) for k, error in gone.items()}
            group = group.without(gone)
        if group is None:
            break
        reached = [point for point in points if isinstance(point, EpochPoint)]
        for state, point in zip(group.states, reached, strict=True):
            state.curve.append(point)
        if group.epoch < group.recipe.epochs:
            group.save()
        for state, point in zip(group.states, reached, strict=True):
            if on_epoch is not None:
                on_epoch(state.trial.key, point, state.clock.images_per_s)
    return records | (_ended(group, images) if group is not None else {})


def _epoch(group: Group, epoch: int) -> list[EpochPoint | DivergedError]:
    """Trains an epoch and validates: a point of each trial's curve, or where it diverged."""
    recipe, net, optimizer, average, count = group.recipe, group.net, group.optimizer, group.average, len(group)
    feed = group.feeds[0]
    steps, device = feed.steps_per_epoch, group.device
    losses = torch.zeros(steps, count, device=device)
    correct = torch.zeros(count, dtype=torch.int64, device=device)
    bad: dict[int, int] = {}
    with group.training(steps * feed.batch_size):
        for step, (batch, labels) in enumerate(group.batches(epoch)):
            rate = rate_at(recipe, epoch * steps + step, steps)
            set_rate(optimizer, rate)
            logits = logits_of(net, batch, recipe.precision).view(len(batch), count, -1)
            loss = torch.stack(
                [
                    functional.cross_entropy(logits[:, k], labels[k], label_smoothing=recipe.label_smoothing)
                    for k in range(count)
                ]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.sum().backward()
            optimizer.step()
            if average is not None:
                average.update_parameters(net)
            losses[step] = loss.detach()
            correct += (labels == logits.detach().argmax(2).T).sum(1)
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                bad = _first_not_finite(losses[: step + 1])
                if len(bad) == count:
                    break
        train_losses = losses.double().mean(0).tolist()
        train_accuracies = [right / (steps * feed.batch_size) for right in correct.tolist()]
    if len(bad) == count:
        return [DivergedError(epoch * steps + bad[k] + 1, "training loss") for k in range(count)]
    with group.evaluating():
        outcomes = evaluate(group.evaluated, count, feed, feed.images.val, feed.images.val_labels)
    found: list[EpochPoint | DivergedError] = []
    for k, val in enumerate(outcomes):
        if k in bad:
            found.append(DivergedError(epoch * steps + bad[k] + 1, "training loss"))
        elif not math.isfinite(val.loss):
            found.append(DivergedError((epoch + 1) * steps, "validation loss"))
        else:
            found.append(
                EpochPoint(
                    epoch=epoch + 1,
                    train_loss=train_losses[k],
                    train_accuracy=train_accuracies[k],
                    val_loss=val.loss,
                    val_accuracy=val.accuracy,
                    lr=rate,
                )
            )
    return found


def _first_not_finite(losses: Tensor) -> dict[int, int]:
    """Of each column that is not finite throughout, its first row that is not."""
    wrong = ~losses.isfinite()
    if not wrong.any():
        return {}
    return {k: int(column.nonzero()[0]) for k, column in enumerate(wrong.T) if column.any()}


def _ended(group: Group, images: Images) -> dict[str, Record]:
    """The records after the last epoch: tested, but settings are chosen without the test images."""
    group.settle()
    if group.states[0].trial.phase == "tuning":
        return {state.trial.key: finished(state) for state in group.states}
    feed, recipe = group.feeds[0], group.recipe
    with group.evaluating():
        tests = evaluate(group.evaluated, len(group), feed, feed.images.test, feed.images.test_labels)
    records = {}
    for state, test in zip(group.states, tests, strict=True):
        if math.isfinite(test.loss):
            record = tested(finished(state), test, images.test_labels.numpy(), state.trial.spec.num_classes)
        else:
            record = diverged(state, DivergedError(recipe.epochs * feed.steps_per_epoch, "test loss"))
        records[state.trial.key] = record
    return records


def _check(trial: Trial, first: Trial, images: Images, device: str, folder: Path | None) -> None:
    check_device(device, trial.recipe.precision)
    spec, info = trial.spec, images.info
    if dataclasses.replace(first, seed=trial.seed) != trial:
        raise AblateError(f"only seeds of one arm train together, not {first.arm} and {trial.arm}")
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
