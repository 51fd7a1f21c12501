from __future__ import annotations

from typing import Any

import pytest
import torch

from ablate.design.study import Recipe
from ablate.training.data import Images
from ablate.training.feed import Feed
from ablate.training.streams import generator, stream_seed


def batches(images: Images, epoch: int = 0, seed: int = 0, **recipe: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(Feed(images, Recipe(**recipe), seed).epoch(epoch))


def test_batches_are_normalised_floats_in_channels_last(images: Images) -> None:
    got = batches(images, batch_size=96)
    assert [len(labels) for _, labels in got] == [96] * 6
    every = torch.cat([batch for batch, _ in got])
    assert every.dtype == torch.float32
    assert got[0][0].is_contiguous(memory_format=torch.channels_last)
    assert every.mean().item() == pytest.approx(0, abs=1e-5)
    assert every.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_an_epoch_shows_every_image_once_with_its_own_label(images: Images) -> None:
    feed = Feed(images, Recipe(batch_size=64), seed=0)
    known = {
        feed.normalise(image).numpy().tobytes(): label
        for image, label in zip(images.train, images.train_labels, strict=True)
    }
    shown = {}
    for batch, labels in feed.epoch(3):
        shown |= {image.numpy().tobytes(): label for image, label in zip(batch, labels, strict=True)}
    assert shown == known


def test_what_is_left_after_the_last_whole_batch_is_dropped_and_is_another_part_each_epoch(images: Images) -> None:
    assert [len(labels) for _, labels in batches(images, batch_size=100)] == [100] * 5
    assert not torch.equal(batches(images, 0, batch_size=100)[0][1], batches(images, 1, batch_size=100)[0][1])


def test_a_training_part_smaller_than_a_batch_is_one_batch(images: Images) -> None:
    assert [len(labels) for _, labels in batches(images, batch_size=5000)] == [576]


def test_the_order_does_not_depend_on_the_augmentation(images: Images) -> None:
    plain, augmented = batches(images), batches(images, crop_padding=2, flip=True)
    for (a, labels), (b, same_labels) in zip(plain, augmented, strict=True):
        assert torch.equal(labels, same_labels)
        assert a.shape == b.shape
        assert not torch.equal(a, b)


def test_evaluation_sees_all_images_in_order_unaugmented(images: Images) -> None:
    feed = Feed(images, Recipe(crop_padding=4, flip=True), seed=0)
    got = list(feed.whole(images.train, images.train_labels))
    assert torch.equal(torch.cat([labels for _, labels in got]), images.train_labels)
    by_hand = (images.train.double() - images.mean[0]) / images.std[0]
    torch.testing.assert_close(torch.cat([b for b, _ in got]).double(), by_hand, rtol=0, atol=1e-5)


def test_streams_seeds_and_epochs_are_independent_of_each_other() -> None:
    seeds = {
        stream_seed(seed, stream, epoch)
        for seed in range(20)
        for stream in ("weights", "order", "augmentation", "dropout")
        for epoch in range(20)
    }
    assert len(seeds) == 20 * 4 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)
    first = torch.randn(10_000, generator=generator(0, "weights"))
    second = torch.randn(10_000, generator=generator(1, "weights"))
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.05
