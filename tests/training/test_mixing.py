"""mixup and CutMix: images and targets by their formulas, shares as Beta has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from ablate.design.study import Recipe
from ablate.training.data import Images
from ablate.training.feed import Feed
from ablate.training.mixing import hard, mix

LABELS = torch.tensor([0, 2, 1, 2, 3])


def batch_of(height: int = 8, width: int = 6) -> Tensor:
    images = torch.randn(5, 3, height, width, generator=torch.Generator().manual_seed(0))
    return images.contiguous(memory_format=torch.channels_last)


def mixed(seed: int, batch: Tensor, **recipe: Any) -> tuple[Tensor, Tensor]:
    return mix(batch, LABELS, Recipe(**recipe), 4, np.random.default_rng(seed))


def own_share(targets: Tensor) -> float:
    """The share that the targets give the first image's own class, which its partner has not."""
    return float(targets[0, LABELS[0]])


@pytest.mark.parametrize("seed", range(5))
def test_mixup_is_the_weighted_mean_of_two_images_and_of_their_labels(seed: int) -> None:
    batch = batch_of()
    images, targets = mixed(seed, batch, mixup=0.4)
    share = own_share(targets)
    for i in range(5):
        other = (i - 1) % 5
        torch.testing.assert_close(images[i], share * batch[i] + (1 - share) * batch[other], rtol=1e-5, atol=1e-6)
        expected = torch.zeros(4)
        expected[LABELS[i]] += share
        expected[LABELS[other]] += 1 - share
        torch.testing.assert_close(targets[i], expected)
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_replaces_a_rectangle_whose_area_the_targets_tell(seed: int) -> None:
    batch = batch_of()
    images, targets = mixed(seed, batch, cutmix=1.0)
    for i in range(5):
        changed = (images[i] != batch[i]).all(0)
        assert torch.equal(images[i][:, changed], batch[(i - 1) % 5][:, changed])
        assert torch.equal(images[i][:, ~changed], batch[i][:, ~changed])
        assert changed.sum() == changed.any(1).sum() * changed.any(0).sum()  # a rectangle
    assert own_share(targets) == pytest.approx(1 - changed.double().mean().item())


@pytest.mark.parametrize("a", [0.2, 1.0, 3.0])
def test_the_shares_of_mixup_are_distributed_as_beta(a: float) -> None:
    random = np.random.default_rng(1)
    batch = torch.zeros(5, 1, 2, 2)
    shares = [own_share(mix(batch, LABELS, Recipe(mixup=a), 4, random)[1]) for _ in range(2000)]
    assert stats.kstest(shares, stats.beta(a, a).cdf).pvalue > 0.01


def test_with_both_each_batch_takes_one_and_half_of_them_each() -> None:
    batch = batch_of()
    cuts = [bool((mixed(seed, batch, mixup=1.0, cutmix=1.0)[0] == batch).any()) for seed in range(400)]
    assert 150 < sum(cuts) < 250


def test_the_loss_of_mixed_targets_is_the_mixed_loss_of_two_labels() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    _, targets = mixed(0, batch_of(), mixup=0.4)
    share = own_share(targets)
    for smoothing in (0.0, 0.1):
        losses = [functional.cross_entropy(logits, one, label_smoothing=smoothing) for one in (LABELS, LABELS.roll(1))]
        expected = share * losses[0] + (1 - share) * losses[1]
        torch.testing.assert_close(functional.cross_entropy(logits, targets, label_smoothing=smoothing), expected)


def test_the_hard_label_of_a_mixed_image_is_that_of_its_larger_share() -> None:
    assert torch.equal(hard(LABELS), LABELS)
    assert hard(torch.tensor([[0.3, 0.7, 0.0], [0.6, 0.0, 0.4]])).tolist() == [1, 0]


def test_a_recipe_that_mixes_nothing_hands_on_the_very_batch_and_draws_nothing() -> None:
    batch, random = batch_of(), np.random.default_rng(0)
    images, targets = mix(batch, LABELS, Recipe(), 4, random)
    assert images is batch
    assert targets is LABELS
    assert random.random() == np.random.default_rng(0).random()


def test_an_epoch_mixes_the_same_on_each_call_and_otherwise_in_the_next(images: Images) -> None:
    feed = Feed(images, Recipe(mixup=0.2, cutmix=1.0), seed=0)
    first, again, other = (torch.cat([targets for _, targets in feed.epoch(epoch)]) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first.sum(1), torch.ones(len(first)))
