"""Post-training quantisation, against formulas by hand and torch's own fake quantisation."""

from __future__ import annotations

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ablate.measure.quantise import QuantiseError, Rounded, fold_norms, quantised, rounded_weights
from ablate.model.nets import Net, build
from ablate.model.spec import NetSpec
from ablate.model.zoo import mobilenet_v2_mnist


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_statistics(spec: NetSpec, images: Tensor) -> Net:
    """A net whose running statistics are those of a few batches."""
    net = build(spec, generator=torch.Generator().manual_seed(0)).train()
    with torch.no_grad():
        for _ in range(20):
            net(images)
    return net.eval()


IMAGES = drawn(32, 1, 28, 28)
SPEC = mobilenet_v2_mnist(width_mult=0.5)
NET = with_statistics(SPEC, IMAGES)


def assert_nearly_all_equal(ours: Tensor, theirs: Tensor, step: Tensor) -> None:
    """The same multiples of the step, but for values halfway between two, where torch's rounding may differ."""
    steps_apart = ((ours - theirs) / step).abs()
    assert float(steps_apart.max()) < 1.01
    assert float((steps_apart > 0.01).double().mean()) < 0.03


@given(bits=st.integers(2, 16), seed=st.integers(0, 1000))
def test_weights_are_those_of_torchs_fake_quantisation(bits: int, seed: int) -> None:
    weight, largest = drawn(6, 4, 3, 3, seed=seed), 2 ** (bits - 1) - 1
    whole = torch.fake_quantize_per_tensor_affine(weight, float(weight.abs().max()) / largest, 0, -largest, largest)
    step = weight.abs().max() / largest
    assert_nearly_all_equal(rounded_weights(weight, bits, per_channel=False), whole, step)
    steps = weight.abs().amax((1, 2, 3)) / largest
    zeros = torch.zeros(6, dtype=torch.int32)
    theirs = torch.fake_quantize_per_channel_affine(weight, steps, zeros, 0, -largest, largest)
    assert_nearly_all_equal(rounded_weights(weight, bits, per_channel=True), theirs, steps.view(6, 1, 1, 1))


def test_weights_by_hand() -> None:
    weight = torch.tensor([[0.0, 0.4, -3.0], [0.1, 0.0, 0.26], [0.0, 0.0, 0.0]])
    # 3 bits: -3 to 3 times the step; the step is 1 for the tensor, and 1 and 0.26 / 3 for the first two channels
    assert rounded_weights(weight, 3, per_channel=False).tolist() == [[0, 0, -3], [0, 0, 0], [0, 0, 0]]
    step = 0.26 / 3
    expected = torch.tensor([[0, 0, -3.0], [step, 0, 3 * step], [0, 0, 0]])
    torch.testing.assert_close(rounded_weights(weight, 3, per_channel=True), expected)


def test_activations_by_hand() -> None:
    rounder = Rounded(2)
    rounder(torch.tensor([-1.0, 0.5]))
    rounder(torch.tensor([2.0]))
    rounder.calibrating = False
    # from -1 to 2 in 3 steps of 1; what lies outside goes to the ends
    assert rounder(torch.tensor([-5.0, -0.6, -0.4, 0.0, 0.6, 1.4, 9.0])).tolist() == [-1, -1, 0, 0, 1, 1, 2]


@given(bits=st.integers(2, 16), low=st.floats(-10, 0), high=st.floats(0.01, 10))
def test_zero_stays_zero_and_no_activation_moves_by_more_than_a_step(bits: int, low: float, high: float) -> None:
    rounder = Rounded(bits)
    rounder(torch.tensor([low, high]))
    rounder.calibrating = False
    inside = torch.linspace(low, high, 101)
    step = (high - low) / (2**bits - 1)
    assert float((rounder(inside) - inside).abs().max()) <= 1.01 * step + 1e-6
    assert float(rounder(torch.zeros(1))) == 0


@pytest.mark.parametrize("net", [NET, torchvision.models.mobilenet_v2(num_classes=10).eval()])
def test_folding_a_norm_changes_no_logits(net: nn.Module) -> None:
    import copy

    images = drawn(4, 1 if isinstance(net, Net) else 3, 28, 28)
    folded = copy.deepcopy(net)
    with torch.no_grad():
        fold_norms(folded)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        torch.testing.assert_close(folded(images), net(images), rtol=1e-4, atol=1e-5)


def test_a_convolution_with_its_norm_and_activation_by_hand() -> None:
    conv, norm = nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2, eps=0)
    conv.weight.data = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)
    norm.running_mean, norm.running_var = torch.tensor([0.0, 1.0]), torch.tensor([4.0, 1.0])
    net = nn.Sequential(conv, norm, nn.ReLU6()).eval()
    images = torch.tensor([0.0, 1.0, 3.0]).view(1, 1, 1, 3)
    found = quantised(net, 2, per_channel=False, calibration_images=images)(images)
    # input: steps of 1. folded weights 0.5 and 2 in steps of 2: 0 and 2; shifts 0 and -1.
    # after ReLU6: 0, and 0, 1, 5; the range is 0 to 5, in steps of 5/3
    assert found[0, 0].tolist() == [[0, 0, 0]]
    torch.testing.assert_close(found[0, 1], torch.tensor([[0, 5 / 3, 5.0]]))


def test_sixteen_bits_change_nearly_nothing_and_fewer_bits_ever_more() -> None:
    with torch.no_grad():
        logits = NET(IMAGES)
        errors = [
            float((quantised(NET, bits, per_channel=True, calibration_images=IMAGES)(IMAGES) - logits).norm())
            for bits in (16, 8, 6, 4)
        ]
    assert errors[0] < 0.01 * float(logits.norm())
    assert errors == sorted(errors)


def test_steps_by_channel_are_nearer_than_one_step() -> None:
    # channels of very different sizes, as folding makes them
    weight = drawn(32, 8, 1, 1) * torch.logspace(-3, 0, 32).view(32, 1, 1, 1)
    errors = [(rounded_weights(weight, 8, per_channel=each) - weight).norm() for each in (True, False)]
    assert errors[0] < errors[1] / 2


def test_the_net_itself_stays_as_it_was() -> None:
    before = {name: value.clone() for name, value in NET.state_dict().items()}
    quantised(NET, 4, per_channel=True, calibration_images=IMAGES[:4])
    assert all(torch.equal(value, before[name]) for name, value in NET.state_dict().items())


@pytest.mark.parametrize("bits", [1, 0, -8, 17, 8.0, True, "8"])
def test_a_bit_width_out_of_range_is_refused(bits: int) -> None:
    with pytest.raises(QuantiseError, match="bits must be a whole number from 2 to 16, got"):
        quantised(NET, bits, per_channel=True, calibration_images=IMAGES)


def test_no_calibration_images_are_refused() -> None:
    with pytest.raises(QuantiseError, match="at least one calibration image"):
        quantised(NET, 8, per_channel=True, calibration_images=IMAGES[:0])
