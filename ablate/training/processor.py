"""How the processor is set while a trial trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def processor(threads: int) -> Iterator[None]:
    """``threads`` threads for torch, and numbers too small for a normal float taken as 0, until the block ends.

    Adam's averages of a gradient that stays 0 (a channel that ReLU has switched off) shrink into that range, where
    the processor computes many times more slowly.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)
