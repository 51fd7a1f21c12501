"""The processor's name and abilities, without torch."""

from __future__ import annotations

import functools
import platform
from pathlib import Path


@functools.cache
def cpu_facts() -> tuple[str, frozenset[str]]:
    """Model name, and the words of the flags line of /proc/cpuinfo; the latter only on Linux."""
    name = platform.processor() or platform.machine()
    flags: frozenset[str] = frozenset()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return name, flags
    for line in lines:
        field, _, value = (part.strip() for part in line.partition(":"))
        if field == "model name":
            name = value
        elif field in ("flags", "Features"):
            return name, frozenset(value.split())
    return name, flags
