"""An attempt on a node of a cluster, and what is said without Ray; no cluster is started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import null, outcome, plan_of

from ablate.campaign import ray_executor
from ablate.campaign.executor import Finished, Job, Lost, Progress
from ablate.campaign.options import CampaignStopped
from ablate.campaign.ray_executor import End, Head, RayExecutor, owner_of, run_attempt, scratch
from ablate.campaign.records import RecordStore
from ablate.errors import AblateError


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordStore:
    """The dispatcher's; the node has a temporary folder of its own."""
    (tmp_path / "node").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "node"))
    return RecordStore(tmp_path / "runs", "faults")


def attempt(store: RecordStore, arm: str, content: object = None) -> tuple[Job, list[Progress | End]]:
    job = Job(trial=plan_of(arm, seeds=1).trials[0], store=store, data_root=None, cache=store.runs)
    return job, list(run_attempt(job, null, (), content, "digest", owner_of(store)))  # type: ignore[arg-type]


def test_an_attempt_streams_its_epochs_ends_with_its_record_and_leaves_nothing(store: RecordStore) -> None:
    job, (*progress, end) = attempt(store, "control")
    assert [message.point.epoch for message in progress if isinstance(message, Progress)] == [1, 2]
    assert isinstance(end, End)
    assert isinstance(end.event, Finished)
    assert end.event.record.same_result(outcome(job.trial))
    assert not store.runs.exists()  # the dispatcher's
    there = RecordStore(scratch(owner_of(store)), "faults")
    assert (there.keys(), there.folder(job.key).exists()) == (set(), False)


def test_a_lost_attempt_leaves_its_folder_for_the_next_one_on_that_node(store: RecordStore) -> None:
    import numpy as np

    data = np.arange(10, dtype=np.uint8)
    ends = [attempt(store, "once_killed", data)[1][-1] for _ in range(2)]
    assert [type(end.event) for end in ends if isinstance(end, End)] == [Lost, Finished]
    assert (scratch(owner_of(store)) / "data" / "digest.npz").read_bytes() == data.tobytes()


def test_a_node_folder_that_somebody_else_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"ablate-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises((AblateError, FileExistsError)):
        scratch("owner")


def test_without_ray_its_absence_is_said_with_the_way_to_mend_it() -> None:
    script = (
        "import sys; sys.modules['ray'] = None\n"
        "from ablate.campaign.ray_executor import RayExecutor\n"
        "try: RayExecutor().capacity\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.startswith("AblateError --executor ray needs the package ray")
    assert "python -m pip install ray" in out


def test_a_lost_head_ends_the_campaign_in_a_sentence_and_no_task_of_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_executor, "HEAD_S", 0.0)
    monkeypatch.setattr(ray_executor, "LOST_S", 0.2)
    executor = RayExecutor(address="auto")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        executor._ray, executor._head = SimpleNamespace(), Head(address)  # whose every call would fail
        executor._running["key"] = SimpleNamespace(stream=None)  # type: ignore[assignment]
        monkeypatch.setattr(executor, "_ready", lambda *_: [])
        assert [executor.events(0.1) for _ in range(4)] == [[]] * 4
    time.sleep(0.3)
    assert executor.capacity == 1  # not asked of Ray, which would wait for the head and then end the process
    with pytest.raises(CampaignStopped, match=f"the head of the Ray cluster at {address} does not answer any more"):
        executor.events(0.1)
    executor.close()
