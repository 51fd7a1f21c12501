"""The worker layout, with processors, memory and measurements made up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import outcome, plan_of
from hypothesis import given
from hypothesis import strategies as st

from ablate.campaign import resources
from ablate.campaign.options import RunOptions
from ablate.campaign.resources import SHARED_BYTES, Layout, choose_device, choose_layout, disk_bytes, worker_bytes
from ablate.design.record import Record
from ablate.errors import AblateError

GB = 1_000_000_000
PLAN = plan_of("control", "other", seeds=50, epochs=1000)
WORKER = worker_bytes(PLAN, PLAN.trials, [])


def chosen(
    *, cores: int = 4, memory: int = 100 * GB, records: tuple[Record, ...] = (), **options: object
) -> tuple[Layout, list[str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "cores", lambda: cores)
        patch.setattr(resources, "available_bytes", lambda: memory)
        how = RunOptions(**{"device": "cpu", **options})  # type: ignore[arg-type]
        return choose_layout(PLAN, how, PLAN.trials, {record.key: record for record in records})


def ran_with(threads: int, number: int = 0, started_at: float = 1.0, peak_bytes: int = 0) -> Record:
    record = outcome(PLAN.trials[number])
    measured = replace(record.measured, threads=threads, started_at=started_at, peak_bytes=peak_bytes)
    return replace(record, measured=measured)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (4, 1)),
        ({"jobs": 3}, (3, 1)),
        ({"threads": 2}, (2, 2)),
        ({"jobs": 7, "threads": 3}, (7, 3)),
        ({"threads": 9}, (1, 9)),
    ],
)
def test_every_processor_trains_a_trial_of_its_own_unless_told_otherwise(
    options: dict[str, int], expected: tuple[int, int]
) -> None:
    assert chosen(**options) == (Layout(*expected), [])


@given(cores=st.integers(1, 200), memory=st.integers(0, 10**12))
def test_no_more_workers_than_processors_and_memory_hold_and_never_fewer_than_one(cores: int, memory: int) -> None:
    layout, said = chosen(cores=cores, memory=memory)
    assert layout.jobs * layout.threads <= cores
    assert layout.jobs == 1 or SHARED_BYTES + layout.jobs * WORKER <= memory
    if layout.jobs < cores and SHARED_BYTES + (layout.jobs + 1) * WORKER <= memory:
        raise AssertionError("there is room for another")
    assert bool(said) == (layout.jobs < cores)


def test_memory_cuts_the_number_of_jobs_and_says_so_but_jobs_that_are_asked_for_win() -> None:
    tight = SHARED_BYTES + 2 * WORKER + WORKER // 2
    layout, (said,) = chosen(memory=tight)
    assert layout == Layout(2, 2)
    assert "2 run at a time, not 4. --jobs N overrides this." in said
    layout, (said,) = chosen(memory=tight, jobs=4)
    assert layout.jobs == 4
    assert "4 at a time may run out of memory" in said


def test_a_campaign_keeps_the_threads_of_its_first_trials() -> None:
    records = (ran_with(2, number=0, started_at=5.0), ran_with(1, number=1, started_at=9.0))
    assert chosen(records=records) == (Layout(2, 2), ["2 threads a trial, as this campaign began."])
    layout, (said,) = chosen(records=records, threads=1)
    assert layout == Layout(4, 1)
    assert "ran with 2 threads, these run with 1" in said
    failed = replace(ran_with(3), status="failed")
    assert chosen(records=(failed,)) == (Layout(4, 1), [])


def test_measured_peaks_correct_the_estimate_of_their_own_arm_and_of_the_others() -> None:
    peaked = ran_with(1, peak_bytes=10 * GB)
    assert worker_bytes(PLAN, [PLAN.trials[0]], [peaked]) == pytest.approx(10 * GB, rel=0.1)
    assert worker_bytes(PLAN, [PLAN.trials[1]], [peaked]) > 10 * GB  # the other arm is larger
    assert worker_bytes(PLAN, PLAN.trials, [replace(peaked, status="failed")]) == WORKER


def test_disk_grows_with_trials_epochs_and_kept_weights() -> None:
    keeping = replace(PLAN, study=PLAN.study.model_copy(update={"keep_weights": True}))
    short = plan_of("control", "other", seeds=50, epochs=1)
    assert disk_bytes(PLAN, 100, 1) > disk_bytes(PLAN, 10, 1)
    assert disk_bytes(PLAN, 100, 1) > disk_bytes(short, 100, 1)
    assert disk_bytes(keeping, 100, 1) > disk_bytes(PLAN, 100, 1)


@pytest.mark.parametrize(("gpus", "device"), [(None, "cpu"), (0.25, "cuda"), (0.0, "cpu")])
def test_trials_on_a_cluster_run_on_gpus_where_they_take_some(gpus: float | None, device: str) -> None:
    assert choose_device(RunOptions(executor="ray", gpus_per_trial=gpus)) == device


def test_a_gpu_that_is_not_here_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(AblateError, match="--device cuda: torch finds no CUDA device here"):
        choose_device(RunOptions(device="cuda"))


def test_constants_that_are_written_twice_agree() -> None:
    from ablate.training import feed

    assert feed.EVAL_BATCH == resources.EVAL_BATCH
