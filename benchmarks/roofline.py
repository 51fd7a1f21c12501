"""Claim: a training step reaches half of what this machine's arithmetic and memory allow.

Goal: bound / time >= 0.5 for mobilenet_v2_mnist, batch 64, one thread, where bound is the sum over the layers, forward,
input gradient and weight gradient apart, of max(FLOPs / peak, bytes / bandwidth). Peak is the best of several large
matrix products and bandwidth the best of several large triads (a = b + s * c), both in this run, on one thread.
FLOPs are two a multiply-add of convolutions and linear layers; bytes count each tensor of an operation once, read or
written, in fp32; the other operations are bound by their bytes. The optimiser's bytes are the last row.

Time is the measured step, forward + backward + optimiser, as the training loop takes it. Its compiled kernels carry out
convolution, batch norm and activation in one pass over memory, so that the bytes of the bound, which are those of one
operation after the other, are more than the step moves. Beside it every layer is timed alone with torch's own kernels,
on its own input inside the net, which shows where the time would go without. Small tensors stay in the cache, so that a
layer may beat its bound; the second row takes the cache's bandwidth for all, which no large tensor can reach.

    python benchmarks/roofline.py [--quick]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import table
from interleaved import call_apart
from table import Row

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ablate.model.layers import Layer

PART = "roofline"
BUDGET_S = 70
GOAL = 0.85
WORST = 15
NETS = ("mobilenet_v2_mnist", "mobilenet_v2_cifar")
FLOAT = 4
PASSES = ("forward", "input gradient", "weight gradient")


@dataclass(frozen=True)
class Limits:
    """What the machine can do: FLOP/s, and bytes/s of main memory and of the cache."""

    peak: float
    bandwidth: float
    cache: float


@dataclass(frozen=True)
class Need:
    """What an operation has to do for a batch: floating-point operations, and bytes moved."""

    flops: float
    bytes: float

    def seconds(self, peak: float, bandwidth: float) -> float:
        """The least time at ``peak`` FLOP/s and ``bandwidth`` bytes/s."""
        return max(self.flops / peak, self.bytes / bandwidth)


@dataclass(frozen=True)
class Line:
    """A pass of a layer: the least time and the time it took alone, in seconds; None where it is not run alone."""

    layer: str
    what: str
    bound: float
    cached: float  # the same with the cache's bandwidth
    taken: float | None


@dataclass(frozen=True)
class Roofline:
    """A net's: the machine's limits, seconds of the step, and each layer's bounds."""

    limits: Limits
    step: float
    lines: tuple[Line, ...]

    @property
    def bound(self) -> float:
        return sum(line.bound for line in self.lines)

    @property
    def cached(self) -> float:
        """The bound of a machine whose main memory is as fast as its cache."""
        return sum(line.cached for line in self.lines)


def needs(layer: Layer, batch: int, *, first: bool) -> dict[str, Need]:
    """What each pass of a layer needs; ``first``: the net's first layer, which passes no gradient on."""
    into, out = batch * layer.in_elements * FLOAT, batch * layer.out_elements * FLOAT
    weights = layer.params * FLOAT
    if layer.kind in ("conv", "linear"):
        flops = 2.0 * batch * layer.macs
        every = Need(flops, into + out + weights)
        return {name: every for name in PASSES if not (first and name == "input gradient")}
    if layer.kind == "add":  # its gradient is handed on as it is
        return {"forward": Need(0, into + out)}
    if layer.kind == "norm":  # scale's and shift's gradients come with the input's
        return {"forward": Need(0, into + out), "input gradient": Need(0, 2 * out + into)}
    saved = out if layer.kind in ("activation", "max_pool", "dropout") else 0
    return {"forward": Need(0, into + out), "input gradient": Need(0, saved + out + into)}


def best_of(action: Callable[[], object], repeats: int) -> float:
    """The shortest time, in seconds, after one try outside the clock."""
    action()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


def machine_limits(repeats: int) -> Limits:
    """The limits of this process's threads."""
    import torch

    size = 1536
    a, b, product = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
    peak = 2 * size**3 / best_of(lambda: torch.mm(a, b, out=product), repeats)
    # three arrays of 128 MiB are beyond any cache, three of 256 KiB fit most second levels
    bandwidth, cache = (triad(length, repeats) for length in (32 * 2**20, 2**16))
    return Limits(peak, bandwidth, cache)


def triad(length: int, repeats: int) -> float:
    """Bytes a second of z = x + s * y on arrays of ``length`` floats."""
    import torch

    x, y, z = torch.rand(length), torch.rand(length), torch.empty(length)
    return 3 * length * FLOAT / best_of(lambda: torch.add(x, y, alpha=0.5, out=z), repeats)


