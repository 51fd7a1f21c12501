from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fakes import null, outcome, plan_of

from ablate.campaign.choice import Wishes, choose_executor, trial_device
from ablate.campaign.executors import Finished, Job, Lost, Progress
from ablate.campaign.node import End, owner_of, run_attempt, scratch
from ablate.errors import AblateError


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (Wishes(executor="rai"), "--executor must be one of local, ray; got 'rai'; did you mean 'ray'?"),
        (Wishes(gpus_per_trial=0.5), "--gpus-per-trial goes with --executor ray; this is --executor local"),
        (Wishes(ray_address="auto"), "--ray-address goes with --executor ray; this is --executor local"),
        (Wishes(executor="ray", cpus_per_trial=0), "--cpus-per-trial must be above 0, got 0"),
        (Wishes(executor="ray", gpus_per_trial=1.5), "must be a fraction of a GPU or a whole number of them, got 1.5"),
        (Wishes(executor="ray", gpus_per_trial=0, device="cuda"), "must be above 0 with --device cuda, got 0"),
        (Wishes(executor="ray", jobs=0), "--jobs must be at least 1, got 0"),
    ],
)
def test_what_an_executor_has_no_use_for_is_refused(wishes: Wishes, message: str) -> None:
    with pytest.raises(AblateError) as caught:
        choose_executor(wishes)
    assert message in str(caught.value)


def test_nothing_that_was_asked_for_is_processes_of_this_machine() -> None:
    assert choose_executor(Wishes(jobs=3)) is None


@pytest.mark.parametrize(("gpus", "device"), [(None, "cpu"), (0.25, "cuda"), (0.0, "cpu")])
def test_trials_on_a_cluster_run_on_gpus_where_they_take_some(gpus: float | None, device: str) -> None:
    assert trial_device(Wishes(executor="ray", gpus_per_trial=gpus)) == device


def test_without_ray_its_absence_is_said_with_the_way_to_mend_it() -> None:
    script = (
        "import sys; sys.modules['ray'] = None\n"
        "from ablate.campaign.choice import Wishes, choose_executor\n"
        "try: choose_executor(Wishes(executor='ray')).capacity\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.startswith("AblateError --executor ray needs the package ray")
    assert "python -m pip install 'ablate[ray]'" in out


def attempt(tmp_path: Path, arm: str, content: object = None) -> tuple[Job, list[Progress | End]]:
    trial = plan_of(arm, seeds=1).trials[0]
    job = Job(trial=trial, folder=tmp_path / trial.key, data_root=None, cache=tmp_path)
    return job, list(run_attempt(job, null, (), content, "digest", owner_of(tmp_path)))  # type: ignore[arg-type]


def test_an_attempt_on_a_node_streams_its_epochs_and_ends_with_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    job, (*progress, end) = attempt(tmp_path, "control")
    assert [message.point.epoch for message in progress if isinstance(message, Progress)] == [1, 2]
    assert isinstance(end, End)
    assert isinstance(end.event, Finished)
    assert end.event.record.same_result(outcome(job.trial))
    assert not job.folder.exists()  # the dispatcher's
    assert not (scratch(owner_of(tmp_path)) / "trials" / job.key).exists()


def test_a_lost_attempt_leaves_its_folder_for_the_next_one_on_that_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    data = np.arange(10, dtype=np.uint8)
    ends = [attempt(tmp_path, "once_killed", data)[1][-1] for _ in range(2)]
    assert [type(end.event) for end in ends if isinstance(end, End)] == [Lost, Finished]
    assert (scratch(owner_of(tmp_path)) / "data" / "digest.npz").read_bytes() == data.tobytes()


def test_a_node_folder_that_somebody_else_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"ablate-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises((AblateError, FileExistsError)):
        scratch("owner")
