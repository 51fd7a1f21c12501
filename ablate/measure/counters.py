"""Other people's counters, for the cross-check of ``cost``."""

from __future__ import annotations

import logging
import warnings

import torch
from torch.utils.flop_counter import FlopCounterMode

from ablate.measure.threads import threads
from ablate.model.nets import Net, build
from ablate.model.spec import NetSpec


def _meta_net(spec: NetSpec) -> Net:
    with torch.device("meta"):
        return build(spec).eval()


def count_params(spec: NetSpec) -> int:
    """Learnt numbers of the built net."""
    return sum(parameter.numel() for parameter in _meta_net(spec).parameters())


def count_torch_macs(spec: NetSpec, input_shape: tuple[int, int, int]) -> int:
    """Forward multiply-adds of one image by torch.utils.flop_counter, which counts two for each, on the meta device."""
    net = _meta_net(spec)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, *input_shape, device="meta"))
    return int(counter.get_total_flops()) // 2


def count_fvcore(spec: NetSpec, input_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Multiply-adds of convolutions and linear layers, and fvcore's total, which adds norm and pooling."""
    # One image is too little for two threads: they would only wait for each other, where others compute too.
    with warnings.catch_warnings(), torch.no_grad(), threads(1):
        warnings.simplefilter("ignore")  # seven on import, more from tracing
        from fvcore.nn import FlopCountAnalysis

        logging.getLogger("fvcore").setLevel(logging.ERROR)
        logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
        analysis = FlopCountAnalysis(build(spec, generator=torch.Generator()).eval(), torch.zeros(1, *input_shape))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        by_operator = analysis.by_operator()
    return int(by_operator["conv"] + by_operator["linear"]), int(sum(by_operator.values()))
