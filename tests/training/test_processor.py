from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from ablate.model.compiled import library
from ablate.training.processor import TORCH, kernels, processor


def test_threads_are_set_within_the_block_only() -> None:
    before = torch.get_num_threads()
    with processor(3):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("threads", "expected"), [(1, 0.0), (2, 1e-39)])
def test_tiny_numbers_are_flushed_with_one_thread_and_only_within_the_block(threads: int, expected: float) -> None:
    tiny = torch.tensor([1e-38])
    with processor(threads):
        assert (tiny * 0.1).double().item() == pytest.approx(expected)
    assert (tiny * 0.1).double().item() == pytest.approx(1e-39)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's mallopt")
def test_the_settings_that_are_in_force_are_told_and_no_others() -> None:
    code = """
from ablate.model.compiled import library
from ablate.training.processor import keep_memory, processor
def told(threads):
    with processor(threads) as settings:
        print(*settings)
told(1), told(2)
keep_memory()
told(1), told(2)
"""
    environment = {**os.environ, "ABLATE_KERNELS": "torch"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert answer.stdout.splitlines() == ["flush_denormal", "", "flush_denormal keep_memory", "keep_memory"]


@pytest.mark.skipif(library() is None, reason="no C compiler")
def test_compiled_kernels_are_for_one_thread_of_a_processor_and_float32() -> None:
    assert kernels("cpu", 1, "fp32").startswith("native")
    for elsewhere in (("cpu", 2, "fp32"), ("cpu", 1, "bf16"), ("cuda", 1, "fp32")):
        assert kernels(*elsewhere) == TORCH


@pytest.mark.skipif(sys.platform != "linux", reason="the fork server's preload is looked at through /proc")
def test_the_preload_starts_no_thread_of_torchs_and_leaves_nothing_to_import_in_a_step() -> None:
    code = """
import os, sys
import numpy, torch
threads = len(os.listdir("/proc/self/task"))
import ablate.training.preload
assert len(os.listdir("/proc/self/task")) == threads
assert not torch.cuda.is_initialized()
before = set(sys.modules)
from ablate.training.optim import make_optimizer
from ablate.design.study import Recipe
net = ablate.training.preload._net
make_optimizer(net, Recipe(optimizer="sgd"))
net(torch.zeros(2, 3, 8, 8)).sum().backward()
print(sorted(name for name in set(sys.modules) - before if not name.startswith("encodings")))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert answer.stderr == ""
    assert answer.stdout.strip() == "[]"
