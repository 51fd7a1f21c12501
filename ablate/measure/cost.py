"""What a net costs, without training it.

``estimate`` is arithmetic on the list of layers; ``cost`` also checks it against two independent counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ablate.errors import AblateError, one_of
from ablate.measure.depth import by_block, by_layer
from ablate.measure.saved import saved_elements
from ablate.model.layers import Layer, layers
from ablate.model.spec import NetSpec

# Numbers of state that an optimiser keeps for each parameter; rmsprop is counted with momentum.
OPTIMIZER_STATE = {"sgd": 1, "adam": 2, "adamw": 2, "rmsprop": 2}
BYTES = 4  # fp32


class CostError(AblateError):
    """Two ways of counting the same net disagree."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a net costs on images of one size.

    Attributes:
        params: learnt numbers, batch norm included.
        macs: multiply-adds of convolutions and linear layers, forward, one image.
        flops: 2 * macs.
        train_flops: of one training image: forward, gradient of the weights, gradient of the inputs (the first
            convolution needs none); convolutions and linear layers.
        inference_peak_bytes: the largest sum of inputs and outputs over the operations (arXiv:1801.04381, section
            5.1), activations only, fp32, one image; batch norm and activation work in place.
        inference_peak_block_bytes: the same with every block as one operation, its inner tensors disposable; None of a
            net that is not made of our blocks.
        train_peak_bytes: parameters, gradients, optimiser state and the activations that a forward pass of the training
            batch saves, fp32 (the function ``train_peak_bytes`` and measure/saved.py say what is counted).
        fvcore_flops: fvcore's own total, one a multiply-add, batch norm and pooling included.
        latency_ms, latency_low_ms, latency_high_ms: of a forward pass with one image: median, shortest and longest.
        latency_batch_ms, latency_batch_low_ms, latency_batch_high_ms: the same with the training batch.
        latency_busy: whether other work took the processor while latencies were measured.
    """

    params: int
    macs: int
    flops: int
    train_flops: int
    inference_peak_bytes: int
    inference_peak_block_bytes: int | None
    train_peak_bytes: int
    fvcore_flops: int | None = None
    latency_ms: float | None = None
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    latency_batch_ms: float | None = None
    latency_batch_low_ms: float | None = None
    latency_batch_high_ms: float | None = None
    latency_busy: bool | None = None


def train_peak_bytes(ops: Sequence[Layer], *, batch_size: int, optimizer: str) -> int:
    """Bytes of a training step's live tensors in fp32: parameters, gradients, optimiser state, saved activations.

    The sum is what lives when the backward pass begins, were the gradients there already; gradients of activations,
    which come as the saved ones go, and workspaces of the kernels are not counted.
    """
    if optimizer not in OPTIMIZER_STATE:
        raise CostError(f"optimizer {one_of(optimizer, OPTIMIZER_STATE)}")
    params = sum(layer.params for layer in ops)
    return BYTES * (params * (2 + OPTIMIZER_STATE[optimizer]) + saved_elements(ops) * batch_size)


def estimate(
    spec: NetSpec, input_shape: tuple[int, int, int], *, batch_size: int = 64, optimizer: str = "adamw"
) -> Cost:
    """The cost by arithmetic alone, within milliseconds and without torch.

    Args:
        spec: the net.
        input_shape: C H W of an image; C must be the net's ``in_channels``.
        batch_size: of the training, for ``train_peak_bytes``.
        optimizer: likewise.

    Raises:
        CostError: ``input_shape`` does not fit the net, or the optimiser is unknown.
    """
    channels, height, width = input_shape
    if channels != spec.in_channels:
        raise CostError(f"input_shape {input_shape} has {channels} channels, the net takes {spec.in_channels}")
    ops = layers(spec, height, width)
    macs = sum(layer.macs for layer in ops)
    first = next(layer for layer in ops if layer.kind == "conv")
    return Cost(
        params=sum(layer.params for layer in ops),
        macs=macs,
        flops=2 * macs,
        train_flops=2 * (3 * macs - first.macs),
        inference_peak_bytes=BYTES * max(step.elements for step in by_layer(ops)),
        inference_peak_block_bytes=BYTES * max(step.elements for step in by_block(ops)),
        train_peak_bytes=train_peak_bytes(ops, batch_size=batch_size, optimizer=optimizer),
    )


def cost(
    spec: NetSpec,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    *,
    batch_size: int = 64,
    optimizer: str = "adamw",
) -> Cost:
    """The estimate, checked against the built net's parameters and the MACs by torch's and fvcore's counters.

    Args: as for ``estimate``.

    Raises:
        CostError: as for ``estimate``, or the counts disagree; the message names both.

    Example:
        >>> from ablate.model.zoo import mobilenet_v2
        >>> found = cost(mobilenet_v2())
        >>> found.params, found.macs
        (3504872, 300774272)
    """
    from ablate.measure.counters import count_fvcore, count_params, count_torch_macs

    expected = estimate(spec, input_shape, batch_size=batch_size, optimizer=optimizer)
    fvcore_macs, fvcore_flops = count_fvcore(spec, input_shape)
    for what, ours, theirs in (
        ("params of the built net", expected.params, count_params(spec)),
        ("MACs by torch's counter", expected.macs, count_torch_macs(spec, input_shape)),
        ("MACs by fvcore", expected.macs, fvcore_macs),
    ):
        if ours != theirs:
            raise CostError(f"{what} are {theirs:,}, by the list of layers {ours:,}")
    return replace(expected, fvcore_flops=fvcore_flops)
