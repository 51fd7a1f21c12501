"""What any torch module costs: counted by torch's counter and by fvcore, on a net that knows no list of its layers."""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from ablate.measure.cost import BYTES, OPTIMIZER_STATE, Cost
from ablate.measure.threads import threads

# The operators of fvcore's count that multiply and add, as torch's counter understands it.
_FVCORE_MACS = ("conv", "linear", "matmul", "bmm", "baddbmm", "addmm", "einsum", "scaled_dot_product_attention")
_MANY = 8  # operators that a remark lists


def module_cost(
    net: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    batch_size: int = 64,
    optimizer: str = "adamw",
    by_fvcore: bool = True,
) -> tuple[Cost, tuple[str, ...]]:
    """The cost of a module, and remarks: where two counters disagree, and what neither of them counts.

    MACs are torch's (``torch.utils.flop_counter``, two FLOPs each). Training FLOPs are three forward passes less the
    input gradient of the first operation. ``train_peak_bytes`` is made of parameters, gradients, optimiser state, and
    the tensors that autograd saves in a forward pass; ``inference_peak_bytes`` is the largest sum of an operation's
    inputs and outputs, where norms and activations work in place. A module has no blocks, so no peak by blocks either.

    Args:
        net: takes images N C H W; it is not changed.
        input_shape: C H W of an image.
        batch_size: of the training, for the memory of a step.
        optimizer: likewise.
        by_fvcore: whether fvcore counts too, which takes seconds.

    Example:
        >>> cost, remarks = module_cost(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)), (3, 10, 10))
        >>> cost.macs == 100 * 8 * 3 * 9, remarks
        (True, ())
    """
    counted = copy.deepcopy(net)
    params = sum(parameter.numel() for parameter in net.parameters())
    macs, walk, remarks = _forward(counted, input_shape)
    fvcore_macs, fvcore_flops, more = _by_fvcore(net, input_shape) if by_fvcore else (None, None, [])
    if fvcore_macs is not None and fvcore_macs != macs:
        remarks.append(f"torch counts {macs:,} MACs, fvcore {fvcore_macs:,} (MACs shown are torch's)")
    saved = _saved_elements(counted, input_shape)
    cost = Cost(
        params=params,
        macs=macs,
        flops=2 * macs,
        train_flops=2 * 3 * macs - walk.first_flops,
        inference_peak_bytes=BYTES * walk.largest,
        inference_peak_block_bytes=None,
        train_peak_bytes=BYTES * (params * (2 + OPTIMIZER_STATE[optimizer]) + saved * batch_size),
        fvcore_flops=fvcore_flops,
    )
    return cost, (*remarks, *more)


class _Walk(TorchDispatchMode):
    """Meets every operation of a forward pass: the first that multiplies, and the largest inputs with outputs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.first_flops = 0
        self.largest = 0
        self._learnt = {id(tensor) for tensor in (*net.parameters(), *net.buffers())}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None and not self.first_flops:
            self.first_flops = int(count(*args, **(kwargs or {}), out_val=out))
        read = [one for one in _tensors(args) if id(one) not in self._learnt]
        written = _tensors((out,))
        # as in the arithmetic on our nets: norms and activations work in place, and a view moves nothing
        in_place = count is None and len(read) == 1 and any(one.shape == read[0].shape for one in written)
        if not (func.is_view or in_place):
            self.largest = max(self.largest, sum(one.numel() for one in (*read, *written)))
        return out


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    found = []
    for one in values:
        if isinstance(one, Tensor):
            found.append(one)
        elif isinstance(one, list | tuple):
            found += _tensors(one)
    return found


@torch.no_grad()
def _forward(net: nn.Module, input_shape: tuple[int, int, int]) -> tuple[int, _Walk, list[str]]:
    """MACs of one image on the meta device, where no number is computed; on the processor if the net needs numbers."""
    remarks = []
    for device in ("meta", "cpu"):
        placed = copy.deepcopy(net).to(device).eval()
        walk = _Walk(placed)
        try:
            with threads(1), FlopCounterMode(display=False) as counter, walk:
                placed(torch.zeros(1, *input_shape, device=device))
        except (RuntimeError, NotImplementedError, ValueError):
            if device == "cpu":
                raise
            remarks.append("its forward pass looks at the numbers, so that it was counted on real ones")
        else:
            break
    return int(counter.get_total_flops()) // 2, walk, [] if device == "meta" else remarks


def _saved_elements(net: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Numbers that autograd saves for the backward pass, an image, without parameters and buffers; each tensor once."""
    training = copy.deepcopy(net).train()
    learnt = {tensor.untyped_storage().data_ptr() for tensor in (*training.parameters(), *training.buffers())}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in learnt:
            saved[place] = max(saved.get(place, 0), tensor.untyped_storage().nbytes() // tensor.element_size())
            kept.append(tensor)  # or its place would be used again
        return tensor

    kept: list[Tensor] = []
    images = torch.zeros(2, *input_shape)  # two, since batch norm refuses one value a channel
    with threads(1), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        training(images)
    return math.ceil(sum(saved.values()) / len(images))


def _by_fvcore(net: nn.Module, input_shape: tuple[int, int, int]) -> tuple[int | None, int | None, list[str]]:
    """Fvcore's multiply-adds, its total, and remarks; None where it cannot trace the net."""
    with warnings.catch_warnings(), torch.no_grad(), threads(1):
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        for name in ("fvcore", "fvcore.nn.jit_analysis"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            analysis = FlopCountAnalysis(copy.deepcopy(net).eval(), torch.zeros(1, *input_shape))
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            by_operator = analysis.by_operator()
        except Exception as error:  # noqa: BLE001 - tracing may raise anything about foreign code
            why = next(iter(str(error).splitlines()), "")
            return None, None, [f"fvcore cannot trace it ({type(error).__name__}: {why[:120]})"]
    missed = sorted(name.removeprefix("aten::") for name in analysis.unsupported_ops())
    remarks = [f"fvcore does not count {_listed(missed)}"] if missed else []
    macs = sum(count for name, count in by_operator.items() if name in _FVCORE_MACS)
    return int(macs), int(sum(by_operator.values())), remarks


def _listed(names: list[str]) -> str:
    more = len(names) - _MANY
    return ", ".join(names[:_MANY]) + (f" and {more} more" if more > 0 else "")
