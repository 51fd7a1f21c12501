from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from ablate.design.study import Recipe
from ablate.training.optim import OPTIMIZERS, SCHEDULES, make_average, make_optimizer, rate_at, set_norm_momentum

STEPS = 7  # an epoch


def rates(**recipe: Any) -> list[float]:
    made = Recipe(**{"epochs": 6, "lr": 0.3, **recipe})
    return [rate_at(made, step, STEPS) for step in range(made.epochs * STEPS)]


def torch_rates(make: Any, count: int, lr: float = 0.3) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make(optimizer)
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(count):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return seen


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.5])
def test_one_cycle_is_torchs(warmup_epochs: float) -> None:
    share = warmup_epochs / 6 or 0.3
    expected = torch_rates(
        lambda o: lr_scheduler.OneCycleLR(o, 0.3, total_steps=42, pct_start=share, cycle_momentum=False), 42
    )
    assert rates(schedule="one_cycle", warmup_epochs=warmup_epochs) == pytest.approx(expected, rel=1e-9)


def test_cosine_is_torchs_from_the_full_rate_to_nearly_nothing() -> None:
    expected = torch_rates(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=42), 42)
    assert rates(schedule="cosine") == pytest.approx(expected, rel=1e-9)


def test_warm_up_climbs_in_even_steps_and_cosine_takes_the_rest() -> None:
    got = rates(schedule="cosine", warmup_epochs=2.0)
    assert got[:14] == pytest.approx([0.3 * (step + 1) / 14 for step in range(14)])
    assert got[14:] == pytest.approx([0.15 * (1 + math.cos(math.pi * step / 28)) for step in range(28)])


def test_step_is_torchs_by_epoch() -> None:
    by_epoch = torch_rates(lambda o: lr_scheduler.StepLR(o, step_size=2, gamma=0.5), 6)
    got = rates(schedule="step", step_epochs=2.0, step_factor=0.5)
    assert got == pytest.approx([rate for rate in by_epoch for _ in range(STEPS)])


def test_the_papers_decay_of_two_percent_an_epoch_can_be_said() -> None:
    got = rates(schedule="step", step_factor=0.98, lr=0.045)
    assert got[-1] == pytest.approx(0.045 * 0.98**5)


@pytest.mark.parametrize("step_epochs", [0.1, 0.3, 0.7])
def test_a_fraction_of_an_epoch_falls_on_the_right_step(step_epochs: float) -> None:
    recipe = Recipe(epochs=6, lr=1.0, schedule="step", step_epochs=step_epochs, step_factor=0.9)
    every = round(step_epochs * 10)
    assert [rate_at(recipe, step, 10) for step in range(60)] == pytest.approx([0.9 ** (s // every) for s in range(60)])


def test_constant_stays_after_its_warm_up() -> None:
    got = rates(schedule="constant", warmup_epochs=1.0)
    assert got[:7] == pytest.approx([0.3 * (step + 1) / 7 for step in range(7)])
    assert set(got[7:]) == {0.3}


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 2), (2, 1), (1, 3)])
def test_the_shortest_trials_have_a_positive_rate(schedule: Any, epochs: int, steps: int) -> None:
    recipe = Recipe(epochs=epochs, lr=0.3, schedule=schedule)
    for step in range(epochs * steps):
        assert 0 < rate_at(recipe, step, steps) <= 0.3


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


def gradients(model: nn.Module, step: int) -> None:
    for position, parameter in enumerate(model.parameters()):
        draw = torch.Generator().manual_seed(100 * step + position)
        parameter.grad = torch.randn(parameter.shape, generator=draw)


PLAIN = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.1, foreach=False),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05, weight_decay=0.1, foreach=False),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1, foreach=False),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.05, alpha=0.7, momentum=0.8, weight_decay=0.1, foreach=False),
}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_fast_optimiser_takes_the_plain_ones_steps(name: Any) -> None:
    fast, plain = net(), net()
    recipe = Recipe(optimizer=name, lr=0.05, momentum=0.8, rms_decay=0.7, weight_decay=0.1)
    ours, theirs = make_optimizer(fast, recipe), PLAIN[name](plain.parameters())
    for step in range(5):
        for model, optimizer in ((fast, ours), (plain, theirs)):
            gradients(model, step)
            optimizer.step()
    for mine, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "plain"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_betas_are_the_decays_of_adams_two_means(name: Any, plain: Any) -> None:
    fast, slow = net(), net()
    ours = make_optimizer(fast, Recipe(optimizer=name, lr=0.05, beta1=0.5, beta2=0.8))
    theirs = plain(slow.parameters(), lr=0.05, betas=(0.5, 0.8), weight_decay=0.0, foreach=False)
    for step in range(5):
        for model, optimizer in ((fast, ours), (slow, theirs)):
            gradients(model, step)
            optimizer.step()
    for mine, other in zip(fast.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.1, 0.01, 1.0])
def test_the_momentum_of_batch_norm_is_the_share_of_a_new_batch(momentum: float) -> None:
    model = net().train()
    set_norm_momentum(model, Recipe(bn_momentum=momentum))
    images = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = model[0](images)
    model(images)
    torch.testing.assert_close(model[1].running_mean, momentum * maps.mean((0, 2, 3)))
    torch.testing.assert_close(model[1].running_var, 1 - momentum + momentum * maps.var((0, 2, 3)))


def test_the_default_recipe_has_the_defaults_of_torch() -> None:
    recipe = Recipe()
    assert nn.BatchNorm2d(1).momentum == recipe.bn_momentum
    for kind in (torch.optim.Adam, torch.optim.AdamW):
        assert kind([torch.zeros(1)]).defaults["betas"] == (recipe.beta1, recipe.beta2)


@pytest.mark.parametrize(("decay_on", "moved"), [("weights", [True, False, False, True, False]), ("all", [True] * 5)])
def test_weight_decay_spares_batch_norm_and_biases_when_asked(decay_on: Any, moved: list[bool]) -> None:
    model = net()
    nn.init.ones_(model[1].bias)  # a zero would not move in any case
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = make_optimizer(model, Recipe(optimizer="sgd", lr=0.5, weight_decay=0.1, weight_decay_on=decay_on))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    after = list(model.parameters())
    assert [not torch.equal(old, new) for old, new in zip(before, after, strict=True)] == moved


def test_the_average_follows_weights_and_running_statistics_by_its_formula() -> None:
    model = net()
    average = make_average(model, Recipe(ema=0.75))
    assert average is not None
    expected: dict[str, torch.Tensor] = {}
    for step in range(4):
        with torch.no_grad():
            model[0].weight.add_(step)
            model[1].running_mean.add_(2 * step)
        average.update_parameters(model)
        for name in ("0.weight", "1.running_mean"):
            value = model.state_dict()[name].clone()
            expected[name] = value if step == 0 else 0.75 * expected[name] + 0.25 * value
    for name, value in expected.items():
        torch.testing.assert_close(average.module.state_dict()[name], value)


def test_without_ema_there_is_no_average() -> None:
    assert make_average(net(), Recipe()) is None
