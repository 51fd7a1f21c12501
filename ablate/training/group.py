"""Trials that train as one net: seeds of one arm that stand at the same epoch. A trial alone is a group of one."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from ablate.model.kernels import Dropout
from ablate.model.stacked import joined, parted, stack
from ablate.training.feed import Feed
from ablate.training.optim import make_average, make_optimizer
from ablate.training.state import State
from ablate.training.streams import stream_seed


class Group:
    """The trials' states as one.

    Each trial has its own weights, order of the data, augmentation, dropout and optimiser state; only the arithmetic
    is shared. ``settle`` brings the states up to date.

    Args:
        states: of one arm and recipe, at the same epoch.
        feed: of any of them.
        device: where they train.

    Attributes:
        net, optimizer, average: of all; for a trial alone its own.
    """

    def __init__(self, states: Sequence[State], feed: Feed, device: str) -> None:
        self.states = list(states)
        self.feeds = [feed.of(state.trial.seed) for state in states]
        self.device = device
        first = states[0]
        self.recipe = first.trial.recipe
        self.net: nn.Module = first.net
        self.optimizer: Optimizer = first.optimizer
        self.average: AveragedModel | None = first.average
        for state in states:
            state.clock.share_with(len(states) - 1)
        if len(states) > 1:
            self._join()

    def __len__(self) -> int:
        return len(self.states)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.states[0].curve)

    @property
    def evaluated(self) -> nn.Module:
        """As of ``State``."""
        return self.net if self.average is None else self.average.module

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images B K*C H W and labels K B of each step; the net is made ready for the epoch."""
        self.net.train()
        for module in self.net.modules():
            if isinstance(module, Dropout):
                module.generators = [
                    torch.Generator(self.device).manual_seed(stream_seed(state.trial.seed, "dropout", epoch))
                    for state in self.states
                ]
        for some in zip(*(feed.epoch(epoch) for feed in self.feeds), strict=True):
            images, labels = zip(*some, strict=True)
            yield (images[0] if len(images) == 1 else torch.cat(images, 1)), torch.stack(labels)

    @contextmanager
    def training(self, images: int) -> Iterator[None]:
        """The trials' clocks; ``images`` of each."""
        with contextlib.ExitStack() as clocks:
            for state in self.states:
                clocks.enter_context(state.clock.training(images))
            yield

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The trials' clocks."""
        with contextlib.ExitStack() as clocks:
            for state in self.states:
                clocks.enter_context(state.clock.evaluating())
            yield

    def without(self, gone: Collection[int]) -> Group | None:
        """The trials but those at these places, in a group of their own; None where none is left."""
        self.settle()
        left = [state for k, state in enumerate(self.states) if k not in gone]
        return Group(left, self.feeds[0], self.device) if left else None

    def settle(self) -> None:
        """Brings the trials' own nets, optimisers and averages up to date."""
        if len(self) == 1:
            return
        nets, optimizers = (parted(part.state_dict(), len(self)) for part in (self.net, self.optimizer))
        for state, net, optimizer in zip(self.states, nets, optimizers, strict=True):
            state.net.load_state_dict(net)
            state.optimizer.load_state_dict(optimizer)
        if self.average is not None:
            for state, average in zip(self.states, parted(self.average.state_dict(), len(self)), strict=True):
                assert state.average is not None
                state.average.load_state_dict(average)

    def save(self) -> None:
        """Keeps every trial's state after an epoch, where there is a folder for it."""
        if any(state.path is not None for state in self.states):
            self.settle()
            for state in self.states:
                state.save()

    def _join(self) -> None:
        self.net = stack([state.net for state in self.states])
        self.optimizer = make_optimizer(self.net, self.recipe)
        self.optimizer.load_state_dict(joined([state.optimizer.state_dict() for state in self.states]))
        self.average = make_average(self.net, self.recipe)
        if self.average is not None:
            averages = [state.average.state_dict() for state in self.states if state.average is not None]
            self.average.load_state_dict(joined(averages))
