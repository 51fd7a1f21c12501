"""How fast one process trains a net: a few steps on noise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from ablate.design.study import Recipe
from ablate.model.fused import with_kernels
from ablate.model.nets import build
from ablate.model.spec import NetSpec
from ablate.training.hardware import check_device
from ablate.training.optim import make_optimizer
from ablate.training.processor import TORCH, kernels, processor
from ablate.training.streams import generator

WARM_UP = 2  # steps: kernels are chosen and memory is claimed
LEAST_STEPS = 3
ENOUGH_S = 0.8  # no further step is started after this, if there were that many
LONG_S = 4.0  # nor after this: threads that wait for each other on a busy machine can take 20 times as long


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What is to be measured; called in a process of its own.

    Attributes:
        spec: the net.
        shape: channels, height and width of an image.
        recipe: batch size, optimiser and precision.
        threads: of the process.
        ready: returns when every process that is measured beside this one is ready too.
    """

    spec: NetSpec
    shape: tuple[int, int, int]
    recipe: Recipe
    threads: int
    ready: Callable[[], object]

    def __call__(self) -> float:
        """Training images a second: forward, backward and optimiser step, on the processor.

        Raises:
            AblateError: the processor has not the recipe's precision.
        """
        check_device("cpu", self.recipe.precision)
        with processor(self.threads):
            step = self._step()
            for _ in range(WARM_UP):
                step()
            self.ready()
            steps, began, took = 0, time.perf_counter(), 0.0
            while took < (ENOUGH_S if steps >= LEAST_STEPS else LONG_S):
                step()
                steps, took = steps + 1, time.perf_counter() - began
        return steps * self.recipe.batch_size / took

    def _step(self) -> Callable[[], None]:
        recipe, random = self.recipe, generator(0, "order")
        net = build(self.spec, generator=generator(0, "weights")).train()
        if kernels("cpu", self.threads, recipe.precision) != TORCH:
            with_kernels(net)
        optimizer = make_optimizer(net, recipe)
        images = torch.randn(recipe.batch_size, *self.shape, generator=random)
        images = images.to(memory_format=torch.channels_last)
        labels = torch.randint(self.spec.num_classes, (recipe.batch_size,), generator=random)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
                logits = net(images)
            loss = functional.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        return step
