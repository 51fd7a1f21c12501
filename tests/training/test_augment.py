from __future__ import annotations

import numpy as np
import pytest
import torch

from ablate.training.augment import Draws, crop, pad


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
