"""How long a forward pass takes on the machine in front of you."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from ablate.measure.cost import Cost
from ablate.measure.threads import threads as computing_with
from ablate.model.nets import build
from ablate.model.spec import NetSpec

_WARM_UP = 2
_LEAST_ROUNDS = 5
_MOST_ROUNDS = 30
_ENOUGH_S = 0.3  # of every net; no further round is started after this
_BUSY = 0.9  # the share of the time for which this thread must have had the processor


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one forward pass.

    Attributes:
        median_ms, low_ms, high_ms: the median, the shortest and the longest of the repeats.
        repeats: how many there were.
        busy: whether other work took the processor meanwhile, so that the range says more than the
            median.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    repeats: int
    busy: bool

    @classmethod
    def of(cls, runs_ms: list[float], *, busy: bool) -> Latency:
        """From the times of single passes."""
        return cls(statistics.median(runs_ms), min(runs_ms), max(runs_ms), len(runs_ms), busy)


def latencies(
    specs: Mapping[str, NetSpec | torch.nn.Module],
    input_shape: tuple[int, int, int],
    *,
    batch_sizes: Mapping[str, int],
    device: str = "cpu",
    threads: int = 1,
) -> dict[str, Latency]:
    """Each net's latency in eval mode, fp32, by torch's kernels; the nets take turns, so that all see the same machine.

    Args:
        specs: the nets by name; those that are built already are put into eval mode.
        input_shape: C H W of an image.
        batch_sizes: images in a pass of each.
        device: where to run.
        threads: of the processor; set back afterwards.
    """
    passes = {
        name: _Pass(
            _net(spec).eval().to(device),
            torch.zeros(batch_sizes[name], *input_shape, device=device),
        )
        for name, spec in specs.items()
    }
    with computing_with(threads), torch.inference_mode():
        return in_turns(passes)


def _net(spec: NetSpec | torch.nn.Module) -> torch.nn.Module:
    return build(spec, generator=torch.Generator().manual_seed(0)) if isinstance(spec, NetSpec) else spec


@dataclass(frozen=True)
class _Pass:
    net: torch.nn.Module
    images: torch.Tensor

    def __call__(self) -> None:
        self.net(self.images)
        if self.images.is_cuda:
            torch.cuda.synchronize(self.images.device)


def in_turns(passes: Mapping[str, Callable[[], object]]) -> dict[str, Latency]:
    """The latency of each function; a round calls every one once."""
    runs: dict[str, list[float]] = {name: [] for name in passes}
    for run in passes.values():
        for _ in range(_WARM_UP):
            run()
    began, computed = time.perf_counter(), time.thread_time()
    rounds = 0
    while rounds < _LEAST_ROUNDS or (time.perf_counter() - began < len(runs) * _ENOUGH_S and rounds < _MOST_ROUNDS):
        for name, run in passes.items():
            start = time.perf_counter()
            run()
            runs[name].append(1000 * (time.perf_counter() - start))
        rounds += 1
    busy = time.thread_time() - computed < _BUSY * (time.perf_counter() - began)
    return {name: Latency.of(times, busy=busy) for name, times in runs.items()}


def with_latency(
    costs: Mapping[str, Cost],
    specs: Mapping[str, NetSpec | torch.nn.Module],
    input_shape: tuple[int, int, int],
    *,
    batch_sizes: Mapping[str, int],
    device: str = "cpu",
    threads: int = 1,
) -> dict[str, Cost]:
    """The costs with the latency of one image and of a training batch; arguments as of ``latencies``."""
    one = latencies(specs, input_shape, batch_sizes=dict.fromkeys(specs, 1), device=device, threads=threads)
    many = latencies(specs, input_shape, batch_sizes=batch_sizes, device=device, threads=threads)
    return {
        name: replace(
            cost,
            latency_ms=one[name].median_ms,
            latency_low_ms=one[name].low_ms,
            latency_high_ms=one[name].high_ms,
            latency_batch_ms=many[name].median_ms,
            latency_batch_low_ms=many[name].low_ms,
            latency_batch_high_ms=many[name].high_ms,
            latency_busy=one[name].busy or many[name].busy,
        )
        for name, cost in costs.items()
    }