def _inputs(net: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """What each module of the net is given, by its name."""
    seen: dict[str, Tensor] = {}
    hooks = []
    for name, module in net.named_modules():

        def keep(_: object, given: tuple[Tensor, ...], name: str = name) -> None:
            seen[name] = given[0].detach().clone()

        if not list(module.children()):
            hooks.append(module.register_forward_pre_hook(keep))
    net(batch)
    for hook in hooks:
        hook.remove()
    return seen


def time_layer(module: nn.Module, given: Tensor, wanted: Sequence[str], repeats: int) -> dict[str, float]:
    """Seconds of each wanted pass of a module alone."""
    import torch

    times: dict[str, float] = {}
    if "forward" in wanted:
        with torch.no_grad():
            times["forward"] = best_of(lambda: module(given), repeats)
    x = given.clone().requires_grad_()
    out = module(x * 1)  # a module may work in place, which autograd does not allow on a leaf
    gradient = torch.randn_like(out)
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    for what, of in (("input gradient", [x]), ("weight gradient", weights)):
        if what in wanted and of and out.requires_grad:
            times[what] = best_of(lambda of=of: torch.autograd.grad(out, of, gradient, retain_graph=True), repeats)
    return times


def measure_net(name: str, repeats: int, limits: Limits) -> Roofline:
    """The roofline of a net's step, batch 64, on this process's threads."""
    import torch
    from workloads import BATCH, WORKLOADS, batches, harness_step

    from ablate.model.layers import layers
    from ablate.model.nets import build
    from ablate.training.processor import processor

    workload = WORKLOADS[name]
    spec, (_, height, width) = workload.spec, workload.shape
    net = build(spec).train()
    lines: list[Line] = []
    with processor(torch.get_num_threads()):
        inputs = _inputs(net, next(batches(workload))[0])
        for number, layer in enumerate(layers(spec, height, width)):
            needed = needs(layer, BATCH, first=number == 0)
            # an addition has no module; a module that another has taken over is not called
            alone = layer.name in inputs
            taken = (
                time_layer(net.get_submodule(layer.name), inputs[layer.name], list(needed), repeats) if alone else {}
            )
            lines += [_line(layer.name, what, need, limits, taken.get(what)) for what, need in needed.items()]
        parameters = sum(parameter.numel() for parameter in net.parameters())
        # Adam reads weight, gradient and both averages, and writes all but the gradient
        lines.append(_line("optimizer", "step", Need(0, 7 * parameters * FLOAT), limits, None))
        step = best_of(harness_step(name, 1), repeats if name.endswith("cifar") else 10 * repeats)
    return Roofline(limits, step, tuple(lines))


def _line(layer: str, what: str, need: Need, limits: Limits, taken: float | None) -> Line:
    bounds = [need.seconds(limits.peak, bandwidth) for bandwidth in (limits.bandwidth, limits.cache)]
    return Line(layer, what, *bounds, taken)


def measure_all(repeats: int) -> dict[str, Roofline]:
    """Both nets, between two looks at the machine's limits; the higher limits count."""
    first = machine_limits(repeats)
    found = {name: measure_net(name, repeats, first) for name in NETS}
    after = machine_limits(repeats)
    limits = Limits(*(max(pair) for pair in zip(astuple(first), astuple(after), strict=True)))
    if limits.peak < 1.05 * first.peak and limits.bandwidth < 1.05 * first.bandwidth:
        return found
    return {name: measure_net(name, repeats, limits) for name in NETS}  # the machine was busy when it was first asked


def profile(name: str, found: Roofline) -> str:
    """The summary and the layers that lose most, as markdown."""
    limits = found.limits
    alone = sum(line.taken for line in found.lines if line.taken is not None)
    lines = [
        f"### {name}",
        "",
        (
            f"One thread, batch 64: {limits.peak / 1e9:.0f} GFLOP/s, {limits.bandwidth / 1e9:.1f} GB/s from main "
            f"memory, {limits.cache / 1e9:.0f} GB/s from the cache. "
            f"The step reaches {found.bound / found.step:.2f} of its bound; torch's own kernels, timed layer by layer, "
            f"take {alone / found.step:.2f} times as long as the step."
        ),
        "",
        "| pass | share of the bound | share of the time alone | bound / time |",
        "| --- | --- | --- | --- |",
    ]
    for what in PASSES:
        bound = sum(line.bound for line in found.lines if line.what == what and line.taken is not None)
        taken = sum(line.taken for line in found.lines if line.what == what and line.taken is not None)
        lines.append(f"| {what} | {bound / found.bound:.2f} | {taken / alone:.2f} | {bound / taken:.2f} |")
    worst = sorted((line for line in found.lines if line.taken), key=lambda line: line.bound - line.taken)[:WORST]
    lines += [
        "",
        f"The {len(worst)} passes of torch's own kernels that lose most:",
        "",
        "| layer | pass | share of the step | bound / time |",
    ]
    lines.append("| --- | --- | --- | --- |")
    for line in worst:
        share, reach = line.taken / found.step, line.bound / line.taken
        lines.append(f"| {line.layer} | {line.what} | {share:.3f} | {reach:.2f} |")
    return "\n".join(lines)


def measure(*, quick: bool = False) -> list[Row]:
    """A row a net."""
    found: dict[str, Roofline] = call_apart("roofline:measure_all", repeats=2 if quick else 7)
    table.write_profile(PART, "\n\n".join(profile(name, net) for name, net in found.items()))
    rows = []
    for name, net in found.items():
        reach = net.bound / net.step
        claim = f"{name}, one thread, batch 64: roofline bound / time of a step"
        rows.append(Row(part=PART, claim=claim, value=reach, shown=f"{reach:.2f}", goal=GOAL))
        reach = net.cached / net.step
        claim = f"{name}: the same if all of main memory were as fast as the cache"
        rows.append(Row(part=PART, claim=claim, value=reach, shown=f"{reach:.2f}"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step against this machine's roofline.")
    parser.add_argument("--quick", action="store_true", help="two repeats")
    print(table.as_text(measure(quick=parser.parse_args().quick)))
    print((table.PROFILES / f"{PART}.md").read_text())


if __name__ == "__main__":
    main()
