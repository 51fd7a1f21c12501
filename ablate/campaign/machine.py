"""What this machine offers: how many trials at a time, and on which device."""

from __future__ import annotations

import os
import shutil

from ablate.errors import AblateError

DEVICES = ("auto", "cpu", "cuda")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def choose_jobs(asked: int | None, device: str) -> int:
    """Trials at a time: one a core, or one a GPU, where nothing is asked for.

    Raises:
        AblateError: fewer than one.
    """
    if asked is not None and asked < 1:
        raise AblateError(f"--jobs must be at least 1, got {asked}")
    return asked or (cores() if device == "cpu" else 1)
