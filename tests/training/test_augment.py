from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import RandAugment, RandomErasing

from ablate.training.augment import Draws, crop, erased, pad, rand_augmented


def by_hand(image: np.ndarray, top: int, left: int, flip: bool, padding: int) -> np.ndarray:
    height, width = image.shape[1:]
    framed = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    cut = framed[:, top : top + height, left : left + width]
    return cut[:, :, ::-1] if flip else cut


@pytest.mark.parametrize(("channels", "padding", "flip"), [(1, 2, True), (3, 4, True), (3, 0, True), (3, 3, False)])
def test_every_image_gets_its_own_crop_and_flip(channels: int, padding: int, flip: bool) -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (20, channels, 7, 9), dtype=torch.uint8)
    draws = Draws.sample(20, padding=padding, flip=flip, generator=torch.Generator().manual_seed(1))
    index = torch.tensor([4, 19, 0, 4])
    batch = crop(pad(images, padding), index, draws, padding=padding)
    assert batch.shape == (4, channels, 7, 9)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    for position, i in enumerate(index.tolist()):
        expected = by_hand(images[i].numpy(), int(draws.top[i]), int(draws.left[i]), bool(draws.flips[i]), padding)
        assert np.array_equal(batch[position].numpy(), expected)


def test_offsets_are_even_over_the_frame_and_half_of_the_images_are_flipped() -> None:
    draws = Draws.sample(50_000, padding=4, flip=True, generator=torch.Generator().manual_seed(0))
    for offsets in (draws.top, draws.left):
        shares = offsets.bincount(minlength=9) / 50_000
        torch.testing.assert_close(shares, torch.full((9,), 1 / 9), atol=0.006, rtol=0)
    assert abs(draws.flips.double().mean().item() - 0.5) < 0.01
    assert abs(torch.corrcoef(torch.stack([draws.top, draws.left]).double())[0, 1]) < 0.02


def test_flips_do_not_move_the_crops() -> None:
    with_flips = Draws.sample(100, padding=2, flip=True, generator=torch.Generator().manual_seed(5))
    without = Draws.sample(100, padding=2, flip=False, generator=torch.Generator().manual_seed(5))
    assert torch.equal(with_flips.top, without.top)
    assert torch.equal(with_flips.left, without.left)
    assert not without.flips.any()


def test_an_erased_rectangle_has_torchvisions_area_and_ratio_and_lies_anywhere() -> None:
    ones = torch.ones(2000, 1, 40, 40)
    ours = erased(ones, 1.0, torch.Generator().manual_seed(0))[:, 0] == 0
    torch.manual_seed(0)
    theirs = torch.stack([RandomErasing(p=1.0)(image) for image in ones])[:, 0] == 0
    found = []
    for masks in (ours, theirs):
        tall, wide = masks.any(2).sum(1).double(), masks.any(1).sum(1).double()
        assert torch.equal(tall * wide, masks.sum((1, 2)).double())  # rectangles
        top, left = masks.any(2).int().argmax(1).double(), masks.any(1).int().argmax(1).double()
        found.append([tall * wide, tall / wide, top / (40 - tall), left / (40 - wide)])
    for mine, torchvisions in zip(*found, strict=True):
        assert stats.ks_2samp(mine.numpy(), torchvisions.numpy()).pvalue > 0.01


def test_erasing_takes_its_share_of_the_images_and_leaves_the_rest_alone() -> None:
    batch = torch.rand(4000, 2, 12, 12) + 1
    changed = erased(batch, 0.3, torch.Generator().manual_seed(0))
    touched = (changed != batch).flatten(1).any(1)
    assert abs(touched.double().mean().item() - 0.3) < 0.03
    assert set(changed[changed != batch].tolist()) == {0.0}


def test_rand_augment_is_torchvisions_of_each_image_by_itself() -> None:
    torch.manual_seed(3)
    batch = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    before = torch.random.get_rng_state()
    changed = rand_augmented(batch, 9, seed=7)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(7)
    transform = RandAugment(num_ops=2, magnitude=9)
    assert torch.equal(changed, torch.stack([transform(image.contiguous()) for image in batch]))
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(changed, rand_augmented(batch, 9, seed=7))
    assert not torch.equal(changed, rand_augmented(batch, 9, seed=8))
    same = rand_augmented(batch[:1].expand(40, -1, -1, -1), 20, seed=0)
    assert len({image.numpy().tobytes() for image in same}) > 10  # each image has its own operations
