"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ablate.design.study import Recipe

ONE_CYCLE_WARMUP = 0.3  # share of the steps, where the recipe names none
ONE_CYCLE_START = 1 / 25  # of the highest rate (arXiv:1708.07120, as torch's OneCycleLR has it)
ONE_CYCLE_END = 1e-4  # of the starting rate


def _sgd(net: nn.Module, recipe: Recipe) -> Optimizer:
    return SGD(_groups(net, recipe), lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True)


def _adam(net: nn.Module, recipe: Recipe) -> Optimizer:
    return Adam(_groups(net, recipe), lr=recipe.lr, betas=(recipe.beta1, recipe.beta2), fused=True)


def _adamw(net: nn.Module, recipe: Recipe) -> Optimizer:
    return AdamW(_groups(net, recipe), lr=recipe.lr, betas=(recipe.beta1, recipe.beta2), fused=True)


def _rmsprop(net: nn.Module, recipe: Recipe) -> Optimizer:
    # torch has no fused kernel for it
    return RMSprop(_groups(net, recipe), lr=recipe.lr, alpha=recipe.rms_decay, momentum=recipe.momentum, foreach=True)


OPTIMIZERS: dict[str, Callable[[nn.Module, Recipe], Optimizer]] = {
    "sgd": _sgd,  # Nesterov momentum
    "adam": _adam,
    "adamw": _adamw,
    "rmsprop": _rmsprop,
}


def make_optimizer(net: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser over what is not frozen; adamw's weight decay is decoupled, the others' is L2."""
    return OPTIMIZERS[recipe.optimizer](net, recipe)


def _groups(net: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Weights and the rest (batch norm, biases), which ``weight_decay_on = "weights"`` leaves alone."""
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    weights = [parameter for parameter in parameters if parameter.ndim > 1]
    rest = [parameter for parameter in parameters if parameter.ndim <= 1]
    rest_decay = recipe.weight_decay if recipe.weight_decay_on == "all" else 0.0
    return [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": rest_decay},
    ]


def make_average(net: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """The exponential moving average of weights and running statistics, ``ema`` a step; None where none is asked."""
    if not recipe.ema:
        return None
    average = get_ema_multi_avg_fn(recipe.ema)
    return AveragedModel(net, multi_avg_fn=average, use_buffers=True)


def set_norm_momentum(net: nn.Module, recipe: Recipe) -> None:
    """Gives every batch norm the recipe's share of a new batch in its running statistics."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = recipe.bn_momentum


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Gives every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def _cosine_between(high: float, low: float, share: float) -> float:
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


def _one_cycle(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    # Torch's OneCycleLR with cosine annealing and without its cycle of the momentum.
    total = recipe.epochs * steps_per_epoch
    share = recipe.warmup_epochs / recipe.epochs or ONE_CYCLE_WARMUP
    top = max(share * total - 1, 1e-9)
    if step <= top:
        return _cosine_between(ONE_CYCLE_START, 1.0, step / top)
    return _cosine_between(1.0, ONE_CYCLE_START * ONE_CYCLE_END, (step - top) / max(total - 1 - top, 1e-9))


def _cosine(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    warm = round(recipe.warmup_epochs * steps_per_epoch)
    if step < warm:
        return (step + 1) / warm
    return _cosine_between(1.0, 0.0, (step - warm) / (recipe.epochs * steps_per_epoch - warm))


def _step(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    warm = round(recipe.warmup_epochs * steps_per_epoch)
    if step < warm:
        return (step + 1) / warm
    # a tiny allowance: 3 steps of 0.1 epoch are 0.3 epochs, although 0.3 / 0.1 is 2.9999999999999996
    return float(recipe.step_factor ** math.floor(step / steps_per_epoch / recipe.step_epochs + 1e-9))


def _constant(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    warm = round(recipe.warmup_epochs * steps_per_epoch)
    return (step + 1) / warm if step < warm else 1.0


SCHEDULES: dict[str, Callable[[Recipe, int, int], float]] = {
    "one_cycle": _one_cycle,
    "cosine": _cosine,
    "step": _step,
    "constant": _constant,
}


def rate_at(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step (from 0), changed every step.

    one_cycle: from lr / 25 up to lr along a cosine, and down to lr / 250,000 along another.
    cosine: down to 0 along a half cosine, which it would reach one step after the last.
    step: times ``step_factor`` every ``step_epochs`` epochs, counted from the start.
    The last three begin with a linear warm-up, whose last step has the full rate.
    """
    return recipe.lr * SCHEDULES[recipe.schedule](recipe, step, steps_per_epoch)
