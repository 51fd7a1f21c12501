"""The kernels as a wheel brings them: compiled once for each kind of processor, at the wheel's build.

Only the standard library is imported here, since hatch_build.py runs this file in an environment without the package's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parent / "native"
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared")
LIMIT_S = 60  # for the compiler; it takes seconds


class Variant(NamedTuple):
    """A kind of processor: its name in records, the compiler's options, and the abilities that it must have."""

    name: str
    options: tuple[str, ...]
    needs: frozenset[str]


VARIANTS = (  # the best first
    Variant("avx512f", ("-march=x86-64-v4",), frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})),
    Variant("avx2", ("-march=x86-64-v3",), frozenset({"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe", "abm"})),
)


def file_of(name: str, folder: Path = SOURCES) -> Path:
    """Where a wheel has the kernels of a variant; there is no such file in a checkout."""
    return folder / f"kernels-{name}.so"


def suitable(abilities: Collection[str], folder: Path = SOURCES) -> Variant | None:
    """The best variant that is there and that a processor with these abilities can run; None where there is none.

    Args:
        abilities: words of the flags line of /proc/cpuinfo.
        folder: where the files are.
    """
    return next((one for one in VARIANTS if one.needs <= set(abilities) and file_of(one.name, folder).is_file()), None)


def compile_all(compiler: Sequence[str], folder: Path) -> list[Path]:
    """Compiles every variant.

    Args:
        compiler: its command, in words.
        folder: where the files go.

    Raises:
        OSError, subprocess.SubprocessError: the compiler cannot be run, fails, or takes too long.
    """
    sources = [str(source) for source in sorted(SOURCES.glob("*.c"))]
    made = []
    for variant in VARIANTS:
        file = file_of(variant.name, folder)
        command = [*compiler, *FLAGS, *variant.options, "-o", str(file), *sources, "-lm"]
        subprocess.run(command, check=True, timeout=LIMIT_S)  # noqa: S603 - no shell
        made.append(file)
    return made
