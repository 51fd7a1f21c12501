"""Runs of an MLflow experiment as a table, from a store of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from ablate.campaign.mlflow_runs import check_finished, read_experiment
from ablate.design.runs_table import Columns, RunsError, runs_of, select

COLUMNS = Columns(metric="val_loss", arm="variant")
LEVELS = {"base": 1.0, "smooth": 0.8}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six runs of two arms, one that failed, and one without the arm's tag."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("sweep", artifact_location="unused")
    for arm, level in LEVELS.items():
        for seed in range(3):
            run = client.create_run(experiment, tags={"variant": arm}).info.run_id
            client.log_param(run, "seed", seed)  # a parameter serves where there is no such tag
            for step, value in enumerate((9.0, level + 0.01 * seed)):
                client.log_metric(run, "val_loss", value, step=step)
            client.set_terminated(run)
    failed = client.create_run(experiment, tags={"variant": "smooth", "seed": "3"}).info.run_id
    client.set_terminated(failed, "FAILED")
    client.set_terminated(client.create_run(experiment, tags={"note": "a parent"}).info.run_id)
    return uri


def test_the_last_metric_of_every_run_is_read_by_arm_and_seed(uri: str) -> None:
    table, unlabelled = read_experiment("sweep", uri, COLUMNS)
    finished = select(table, {"status": "FINISHED"})
    check_finished(finished)
    assert unlabelled == 1
    assert runs_of(finished, COLUMNS) == {
        "": {arm: {seed: level + 0.01 * seed for seed in range(3)} for arm, level in LEVELS.items()}
    }


def test_a_run_that_failed_is_not_left_out_quietly(uri: str) -> None:
    table, _ = read_experiment("sweep", uri, COLUMNS)
    with pytest.raises(RunsError, match=r"MLflow experiment sweep, run \w+: has the status FAILED, must be FINISHED"):
        check_finished(table)


def test_a_store_experiment_or_tag_that_is_not_there_is_named_and_nothing_is_made(uri: str, tmp_path: Path) -> None:
    with pytest.raises(RunsError, match=r"has no experiment 'sweeep'; did you mean 'sweep'\?"):
        read_experiment("sweeep", uri, COLUMNS)
    with pytest.raises(
        RunsError, match=r"none of its 8 runs has the tag 'varient' \(--arm-tag\); did you mean 'variant'"
    ):
        read_experiment("sweep", uri, Columns(metric="val_loss", arm="varient"))
    with pytest.raises(RunsError, match="there is no such MLflow store"):
        read_experiment("sweep", f"sqlite:///{tmp_path}/none.db", COLUMNS)
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "damaged.db").write_bytes(b"no database" * 100)
    with pytest.raises(RunsError, match="MLflow"):
        read_experiment("sweep", f"sqlite:///{tmp_path}/damaged.db", COLUMNS)


def test_a_metric_that_runs_lack_is_refused_with_those_there_are(uri: str) -> None:
    table, _ = read_experiment("sweep", uri, COLUMNS)
    with pytest.raises(RunsError, match=r"has no column 'val_los' \(--metric\); did you mean 'val_loss'"):
        runs_of(table, Columns(metric="val_los", arm="variant"))
    with pytest.raises(RunsError, match=r"run \w+: has no 'val_loss'; must be a number"):
        runs_of(table, COLUMNS)
