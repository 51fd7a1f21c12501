"""How much memory a piece of work took on the device."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets the peak resident set size to the present one


def _status_bytes(field: str) -> int:
    """A field of /proc/self/status in bytes; the file has kB."""
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise OSError(f"{_STATUS} has no {field}")


def _highest_resident_bytes() -> int:
    """The largest resident set of the process so far."""
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _give_free_memory_back() -> None:
    """Collects garbage and returns the allocator's free pages to the system.

    Pages that are free but still resident would be used again by the work and hide what it takes.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)


class PeakMemory:
    """``with PeakMemory() as memory: work()``; then ``memory.bytes`` is what the work took at its peak.

    cuda: the most bytes of tensors on the device (torch.cuda.max_memory_allocated). cpu on Linux: how far the
    resident set rose above where it stood; elsewhere, and where the kernel does not let the peak be reset, by how
    much the process's all-time peak grew, which is 0 if it was higher before.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.bytes = 0
        self._before = 0
        self._resettable = False

    def __enter__(self) -> Self:
        if self.device.startswith("cuda"):
            import torch

            gc.collect()  # an earlier trial's tensors, as far as they wait for it
            torch.cuda.reset_peak_memory_stats(self.device)
            return self
        _give_free_memory_back()
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
            self._before, self._resettable = _status_bytes("VmRSS"), True
        except OSError:
            self._before, self._resettable = _highest_resident_bytes(), False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.device.startswith("cuda"):
            import torch

            self.bytes = torch.cuda.max_memory_allocated(self.device)
        else:
            peak = _status_bytes("VmHWM") if self._resettable else _highest_resident_bytes()
            self.bytes = max(0, peak - self._before)
