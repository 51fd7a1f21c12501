from __future__ import annotations

import torch

from ablate.measure.latency import latency_ms
from ablate.model.zoo import mobilenet_v2_mnist


def test_more_images_take_longer_and_the_threads_are_set_back() -> None:
    torch.set_num_threads(2)
    try:
        one, batch = (latency_ms(mobilenet_v2_mnist(), (1, 28, 28), batch_size=n) for n in (1, 64))
        assert 0 < one < batch
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
