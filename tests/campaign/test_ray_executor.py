"""A real Ray cluster of several nodes on this machine."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driver import killing_plan, prepare_data, stepwise
from executor_contract import ExecutorContract
from fakes import Notes, no_costs, null, outcome, plan_of
from fire import ENVIRONMENT, uninterrupted

from ablate.campaign.executor import Event, Executor, Finished, Job, Lost, Progress, Trainer
from ablate.campaign.options import CampaignStopped, RunOptions
from ablate.campaign.ray_executor import NODES_LOST, RayExecutor, data_file_of, owner_of, scratch
from ablate.campaign.records import RecordStore
from ablate.campaign.run import run_campaign
from ablate.errors import AblateError

pytest.importorskip("ray", reason="Ray is not installed: python -m pip install '.[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own, of its log files
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

STORE = 100 * 2**20  # bytes of each node's object store


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for trials, and a node for two."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])  # nodes find the trainers of these tests by name
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(num_cpus=2, object_store_memory=STORE)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def connected(cluster: Any) -> Any:
    import ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    return cluster


@pytest.mark.usefixtures("connected")
class TestRayExecutor(ExecutorContract):
    def make(self, jobs: int, train: Trainer) -> Executor:
        return RayExecutor(address="auto", jobs=jobs, train=train, preload=())

    def folder(self, job: Job) -> Path:
        return RecordStore(scratch(owner_of(job.store)), job.store.study).folder(job.key)

    def test_the_record_comes_back_and_nothing_of_the_trial_stays_on_the_node(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        job = self.job(tmp_path, "control")
        executor.submit(job)
        assert isinstance(self.all_events(executor, 1)[-1], Finished)
        assert job.store.path(job.key).exists()
        assert not self.folder(job).exists()

    def test_without_a_number_of_jobs_it_takes_what_the_cluster_has(self) -> None:
        assert RayExecutor(address="auto").capacity == 2
        assert RayExecutor(address="auto", cpus_per_trial=0.5).capacity == 4

    def test_a_trial_that_fits_no_node_is_refused(self) -> None:
        executor = RayExecutor(address="auto", gpus_per_trial=0.25)
        with pytest.raises(AblateError, match=r"0.25 GPUs \(--gpus-per-trial\), which no node of the Ray cluster has"):
            _ = executor.capacity


def go(executor: Executor, runs: Path, notes: Notes | None = None, seeds: int = 3, **more: Any) -> Any:
    options = RunOptions(runs=runs, data_root=runs, retries=more.pop("retries", 2))
    more.setdefault("prepare", no_costs)
    return run_campaign(killing_plan(seeds), options, executor=executor, observer=notes, **more)


class Watched(RayExecutor):
    """Does something once, when so many epochs have been told and every processor of the cluster is at work."""

    def __init__(self, after: int, act: Any, **more: Any) -> None:
        super().__init__(address="auto", **more)
        self.left, self.act, self.acted = after, act, False

    def events(self, timeout_s: float) -> list[Event]:
        import ray

        found = super().events(timeout_s)
        self.left -= sum(isinstance(event, Progress) for event in found)
        if not self.acted and self.left <= 0 and not ray.available_resources().get("CPU"):
            self.acted = True
            self.act()
        return found


def test_a_node_killed_in_mid_campaign_costs_no_record_and_no_attempt(connected: Any, runs: Path) -> None:
    notes = Notes()
    extra = connected.add_node(num_cpus=2, object_store_memory=STORE)
    executor = Watched(
        4, lambda: connected.remove_node(extra, allow_graceful=False), train=stepwise, preload=(), jobs=4
    )
    result = go(executor, runs, notes, seeds=24, retries=0)  # enough for a busy machine to have started both nodes
    assert "its node was lost" in notes.retries
    assert not result.missing
    assert all(result.records[trial.key].same_result(outcome(trial)) for trial in killing_plan(24).trials)
    assert {record.measured.attempts for record in result.records.values()} == {1}


def test_a_trial_under_which_many_nodes_were_lost_is_blamed(connected: Any) -> None:
    import ray

    executor = RayExecutor(address="auto")
    assert executor.capacity
    ends = [executor._lost("key", ray.exceptions.NodeDiedError("gone")) for _ in range(NODES_LOST)]
    assert [end.blameless for end in ends] == [True] * (NODES_LOST - 1) + [False]


def test_data_that_were_lost_with_a_node_are_put_there_again_and_no_trial_is_blamed(
    connected: Any, tmp_path: Path
) -> None:
    import ray

    executor = RayExecutor(address="auto", train=null, preload=())
    job = Job(trial=plan_of("control").trials[0], store=RecordStore(tmp_path, "faults"), data_root=None, cache=tmp_path)
    (tmp_path / "mnist5k.npz").write_bytes(b"data")
    assert executor.capacity
    held, _ = executor._parcel(data_file_of(job))
    assert executor._parcel(data_file_of(job))[0] is held
    end = executor._lost(job.key, ray.exceptions.ObjectLostError("0", "", ""))
    assert end.blameless
    assert executor._parcel(data_file_of(job))[0] is not held
    executor.close()


def test_a_job_that_names_its_data_file_gets_that_one(connected: Any, tmp_path: Path) -> None:
    import ray

    executor = RayExecutor(address="auto", train=null, preload=())
    assert executor.capacity
    (tmp_path / "named.npz").write_bytes(b"the named one")
    job = Job(
        trial=plan_of("control").trials[0],
        store=RecordStore(tmp_path, "faults"),
        data_root=None,
        cache=tmp_path,
        data_file=tmp_path / "named.npz",
    )
    assert ray.get(executor._parcel(data_file_of(job))[0]).tobytes() == b"the named one"
    executor.close()


def test_a_full_disk_of_a_node_is_named_and_not_the_dispatchers(connected: Any, runs: Path) -> None:
    plan = plan_of("control", "fills_disk", seeds=1)
    executor = RayExecutor(address="auto", train=null, preload=())
    with pytest.raises(CampaignStopped) as stopped:
        run_campaign(plan, RunOptions(runs=runs), executor=executor, prepare=no_costs)
    node = scratch(owner_of(RecordStore(runs, plan.study.name)))
    assert str(stopped.value).startswith(f"{node} on {socket.gethostname()}: the disk is full")
    shutil.rmtree(node)


def test_real_training_on_a_cluster_gives_the_local_records_to_the_last_bit(connected: Any, runs: Path) -> None:
    result = go(RayExecutor(address="auto"), runs, seeds=2, prepare=prepare_data)
    shutil.rmtree(scratch(owner_of(RecordStore(runs, "kills"))))
    expected = uninterrupted(2, runs)
    assert set(result.records) == set(expected)
    assert all(result.records[key].same_result(expected[key]) for key in expected)


def test_a_cluster_that_does_not_answer_is_named() -> None:
    import ray

    ray.shutdown()
    before = time.monotonic()
    with pytest.raises(AblateError, match=r"--ray-address 127.0.0.1:9: no Ray cluster of this version answers there"):
        _ = RayExecutor(address="127.0.0.1:9").capacity
    assert time.monotonic() - before < 45
    with pytest.raises(AblateError, match="Ray's client protocol cannot be used"):
        _ = RayExecutor(address="ray://127.0.0.1:10001").capacity


def test_a_cluster_of_its_own_is_ended_with_the_executor(tmp_path: Path) -> None:
    import ray

    ray.shutdown()
    executor = RayExecutor(jobs=1, train=null, preload=())
    job = Job(trial=plan_of("control").trials[0], store=RecordStore(tmp_path, "faults"), data_root=None, cache=tmp_path)
    executor.submit(job)
    found: list[Event] = []
    while not any(isinstance(event, Finished | Lost) for event in found):
        found += executor.events(0.5)
    assert isinstance(found[-1], Finished)
    (tmp_path / "mnist5k.npz").write_bytes(b"data")
    stale, _ = executor._parcel(data_file_of(job))
    executor.close()
    assert not ray.is_initialized()
    assert executor.capacity
    fresh, _ = executor._parcel(data_file_of(job))
    assert fresh != stale
    assert ray.get(fresh).tobytes() == b"data"
    executor.close()
