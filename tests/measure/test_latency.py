from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
import torch

from ablate.measure import latency
from ablate.measure.cost import estimate
from ablate.measure.latency import Latency, in_turns, latencies, with_latency
from ablate.model.zoo import mobilenet_v2_mnist

NETS = {"one": mobilenet_v2_mnist(), "half": mobilenet_v2_mnist(width_mult=0.5)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes time pass only where a test says so; returns what lets it."""
    now = {"wall": 0.0, "thread": 0.0}

    def spend(wall: float, thread: float | None = None) -> None:
        now["wall"] += wall
        now["thread"] += wall if thread is None else thread

    monkeypatch.setattr(time, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(time, "thread_time", lambda: now["thread"])
    return spend


def test_functions_take_turns_and_each_has_its_median_and_range(clock: Callable[..., None]) -> None:
    called: list[str] = []
    takes = {"a": itertools.cycle([0.1, 0.3, 0.2, 0.9, 0.2]), "b": itertools.repeat(0.05)}

    def make(name: str) -> Callable[[], None]:
        return lambda: (called.append(name), clock(next(takes[name])))[0]

    found = in_turns({name: make(name) for name in takes})
    measured = called[2 * latency._WARM_UP :]
    assert measured == ["a", "b"] * (len(measured) // 2)
    assert found["a"].repeats == found["b"].repeats == len(measured) // 2 >= 5
    assert (found["a"].median_ms, found["a"].low_ms, found["a"].high_ms) == pytest.approx((200, 100, 900))
    assert found["b"] == Latency(
        pytest.approx(50), pytest.approx(50), pytest.approx(50), found["b"].repeats, busy=False
    )


@pytest.mark.parametrize(("thread", "busy"), [(0.1, False), (0.05, True)])
def test_a_machine_that_computes_for_others_too_is_told(clock: Callable[..., None], thread: float, busy: bool) -> None:
    assert in_turns({"a": lambda: clock(0.1, thread)})["a"].busy == busy


def test_every_net_is_timed_and_the_threads_are_set_back() -> None:
    torch.set_num_threads(2)
    try:
        found = latencies(NETS, (1, 28, 28), batch_sizes={"one": 1, "half": 2})
        assert found.keys() == NETS.keys()
        assert all(0 < each.low_ms <= each.median_ms <= each.high_ms for each in found.values())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_costs_take_the_latency_of_one_image_and_of_a_batch() -> None:
    costs = {name: estimate(spec, (1, 28, 28)) for name, spec in NETS.items()}
    found = with_latency(costs, NETS, (1, 28, 28), batch_sizes={"one": 2, "half": 3})
    for name, cost in found.items():
        assert cost.params == costs[name].params
        assert None not in (cost.latency_low_ms, cost.latency_high_ms, cost.latency_busy)
        assert 0 < (cost.latency_batch_low_ms or 0) <= (cost.latency_batch_ms or 0) <= (cost.latency_batch_high_ms or 0)
