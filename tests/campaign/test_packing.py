"""How a campaign is spread over the processors, with machines, memory and measurements made up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import no_costs, outcome, plan_of
from hypothesis import given
from hypothesis import strategies as st
from instant import Instant

from ablate.campaign import dispatch, packer
from ablate.campaign.machine import available_bytes
from ablate.campaign.packer import STEPS, Machine, Packer, Rates, Wanted, measure_aside
from ablate.campaign.packing import (
    EVAL_BATCH,
    SHARED_BYTES,
    Packing,
    candidates,
    fitting,
    quickest,
    worker_bytes,
)
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.errors import AblateError

GB = 1_000_000_000
FOUR = Machine(cores=4, memory=100 * GB, name="made up")
LONG = plan_of("control", "other", seeds=50, epochs=1000)  # hours, by the forecast
SHORT = plan_of("control", seeds=1, epochs=1)


class Bench:
    """Measures whatever it is told to have measured: rates by jobs; counts how often it is asked."""

    def __init__(self, **rates: float) -> None:
        self.rates = {int(jobs.removeprefix("jobs")): rate for jobs, rate in rates.items()}
        self.asked: list[Sequence[Packing]] = []
        self.said: list[str] = []

    def __call__(self, plan: CampaignPlan, packings: Sequence[Packing], say: object) -> Rates:
        self.asked.append(packings)
        return {packing: self.rates[packing.jobs] for packing in packings}

    def choose(
        self,
        folder: Path,
        plan: CampaignPlan = LONG,
        machine: Machine = FOUR,
        *,
        jobs: int | None = None,
        threads: int | None = None,
        records: Sequence[Record] = (),
    ) -> Packing:
        chooser = Packer(
            plan=plan, folder=folder, wanted=Wanted(jobs, threads), say=self.said.append, machine=machine, measure=self
        )
        return chooser.choose(plan.trials, {record.key: record for record in records})


def ran_with(threads: int, plan: CampaignPlan = LONG, number: int = 0, started_at: float = 1.0) -> Record:
    record = outcome(plan.trials[number])
    return replace(record, measured=replace(record.measured, threads=threads, started_at=started_at))


@given(cores=st.integers(1, 200), most=st.integers(1, 300))
def test_candidates_use_no_more_cores_and_no_more_workers_than_there_is_room_for(cores: int, most: int) -> None:
    found = candidates(cores, most)
    assert found[0] == Packing(min(most, cores), cores // min(most, cores))
    assert Packing(1, cores) in found
    assert all(1 <= p.jobs <= min(most, cores) and p.threads >= 1 and p.jobs * p.threads <= cores for p in found)
    assert len(set(found)) == len(found)


@given(available=st.integers(0, 10**12), worker=st.integers(1, 10**11))
def test_no_more_workers_than_fit_and_never_fewer_than_one(available: int, worker: int) -> None:
    most = fitting(available, worker)
    assert most is not None
    assert most == 1 or SHARED_BYTES + most * worker <= available
    assert SHARED_BYTES + (most + 1) * worker > available


@given(
    rates=st.dictionaries(
        st.integers(1, 64).map(lambda jobs: Packing(jobs, 1)), st.floats(1, 1e6), min_size=1, max_size=6
    ),
    trials=st.integers(1, 500),
)
def test_no_packing_is_through_much_earlier_than_the_chosen_one(rates: Rates, trials: int) -> None:
    def simulated(packing: Packing) -> float:
        left, clock = trials, 0.0
        while left > 0:
            left, clock = left - packing.jobs, clock + packing.jobs / rates[packing]
        return clock

    chosen = simulated(quickest(rates, trials))
    assert all(chosen <= 1.0501 * simulated(packing) for packing in rates)


def test_one_thread_a_trial_stays_where_more_gain_next_to_nothing() -> None:
    assert quickest({Packing(2, 1): 1000, Packing(1, 2): 1030}, 100) == Packing(2, 1)
    assert quickest({Packing(2, 1): 1000, Packing(1, 2): 1100}, 100) == Packing(1, 2)


def test_two_trials_do_not_leave_most_of_the_cores_idle() -> None:
    rates = {Packing(16, 1): 16.0, Packing(2, 8): 12.0, Packing(1, 16): 7.0}
    assert quickest(rates, 100) == Packing(16, 1)
    assert quickest(rates, 2) == Packing(2, 8)


def test_the_quickest_is_measured_once_and_then_known_to_every_campaign_of_the_net(tmp_path: Path) -> None:
    bench = Bench(jobs4=1000, jobs2=1500, jobs1=700)
    assert bench.choose(tmp_path) == Packing(2, 2)
    assert bench.asked == [(Packing(4, 1), Packing(2, 2), Packing(1, 4))]
    assert "2 trials at a time with 2 threads each" in bench.said[-1]
    study = LONG.study.model_copy(update={"name": "another"})
    assert bench.choose(tmp_path, replace(LONG, study=study)) == Packing(2, 2)
    assert len(bench.asked) == 1
    recipe = study.recipe.model_copy(update={"batch_size": 64})
    bench.choose(tmp_path, replace(LONG, study=study.model_copy(update={"name": "larger", "recipe": recipe})))
    third = study.model_copy(update={"name": "third"})
    bench.choose(tmp_path, replace(LONG, study=third), replace(FOUR, name="another machine"))
    assert len(bench.asked) == 3


def test_a_damaged_measurement_is_made_again(tmp_path: Path) -> None:
    bench = Bench(jobs4=1000, jobs2=1500, jobs1=700)
    bench.choose(tmp_path)
    for path in tmp_path.iterdir():
        path.write_text('{"rates": [[2')
    assert bench.choose(tmp_path) == Packing(2, 2)
    assert len(bench.asked) == 2


def test_a_short_campaign_is_not_kept_waiting_for_a_measurement(tmp_path: Path) -> None:
    bench = Bench()
    assert bench.choose(tmp_path, SHORT) == Packing(4, 1)
    assert (bench.asked, bench.said) == ([], [])


def test_a_single_core_has_nothing_to_measure(tmp_path: Path) -> None:
    bench = Bench()
    assert bench.choose(tmp_path, machine=replace(FOUR, cores=1)) == Packing(1, 1)
    assert bench.asked == []


@pytest.mark.parametrize(
    ("jobs", "threads", "expected"), [(3, None, (3, 1)), (None, 2, (2, 2)), (7, 3, (7, 3)), (None, 9, (1, 9))]
)
def test_what_is_asked_for_is_done_without_a_measurement(
    tmp_path: Path, jobs: int | None, threads: int | None, expected: tuple[int, int]
) -> None:
    bench = Bench()
    assert bench.choose(tmp_path, jobs=jobs, threads=threads) == Packing(*expected)
    assert bench.asked == []


@pytest.mark.parametrize("wanted", [(0, None), (None, -1)])
def test_fewer_than_one_is_refused(wanted: tuple[int | None, int | None]) -> None:
    with pytest.raises(AblateError, match="must be at least 1, got"):
        Wanted(*wanted)


def test_memory_cuts_the_number_of_jobs_and_says_so_but_jobs_that_are_asked_for_win(tmp_path: Path) -> None:
    worker = worker_bytes(LONG, LONG.trials, [])
    tight = replace(FOUR, memory=SHARED_BYTES + 2 * worker + worker // 2)
    bench = Bench(jobs2=1000, jobs1=500)
    assert bench.choose(tmp_path, machine=tight) == Packing(2, 2)
    assert bench.asked == [(Packing(2, 2), Packing(1, 4))]
    assert "MB of memory" in bench.said[-1]
    assert bench.choose(tmp_path, SHORT, replace(tight, memory=0)) == Packing(1, 4)

    asked = Bench()
    assert asked.choose(tmp_path, machine=tight, jobs=4) == Packing(4, 2)  # with the threads it began with
    assert "4 at a time may run out of it" in asked.said[-1]


def test_memory_that_is_not_known_cuts_nothing(tmp_path: Path) -> None:
    assert Bench().choose(tmp_path, SHORT, replace(FOUR, memory=None)) == Packing(4, 1)


def test_measured_peaks_correct_the_estimate_of_their_own_arm_and_of_the_others() -> None:
    guess = worker_bytes(LONG, LONG.trials, [])
    record = ran_with(1)
    peaked = replace(record, measured=replace(record.measured, peak_bytes=10 * GB))
    assert worker_bytes(LONG, [LONG.trials[0]], [peaked]) == pytest.approx(10 * GB, rel=0.1)
    assert worker_bytes(LONG, [LONG.trials[1]], [peaked]) > 10 * GB  # the other arm is larger
    failed = replace(peaked, status="failed")
    assert worker_bytes(LONG, LONG.trials, [failed]) == guess


def test_a_campaign_goes_on_with_the_thread_count_of_its_first_trials(tmp_path: Path) -> None:
    bench = Bench()
    records = [ran_with(2, number=0, started_at=5.0), ran_with(1, number=1, started_at=9.0)]
    assert bench.choose(tmp_path, records=records) == Packing(2, 2)
    assert bench.asked == []
    assert "2 threads a trial, as this campaign began" in bench.said[-1]


def test_a_campaign_that_was_cut_off_before_its_first_record_keeps_its_thread_count(tmp_path: Path) -> None:
    Bench().choose(tmp_path, threads=4)
    bench = Bench()
    assert bench.choose(tmp_path) == Packing(1, 4)
    assert bench.asked == []


def test_another_thread_count_than_the_campaign_began_with_is_allowed_and_pointed_out(tmp_path: Path) -> None:
    bench = Bench()
    assert bench.choose(tmp_path, threads=2, records=[ran_with(1)]) == Packing(2, 2)
    assert "only at the same count does a trial give the same numbers to the last bit" in bench.said[-1]


@pytest.mark.parametrize(("asked", "expected"), [((None, None), (2, 2)), ((3, None), (3, 2)), ((None, 1), (4, 1))])
def test_the_dispatcher_runs_what_was_chosen_and_chooses_nothing_where_nothing_is_missing(
    tmp_path: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[int | None, int | None],
    expected: tuple[int, int],
) -> None:
    made: list[tuple[int, int]] = []

    def executor(jobs: int, *, threads: int) -> Instant:
        made.append((jobs, threads))
        return Instant(outcome, jobs=jobs)

    runs, plan = tmp_path / "runs", plan_of("control", "other")
    runs.mkdir()
    shutil.copy(empty_store, runs / "mlflow.db")
    Bench().choose(runs / "packing", plan, threads=2)  # as a campaign that was cut off leaves it
    monkeypatch.setattr(dispatch, "LocalExecutor", executor)
    monkeypatch.setattr(packer, "this_machine", lambda: FOUR)
    jobs, threads = asked
    dispatch.run_campaign(plan, runs=runs, jobs=jobs, threads=threads, prepare=no_costs)
    assert made == [expected]
    monkeypatch.setattr(packer, "this_machine", lambda: pytest.fail("there is nothing to train"))
    assert dispatch.run_campaign(plan, runs=runs, jobs=None, threads=None, prepare=no_costs).trained == 0


def test_files_are_json_by_machine_and_by_campaign(tmp_path: Path) -> None:
    Bench(jobs4=1000, jobs2=1500, jobs1=700).choose(tmp_path)
    read = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert read.pop(f"{LONG.study.name}.{LONG.study.digest}.json") == {"threads": 2}
    (measurement,) = read.values()
    assert measurement == {"machine": "made up", "cores": 4, "rates": [[4, 1, 1000], [2, 2, 1500], [1, 4, 700]]}


def test_constants_that_are_written_twice_agree() -> None:
    from ablate.training import feed, pace

    assert feed.EVAL_BATCH == EVAL_BATCH
    assert pace.WARM_UP + pace.LEAST_STEPS == STEPS


def test_processes_that_are_measured_together_compute_at_the_same_time() -> None:
    (rate,) = measure_aside(LONG, [Packing(2, 1)], print).values()
    assert rate > 0


@pytest.mark.parametrize("version", [1, 2])
def test_memory_and_processors_of_a_container_are_respected(tmp_path: Path, version: int) -> None:
    from ablate.campaign import cgroup

    files = {
        1: {
            "proc/self/cgroup": "4:memory:/a/b\n3:cpu,cpuacct:/a\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2**63 - 4096),
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "7",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "3000",
            "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "2500",
            "sys/fs/cgroup/memory/a/memory.stat": "cache 1\ntotal_inactive_file 300\n",
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "250000",
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
        },
        2: {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/memory.max": "max",
            "sys/fs/cgroup/a/b/memory.current": "5",
            "sys/fs/cgroup/a/memory.max": "3000",
            "sys/fs/cgroup/a/memory.current": "2500",
            "sys/fs/cgroup/a/memory.stat": "file 9\ninactive_file 300\n",
            "sys/fs/cgroup/a/b/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/a/cpu.max": "max 100000\n",
        },
    }[version]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cgroup.memory_left(tmp_path) == 800
    assert cgroup.processors(tmp_path) == 2.5
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 2 kB\n")
    assert available_bytes(tmp_path) == 800
    (tmp_path / "proc/meminfo").write_text("MemAvailable: 0 kB\n")
    assert available_bytes(tmp_path) == 0


def test_a_machine_without_limits_has_none(tmp_path: Path) -> None:
    from ablate.campaign import cgroup

    assert (cgroup.memory_left(tmp_path), cgroup.processors(tmp_path)) == (None, None)
