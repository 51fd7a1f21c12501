from __future__ import annotations

import pytest
import torch

from ablate.measure import memory
from ablate.measure.memory import PeakMemory


def test_the_peak_is_seen_even_when_the_memory_was_given_back() -> None:
    with PeakMemory() as measured:
        torch.ones(10_000_000).sum()
    assert 39e6 < measured.bytes < 60e6


def test_work_that_takes_nothing_measures_next_to_nothing() -> None:
    torch.ones(10_000_000).sum()
    with PeakMemory() as measured:
        pass
    assert measured.bytes < 2e6


def test_where_the_kernel_does_not_reset_the_peak_the_growth_of_the_all_time_peak_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path_factory.mktemp("proc") / "missing" / "clear_refs")
    with PeakMemory() as first:
        torch.ones(60_000_000).sum()
    with PeakMemory() as second:
        torch.ones(10_000_000).sum()
    assert 0 <= first.bytes < 300e6
    assert second.bytes == 0


@pytest.mark.gpu
def test_on_a_gpu_the_most_bytes_of_tensors_are_given() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    with PeakMemory("cuda") as measured:
        torch.ones(10_000_000, device="cuda")
    assert measured.bytes >= 40_000_000
