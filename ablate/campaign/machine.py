"""What this machine offers: processors, memory, and on which device trials run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ablate.campaign import cgroup
from ablate.errors import AblateError

DEVICES = ("auto", "cpu", "cuda")


def cores() -> int:
    """Processors that this process may use: those it may run on, and no more than its control group's time is worth."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = cgroup.processors()
    return seen if share is None else max(1, min(seen, int(share)))


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that can still be taken, the control group's limit respected; None where the system does not say.

    Args:
        root: where ``proc`` and ``sys`` lie. Without them, as on macOS, all the memory there is counts as free.
    """
    found = [cgroup.memory_left(root)]
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((number for number in found if number is not None), default=None)


def choose_device(asked: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` takes cuda where there is one. Torch is loaded only if a GPU may be there.

    Raises:
        AblateError: ``cuda`` is asked for and there is none.
    """
    if asked == "cpu" or (asked == "auto" and shutil.which("nvidia-smi") is None):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise AblateError("--device cuda: torch finds no CUDA device here; --device cpu works everywhere")
    return "cpu"


def choose_jobs(asked: int | None, device: str, threads: int | None = None) -> int:
    """Trials at a time, to foretell by: as many as the cores hold, or one a GPU, where nothing is asked for.

    Raises:
        AblateError: fewer than one, or fewer than one thread each.
    """
    for name, number in (("jobs", asked), ("threads", threads)):
        if number is not None and number < 1:
            raise AblateError(f"--{name} must be at least 1, got {number}")
    return asked or (max(1, cores() // (threads or 1)) if device == "cpu" else 1)
