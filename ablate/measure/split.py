"""A block computed in parts of its inner tensor, so that only one part is in memory at a time.

arXiv:1801.04381, section 5.1: an inverted residual is a sum over groups of its wide channels, since the activation and
the depthwise convolution work channel by channel. The numbers are the same up to the order of additions.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ablate.measure.depth import SplitError, check_parts


class SplitBlock(nn.Module):
    """An inverted block for inference that computes its wide channels in ``parts`` parts, one after the other.

    Args:
        block: a block of a net of ours; its weights are shared, not copied.
        parts: a divisor of its wide channels; with 1 the whole inner tensor is made at once.

    Raises:
        SplitError: the block cannot be split, or ``parts`` does not divide.
    """

    def __init__(self, block: nn.Module, parts: int) -> None:
        super().__init__()
        children: dict[str, Any] = {
            name: child for name, child in block.named_children() if not isinstance(child, nn.Identity)
        }
        units = [name for name in children if name != "shortcut"]
        if units != ["expand", "spatial", "project"]:
            raise SplitError(f"this block cannot be split: it is {', '.join(units)}, not expand, spatial, project")
        if not all(isinstance(children[name].norm, nn.BatchNorm2d) for name in units):
            raise SplitError("this block cannot be split: its norms mix channels or images")
        spatial = children["spatial"].conv
        check_parts("this block", parts, spatial.in_channels, spatial.groups)
        self.block = block
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N narrow ceil(H/s) ceil(W/s), without gradients, by the running statistics of batch norm."""
        with torch.no_grad():
            return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        block: Any = self.block
        conv = block.project.conv
        stride = block.spatial.conv.stride[0]
        height, width = ((size - 1) // stride + 1 for size in x.shape[2:])
        out = x.new_zeros(len(x), conv.out_channels, height, width)
        size = conv.in_channels // self.parts
        for start in range(0, conv.in_channels, size):
            part = slice(start, start + size)
            inner = _unit(block.expand, functional.conv2d(x, block.expand.conv.weight[part]), part)
            spatial = block.spatial.conv.weight[part]
            inner = _unit(
                block.spatial, functional.conv2d(inner, spatial, None, stride, spatial.shape[-1] // 2, 1, size), part
            )
            weight = conv.weight[:, part, 0, 0].expand(len(x), -1, -1)
            out.view(len(x), conv.out_channels, -1).baddbmm_(weight, inner.flatten(2))
        out = _unit(block.project, out, slice(None))
        return out if block.shortcut is None else out.add_(block.shortcut(x))


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
        TorchDispatchMode.__init__(self)
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
