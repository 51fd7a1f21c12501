"""A net with compiled kernels swapped in is the same net: parameters, names, copies; hooks are called or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ablate.errors import AblateError
from ablate.model.compiled import library
from ablate.model.fused import FusedBlock, FusedUnit, with_kernels
from ablate.model.nets import Net, build
from ablate.model.spec import NetSpec


@pytest.fixture(autouse=True)
def _compiled() -> None:
    if library() is None:
        pytest.skip("no C compiler here: torch's own kernels train, and these tests have nothing to look at")


def two_of(spec: NetSpec) -> tuple[Net, Net]:
    """The same net twice, with and without the kernels."""
    ours, plain = (build(spec, generator=torch.Generator().manual_seed(3)).train() for _ in range(2))
    return with_kernels(ours), plain


def test_swapping_them_in_moves_no_parameter_and_renames_none(tiny: Callable[..., NetSpec]) -> None:
    for residual in ("inverted", "classic"):
        ours, plain = two_of(tiny(residual=residual))
        assert list(ours.state_dict()) == list(plain.state_dict())
        assert [name for name, _ in ours.named_parameters()] == [name for name, _ in plain.named_parameters()]
        assert all(torch.equal(value, plain.state_dict()[name]) for name, value in ours.state_dict().items())
        assert all(isinstance(block, FusedBlock) for block in ours.blocks)
        assert isinstance(ours.stem, FusedUnit)


@pytest.mark.parametrize("place", ["stem.norm", "blocks.0.spatial", "blocks.0.expand.conv", "blocks.2.shortcut.conv"])
@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
def test_a_hook_is_called_on_a_built_net_and_refused_where_kernels_would_pass_it_by(
    place: str, kind: str, tiny: Callable[..., NetSpec]
) -> None:
    ours, plain = two_of(tiny())
    images = torch.randn(4, 3, 9, 9)
    called: list[str] = []
    for net in (ours, plain):
        getattr(net.get_submodule(place), kind)(lambda *_: called.append(place))
    if kind != "register_full_backward_hook":  # torch's own cannot be followed by what works in place
        plain(images).sum().backward()
        assert called == [place]
    with pytest.raises(AblateError, match=f"a hook on '.*{place.split('.')[-1]}' would not be called"):
        ours(images)


def test_a_hook_on_a_whole_block_is_called_with_kernels_too(tiny: Callable[..., NetSpec]) -> None:
    ours, plain = two_of(tiny())
    seen: list[Tensor] = []
    for net in (ours, plain):
        net.blocks[0].register_forward_hook(lambda _module, _inputs, out: seen.append(out.detach()))
        net(torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-4, atol=1e-4)


def test_a_copy_of_a_net_with_kernels_computes_with_its_own_weights(tiny: Callable[..., NetSpec]) -> None:
    net, images = two_of(tiny())[0].eval(), torch.randn(4, 3, 9, 9)
    with torch.no_grad():
        other = copy.deepcopy(net)
        before = net(images)
        for parameter in other.parameters():
            parameter.mul_(0.5)
        assert torch.equal(net(images), before)
        assert not torch.equal(other(images), before)
