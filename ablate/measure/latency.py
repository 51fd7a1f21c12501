"""How long a forward pass takes on the machine in front of you."""

from __future__ import annotations

import statistics
import time

import torch

from ablate.measure.threads import threads as computing_with
from ablate.model.nets import build
from ablate.model.spec import NetSpec

_WARM_UP = 2
_LEAST_RUNS = 3
_MOST_RUNS = 30
_ENOUGH_S = 0.3  # no further run is started after this


def _one_run_ms(net: torch.nn.Module, images: torch.Tensor) -> float:
    start = time.perf_counter()
    net(images)
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return 1000 * (time.perf_counter() - start)


def latency_ms(
    spec: NetSpec, input_shape: tuple[int, int, int], *, batch_size: int, device: str = "cpu", threads: int = 1
) -> float:
    """Median milliseconds of one forward pass in eval mode, fp32.

    Args:
        spec: the net.
        input_shape: C H W of an image.
        batch_size: images in the pass.
        device: where to run.
        threads: of the processor; set back afterwards.
    """
    net = build(spec, generator=torch.Generator().manual_seed(0)).eval().to(device)
    images = torch.zeros(batch_size, *input_shape, device=device)
    with computing_with(threads), torch.inference_mode():
        for _ in range(_WARM_UP):
            _one_run_ms(net, images)
        runs: list[float] = []
        while len(runs) < _LEAST_RUNS or (sum(runs) < 1000 * _ENOUGH_S and len(runs) < _MOST_RUNS):
            runs.append(_one_run_ms(net, images))
    return statistics.median(runs)
