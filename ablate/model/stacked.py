"""K nets of one architecture as one net whose channels are K times as many, so that they train together.

Net k has the channels from k * C to (k + 1) * C of every map. What works on each channel alone (depthwise convolution,
batch norm, activation, pooling) is one operation with more channels; what mixes channels becomes a batch of K matrix
products, or a convolution in K groups. Nothing flows from one net to another.

Every parameter, running statistic and optimiser state of the stack is that of the K nets, one after the other along
the first dimension (``joined``), and is taken apart the same way (``parted``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ablate.model.kernels import convolution
from ablate.model.nets import Net


class PointwiseStack(nn.Module):
    """K 1x1 convolutions without bias, each on its own channels.

    Args:
        count: K.
        in_channels, out_channels: C and C' of each.
        stride: as of the convolutions.
    """

    def __init__(self, count: int, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.count = count
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(count * out_channels, in_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """N K*C H W to N K*C' ceil(H/s) ceil(W/s), channels_last in memory."""
        last = x[:, :, :: self.stride, :: self.stride].permute(0, 2, 3, 1)
        batch, height, width, _ = last.shape
        out = _products(last.reshape(batch * height * width, -1), self.weight.flatten(1), self.count)
        return out.view(batch, height, width, -1).permute(0, 3, 1, 2)


class LinearStack(nn.Module):
    """K linear layers, each on its own features; arguments as of ``PointwiseStack``."""

    def __init__(self, count: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.empty(count * out_features, in_features))
        self.bias = nn.Parameter(torch.empty(count * out_features))

    def forward(self, x: Tensor) -> Tensor:
        """N K*C to N K*C'."""
        return _products(x, self.weight, self.count) + self.bias


def _products(x: Tensor, weight: Tensor, count: int) -> Tensor:
    """K matrix products side by side: M K*C with K*C' C to M K*C'."""
    rows = x.view(len(x), count, -1).transpose(0, 1)
    out = torch.bmm(rows, weight.view(count, -1, weight.shape[1]).transpose(1, 2))
    return out.transpose(0, 1).reshape(len(x), -1)


def stack(nets: Sequence[Net]) -> Net:
    """One net that holds these, of one spec and on one device; images N K*C H W to logits N K*classes.

    In evaluation, and in training for dropout that is given K generators, net k's logits are those of ``nets[k]`` on
    its own images, up to the order in which floating-point numbers are added.
    """
    count, device = len(nets), next(nets[0].parameters()).device
    with torch.device("meta"):
        whole = Net(nets[0].spec)
        for path, module in list(whole.named_modules()):
            parent, _, name = path.rpartition(".")
            if (stacked := _stacked(module, count)) is not None:
                setattr(whole.get_submodule(parent), name, stacked)
    whole.to_empty(device=device)
    whole.load_state_dict(joined([net.state_dict() for net in nets]))
    return whole.to(memory_format=torch.channels_last)


def _stacked(module: nn.Module, count: int) -> nn.Module | None:
    if isinstance(module, nn.Conv2d):
        (kernel, _), (stride, _) = module.kernel_size, module.stride
        if kernel == 1 and module.groups == 1:
            return PointwiseStack(count, module.in_channels, module.out_channels, stride)
        return convolution(
            count * module.in_channels, count * module.out_channels, kernel, stride, count * module.groups
        )
    if isinstance(module, nn.BatchNorm2d):
        return nn.BatchNorm2d(count * module.num_features)
    if isinstance(module, nn.Linear):
        return LinearStack(count, module.in_features, module.out_features)
    return None


def joined(states: Sequence[Any]) -> Any:
    """One state dict of several: tensors one after the other, what has no dimension as the first has it."""
    first = states[0]
    if isinstance(first, Mapping):
        return {name: joined([state[name] for state in states]) for name in first}
    return torch.cat(list(states)) if isinstance(first, Tensor) and first.ndim else first


def parted(state: Any, count: int) -> list[Any]:
    """The inverse of ``joined``, every tensor with memory of its own."""
    if isinstance(state, Mapping):
        parts = {name: parted(value, count) for name, value in state.items()}
        return [{name: part[k] for name, part in parts.items()} for k in range(count)]
    if not isinstance(state, Tensor):
        return [state] * count
    return [part.clone() for part in (state.chunk(count) if state.ndim else [state] * count)]
