"""What a trial ran on: processor, versions, commit; and whether it can do what the recipe asks."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

import torch

import ablate
from ablate.cpu import cpu_facts
from ablate.errors import AblateError

BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # x86, x86, Arm: as /proc/cpuinfo spells them


def check_device(device: str, precision: str) -> None:
    """Refuses what this machine cannot do.

    Raises:
        AblateError: no such device, or bf16 where the processor would emulate it (40 to 500 times slower than fp32).
    """
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise AblateError(f"device must be cpu or cuda, got {device!r}")
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise AblateError(f"device {device!r}: torch {torch.__version__} finds no CUDA device; use --device cpu")
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise AblateError(f"recipe.precision bf16: {hardware_name(device)} has no bf16; use fp32")
    elif precision == "bf16" and not BF16_FLAGS & cpu_facts()[1]:
        raise AblateError(f"recipe.precision bf16: {hardware_name(device)} has neither AVX512-BF16 nor AMX; use fp32")


def hardware_name(device: str) -> str:
    """The model name of the processor or the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return cpu_facts()[0]


@functools.cache
def versions() -> dict[str, str]:
    """Of python and the packages that decide a trial's numbers."""
    return {
        "ablate": ablate.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
    }
