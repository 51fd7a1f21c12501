"""A block computed in parts of its inner tensor, so that only one part is in memory at a time.

arXiv:1801.04381, section 5.1: an inverted residual is a sum over groups of its wide channels, since the activation and
the depthwise convolution work channel by channel. The numbers are the same up to the order of additions.
"""

from __future__ import annotations

import weakref
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ablate.measure.depth import SplitError, check_parts
from ablate.model.blocks import Block, ConvUnit


class SplitBlock(nn.Module):
    """An inverted block for inference that computes its wide channels in ``parts`` parts, one after the other.

    Args:
        block: an inverted block with an expansion and a depthwise convolution; its weights are shared, not copied.
        parts: a divisor of its wide channels; with 1 the whole inner tensor is made at once.

    Raises:
        SplitError: the block cannot be split, or ``parts`` does not divide.
    """

    def __init__(self, block: Block, parts: int) -> None:
        super().__init__()
        found = [part.name for part in block.part.body]
        if found == ["spatial", "project"]:
            raise SplitError("this block cannot be split: it has no expansion, so no wide inner tensor")
        if found != ["expand", "spatial", "project"]:
            raise SplitError(f"this block cannot be split: it is {', '.join(found)}, not expand, spatial, project")
        self.expand, self.spatial, self.project = cast("list[ConvUnit]", block.body)
        check_parts("this block", parts, self.spatial.conv.in_channels, self.spatial.conv.groups)
        self.shortcut = block.shortcut
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N narrow ceil(H/s) ceil(W/s), without gradients, by the running statistics of batch norm."""
        with torch.no_grad():
            return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        conv, spatial = self.project.conv, self.spatial.conv
        stride = spatial.stride[0]
        height, width = ((size - 1) // stride + 1 for size in x.shape[2:])
        out = x.new_zeros(len(x), conv.out_channels, height, width)
        size = conv.in_channels // self.parts
        for start in range(0, conv.in_channels, size):
            part = slice(start, start + size)
            inner = _unit(self.expand, functional.conv2d(x, self.expand.conv.weight[part]), part)
            weight, padding = spatial.weight[part], spatial.padding
            inner = _unit(self.spatial, functional.conv2d(inner, weight, None, stride, padding, 1, size), part)
            weight = conv.weight[:, part, 0, 0].expand(len(x), -1, -1)
            out.view(len(x), conv.out_channels, -1).baddbmm_(weight, inner.flatten(2))
        out = _unit(self.project, out, slice(None))
        return out if self.shortcut is None else out.add_(self.shortcut(x))


def _unit(unit: nn.Module, x: Tensor, part: slice) -> Tensor:
    """Batch norm by the running statistics, and the activation, of the channels in ``part``, in place."""
    norm: nn.BatchNorm2d = unit.norm  # type: ignore[assignment]
    scale = norm.weight[part] * (norm.running_var[part] + norm.eps).rsqrt()  # type: ignore[index]
    shift = norm.bias[part] - norm.running_mean[part] * scale  # type: ignore[index]
    y: Tensor = unit.activation(x.mul_(scale[:, None, None]).add_(shift[:, None, None]))  # type: ignore[operator]
    return y


class LiveTensors(TorchDispatchMode):
    """``with LiveTensors() as live: work()``; then ``live.peak_bytes`` is the most that new tensors took at a time.

    It counts the memory of tensors that operations return while they are alive, so it is the same on every run and
    machine. Tensors that were there before, and workspaces inside an operation, are not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes = 0
        self._bytes: dict[int, int] = {}  # by storage; 0 for one that was there before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._note((args, kwargs), new=False)
        out = func(*args, **(kwargs or {}))
        self._note(out, new=True)
        self.peak_bytes = max(self.peak_bytes, sum(self._bytes.values()))
        return out

    def _note(self, values: Any, *, new: bool) -> None:
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and id(storage := value.untyped_storage()) not in self._bytes:
                self._bytes[id(storage)] = storage.nbytes() * new
                weakref.finalize(storage, self._bytes.pop, id(storage), None)
