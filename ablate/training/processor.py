"""How the processor and the memory allocator are set for training."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ablate.model.fused import kernels_name

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
KEPT_BYTES = 1 << 30
TORCH = "torch"

_kept = False  # whether ``keep_memory`` has worked, here or in the server that this process was forked from


@contextmanager
def processor(threads: int) -> Iterator[tuple[str, ...]]:
    """``threads`` threads for torch until the block ends; with one, tiny numbers become 0.

    Tiny are those too small for a normal float. Adam's averages of a gradient that stays 0 (a channel that ReLU has
    switched off) shrink into that range, where a processor computes more slowly: a step of nothing else takes 1.5 times
    as long on an AMD EPYC. A pool of several threads takes the setting over or not, depending on when it was made, so
    there it stays off: the same trial gives the same bits at the same thread count.

    Gives what is set besides, as records name it: ``flush_denormal``, ``keep_memory``.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    flushes = torch.set_flush_denormal(threads == 1) and threads == 1
    try:
        settings = (("flush_denormal", flushes), ("keep_memory", _kept))
        yield tuple(name for name, is_set in settings if is_set)
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def kernels(device: str, threads: int, precision: str) -> str:
    """The kernels that a trial trains on, as records name them: "native avx2", or "torch".

    The compiled ones (ablate/model/fused.py) are for one thread of a processor and float32.
    """
    native = kernels_name() if (device, threads, precision) == ("cpu", 1, "fp32") else None
    return native or TORCH


def keep_memory() -> bool:
    """Lets this process keep the memory that it frees, for good; whether the C library can (glibc).

    By default every large activation is mapped anew and its pages cleared at each step: 2,000 page faults a step of
    the small MNIST net at batch 64, which take 4 of 51 ms on one core of an AMD EPYC; kept, it is under 100.
    """
    global _kept
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    _kept = bool(mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
    return _kept
