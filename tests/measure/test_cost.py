from __future__ import annotations

import time
from dataclasses import replace
from itertools import product

import pytest
import torch

from ablate.measure import counters
from ablate.measure.cost import CostError, cost, estimate
from ablate.measure.saved import saved_elements
from ablate.model.layers import layers
from ablate.model.nets import build
from ablate.model.spec import NetSpec
from ablate.model.zoo import NETS, mobilenet_v1, mobilenet_v2, mobilenet_v2_cifar, mobilenet_v2_mnist, resnet50

IMAGE = (3, 224, 224)


def test_the_inference_peaks_of_mobilenet_v2_are_those_of_section_5_1() -> None:
    found = estimate(mobilenet_v2(), IMAGE)
    assert found.inference_peak_bytes == 4 * 1_505_280
    assert found.inference_peak_block_bytes == 4 * 602_112


def test_training_flops_are_three_forward_passes_less_the_first_layers_input_gradient() -> None:
    found = estimate(mobilenet_v2(), IMAGE)
    stem = 112 * 112 * 32 * 27
    assert found.flops == 2 * 300_774_272
    assert found.train_flops == 2 * (3 * 300_774_272 - stem)


def test_fvcores_total_stands_beside_with_its_own_convention() -> None:
    found = cost(mobilenet_v2())
    assert found.fvcore_flops == 314_193_216
    assert found.macs == 300_774_272


def test_every_toggle_combination_is_counted_alike_by_three_counters() -> None:
    for residual, bottleneck, activation, conv in product(
        ("inverted", "classic"), ("linear", "relu"), ("relu6", "relu"), ("depthwise", "full")
    ):
        toggles = {"residual": residual, "bottleneck": bottleneck, "activation": activation, "conv": conv}
        spec, shape = mobilenet_v2_mnist().with_blocks(**toggles), (1, 28, 28)
        by_fvcore, _ = counters.count_fvcore(spec, shape)
        assert estimate(spec, shape).macs == by_fvcore == counters.count_torch_macs(spec, shape)
        assert cost(spec, shape).macs == by_fvcore


@pytest.mark.parametrize("shortcut", ["projection", "none"])
@pytest.mark.parametrize("activation", ["hardswish", "silu"])
def test_the_other_levels_are_counted_alike_too(shortcut: str, activation: str) -> None:
    spec = mobilenet_v2_mnist().with_blocks(shortcut=shortcut, activation=activation, expand_ratio=2.5)
    assert cost(spec, (1, 17, 30)).fvcore_flops


def test_an_estimate_takes_milliseconds() -> None:
    start = time.process_time()
    for _ in range(10):
        estimate(mobilenet_v2(), IMAGE)
    assert (time.process_time() - start) / 10 < 0.2


def measured_saved_bytes(spec: NetSpec, shape: tuple[int, int, int], batch_size: int) -> int:
    """Bytes of the storages that autograd keeps after a forward pass, parameters and running statistics aside."""
    net = build(spec, generator=torch.Generator().manual_seed(0)).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*net.parameters(), *net.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(torch.randn(batch_size, *shape))
    return sum(storage.nbytes() for storage in kept.values())


BIT = mobilenet_v2_mnist()
SAVED = [
    (BIT, (1, 28, 28)),
    *((BIT.with_blocks(activation=name), (1, 28, 28)) for name in ("relu", "hardswish", "silu")),
    (BIT.with_blocks(bottleneck="relu", shortcut="projection"), (1, 28, 28)),
    (BIT.with_blocks(residual="classic"), (1, 28, 28)),
    (BIT.with_blocks(residual="classic", conv="full", shortcut="projection"), (1, 28, 28)),
    (mobilenet_v2_cifar(), (3, 32, 32)),
    (mobilenet_v1(width_mult=0.25), (3, 64, 64)),
    (resnet50(width_mult=0.25), (3, 64, 64)),
    (NETS["mobilenet_v3_small"](width_mult=0.5), (3, 64, 64)),
    (NETS["efficientnet_b0"](width_mult=0.25), (3, 64, 64)),
    (BIT.with_blocks(residual="sandglass"), (1, 28, 28)),
    (BIT.with_blocks(shortcut="expansions"), (1, 28, 28)),
    (replace(BIT, norm="group"), (1, 28, 28)),
]


@pytest.mark.parametrize(("spec", "shape"), SAVED)
def test_the_saved_activations_are_what_autograd_keeps_within_two_per_cent(
    spec: NetSpec, shape: tuple[int, int, int]
) -> None:
    batch_size = 32
    by_arithmetic = 4 * batch_size * saved_elements(layers(spec, *shape[1:]))
    assert by_arithmetic == pytest.approx(measured_saved_bytes(spec, shape, batch_size), rel=0.02)


@pytest.mark.parametrize(("optimizer", "copies"), [("sgd", 3), ("adam", 4), ("adamw", 4), ("rmsprop", 4)])
def test_the_training_peak_grows_with_the_optimisers_state_and_the_batch(optimizer: str, copies: int) -> None:
    peaks = [estimate(BIT, (1, 28, 28), batch_size=n, optimizer=optimizer).train_peak_bytes for n in (1, 2, 3)]
    assert peaks[2] - peaks[1] == peaks[1] - peaks[0]
    assert 2 * peaks[0] - peaks[1] == 4 * copies * 243_658


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(CostError, match="1 channels, the net takes 3"):
        estimate(mobilenet_v2(), (1, 28, 28))
    with pytest.raises(CostError, match="did you mean 'adamw'"):
        estimate(BIT, (1, 28, 28), optimizer="adamww")


@pytest.mark.parametrize("counter", ["count_params", "count_torch_macs"])
def test_counters_that_disagree_are_an_error_that_names_both_numbers(
    counter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, counter, lambda *_: 7)
    with pytest.raises(CostError, match="are 7, by the list of layers"):
        cost(BIT, (1, 28, 28))
