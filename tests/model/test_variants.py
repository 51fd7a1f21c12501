"""A wheel brings its kernels compiled: a process picks the variant for its processor, and needs no compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ablate
from ablate.cpu import cpu_facts
from ablate.model.compiled import _compiler
from ablate.model.variants import SOURCES, VARIANTS, compile_all, file_of, suitable

AVX512, AVX2 = VARIANTS
TRAINS = """
import torch
from ablate.model.fused import absence, kernels_name
print(kernels_name(), absence())
"""


def test_the_best_variant_that_is_there_and_that_the_processor_can_run_is_picked(tmp_path: Path) -> None:
    everything = AVX512.needs | AVX2.needs
    assert suitable(everything, tmp_path) is None
    file_of("avx2", tmp_path).touch()
    assert suitable(everything, tmp_path) == AVX2
    file_of("avx512f", tmp_path).touch()
    assert suitable(everything, tmp_path) == AVX512
    assert suitable(AVX2.needs, tmp_path) == AVX2
    for missing in AVX2.needs:
        assert suitable(AVX2.needs - {missing}, tmp_path) is None


def test_a_checkout_has_no_compiled_kernels() -> None:
    assert not list(SOURCES.glob("*.so"))


@pytest.mark.skipif(_compiler() is None or not AVX2.needs <= cpu_facts()[1], reason="no C compiler, or no AVX2")
def test_the_kernels_of_a_wheel_give_torchs_numbers_without_a_compiler(tmp_path: Path) -> None:
    """Each process compares them with torch before it names them; without a file that loads, torch's own are used."""
    installed = tmp_path / "ablate"
    shutil.copytree(Path(ablate.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__"))
    made = compile_all(_compiler() or (), installed / "model" / "native")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CC": str(tmp_path / "none")}

    def told() -> str:
        call = [sys.executable, "-c", TRAINS]
        return subprocess.run(call, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    best = suitable(cpu_facts()[1], installed / "model" / "native")
    assert best is not None
    assert told().strip() == f"wheel {best.name} None"
    for file in made:
        file.write_bytes(b"cut short")
    assert told().strip().startswith("None No C compiler was found")
