"""What MLflow shows, and to whom it gives records back."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import Notes, outcome, plan_of
from instant import Instant, go

from ablate.campaign import views
from ablate.campaign.api import load
from ablate.campaign.check import forget
from ablate.campaign.mlflow_payload import COMPLETE, WRITER
from ablate.campaign.mlflow_store import local_folder
from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.options import RunOptions
from ablate.campaign.records import RecordStore, seal
from ablate.campaign.views import Conclusion, Item, Pusher, ViewError
from ablate.design.datasets import DIGESTS
from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.errors import AblateError

PLAN = plan_of("control", "other", seeds=2)
COSTS = {"other": {"params": 7, "macs": 9, "fvcore_flops": None, "latency_ms": 2.0, "latency_low_ms": 1.984}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "BACK_OFF_S", (0.01, 0.05))


def view_of(runs: Path, uri: str = "") -> MlflowView:
    return MlflowView(uri or f"sqlite:///{runs}/mlflow.db", runs, seal(PLAN, runs).to_json())


def push(runs: Path, trial: Trial, record: Record, weights: bytes = b"") -> MlflowView:
    """One record, pushed to the runs folder's own store."""
    store, view = RecordStore(runs, "faults"), view_of(runs)
    store.put(record)
    if weights:
        store.weights(record.key).write_bytes(weights)
    view.known(PLAN, COSTS)
    view.push(PLAN, Item.of(store, trial, record), COSTS)
    return view


def client_of(runs: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{runs}/mlflow.db")


def test_a_trial_is_laid_out_as_people_browse_it(runs: Path) -> None:
    trial = PLAN.trials[1]
    view = push(runs, trial, outcome(trial), b"weights")
    client, ((found,),) = client_of(runs), [view.trial_runs("faults")]
    shown = client.get_run(found.run_id)
    arm = client.get_run(shown.data.tags["mlflow.parentRunId"])
    campaign = client.get_run(arm.data.tags["mlflow.parentRunId"])
    assert client.get_experiment(shown.info.experiment_id).name == "faults"
    assert (shown.info.status, shown.info.run_name) == ("FINISHED", "other seed 0")
    assert (shown.data.tags["arm"], shown.data.tags["seed"]) == ("other", "0")
    assert shown.data.params["stem_channels"] == "16"
    assert shown.data.params["recipe.epochs"] == "2"
    assert shown.data.params["cost.params"] == "7"
    assert not {"cost.fvcore_flops", "cost.latency_ms"} & set(shown.data.params)
    assert arm.data.tags["cost.latency"] == "2 ms"
    assert shown.data.metrics["test_accuracy"] == outcome(trial).metrics["test_accuracy"]
    curve = client.get_metric_history(found.run_id, "train_loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5)]
    assert shown.data.metrics["system/wall_s"] == 0.01
    assert {file.path for file in client.list_artifacts(found.run_id)} == {"record.json", f"{trial.key}.pt"}
    assert (arm.info.run_name, campaign.data.tags["ablate.digest"]) == ("other", PLAN.study.digest)
    assert [file.path for file in client.list_artifacts(campaign.info.run_id)] == ["plan.json"]
    artifacts = local_folder(shown.info.artifact_uri)
    assert artifacts is not None
    assert (artifacts / "record.json").read_text() == outcome(trial).to_json()


def test_a_long_curve_is_kept_whole(runs: Path) -> None:
    points = tuple(
        EpochPoint(epoch=n, train_loss=1 / n, train_accuracy=0.5, val_loss=math.nan, val_accuracy=0.5, lr=0.1)
        for n in range(1, 501)
    )
    record = replace(outcome(PLAN.trials[0]), curve=points)
    (found,) = push(runs, PLAN.trials[0], record).trial_runs("faults")
    assert len(client_of(runs).get_metric_history(found.run_id, "train_loss")) == 500


def test_what_the_campaign_came_to_shows_with_its_report_and_the_arms_means(runs: Path) -> None:
    (runs / "pages").mkdir()
    (runs / "pages" / "report.html").write_text("<p>report")
    view, store = view_of(runs), RecordStore(runs, "faults")
    view.known(PLAN, COSTS)
    for trial in PLAN.trials:
        store.put(outcome(trial))
    items = [Item.of(store, trial, outcome(trial)) for trial in PLAN.trials]
    conclusion = Conclusion(note="**better**", metrics={"wins": 1.0}, report=runs / "pages")
    view.finish(PLAN, items, conclusion, COSTS)
    client = client_of(runs)
    campaign = client.get_run(view._campaign)
    assert (campaign.info.status, campaign.data.tags["mlflow.note.content"]) == ("FINISHED", "**better**")
    assert campaign.data.metrics["wins"] == 1.0
    assert [file.path for file in client.list_artifacts(view._campaign, "report")] == ["report/report.html"]
    tags = client.get_experiment_by_name("faults").tags
    asked = json.loads(tags["mlflow.sharedViewState.ablate"])
    listed = client.search_runs([campaign.info.experiment_id], asked["searchFilter"], order_by=[asked["orderByKey"]])
    assert {run.data.tags["ablate.kind"] for run in listed} == {"campaign", "arm"}
    assert asked["selectedColumns"][:2] == ["metrics.`test_accuracy`", "params.`stem_channels`"]
    accuracies = [outcome(trial).metrics["test_accuracy"] for trial in PLAN.arm_trials("other")]
    shown = client.get_run(view._arms["other"]).data.metrics
    assert shown["test_accuracy"] == pytest.approx(sum(accuracies) / 2, rel=1e-5)
    half = 12.7062 * abs(accuracies[0] - accuracies[1]) / 2  # t(0.975, 1) times the standard error of two
    assert shown["test_accuracy_high"] - shown["test_accuracy"] == pytest.approx(half, rel=1e-4)
    seconds = [outcome(trial).measured.wall_s for trial in PLAN.arm_trials("other")]
    assert shown["system/minutes"] == pytest.approx(sum(seconds) / 60, rel=1e-5)


def test_a_run_that_was_cut_off_is_removed_unless_another_writer_may_be_at_it(runs: Path) -> None:
    trial = PLAN.trials[0]
    view = push(runs, trial, outcome(trial))
    client, (complete,) = client_of(runs), view.trial_runs("faults")
    experiment = client.get_experiment_by_name("faults").experiment_id
    tags = client.get_run(complete.run_id).data.tags
    tags = {name: tags[name] for name in ("ablate.kind", "ablate.key", "ablate.record", "ablate.status", WRITER)}
    client.create_run(experiment, tags=tags)
    theirs = client.create_run(experiment, tags=tags | {WRITER: "another"}).info.run_id
    twice = client.create_run(experiment, start_time=1, tags=tags | {COMPLETE: "yes"}).info.run_id
    view.known(PLAN, COSTS)
    left = {run.run_id for run in view.trial_runs("faults")}
    assert theirs in left
    assert len(left & {complete.run_id, twice}) == 1
    assert len(left) == 2


def test_an_experiment_that_was_deleted_is_said_so(runs: Path) -> None:
    view, client = push(runs, PLAN.trials[0], outcome(PLAN.trials[0])), client_of(runs)
    client.delete_experiment(client.get_experiment_by_name("faults").experiment_id)
    with pytest.raises(ViewError, match="the experiment 'faults' was deleted in MLflow; restore it"):
        view.known(PLAN, COSTS)


# Records that come back


def texts(runs: Path) -> dict[str, str]:
    store = RecordStore(runs, "faults")
    return {key: store.path(key).read_text() for key in store.keys()}  # noqa: SIM118


def test_records_that_were_deleted_are_pulled_back_to_the_byte_and_nothing_is_trained(runs: Path) -> None:
    go(PLAN, runs)
    before, notes = texts(runs), Notes()
    shutil.rmtree(runs / "records")
    result = go(PLAN, runs, notes=notes)
    assert (result.trained, texts(runs), result.behind) == (0, before, {})
    assert notes.messages == [f"4 records taken from MLflow at sqlite:///{runs}/mlflow.db"]


def test_another_machine_reports_on_a_campaign_that_only_mlflow_has(runs: Path, tmp_path: Path) -> None:
    expected = go(PLAN, runs)
    options = RunOptions(runs=tmp_path / "empty", tracking_uri=f"sqlite:///{runs}/mlflow.db")
    found = load(options, "faults", PLAN.study.digest[:6])
    assert (found.plan, found.records) == (expected.plan, expected.records)
    with pytest.raises(AblateError, match="holds no campaign of the study 'never'; run the study first"):
        load(options, "never")


def test_a_record_that_was_damaged_in_mlflow_is_not_taken(runs: Path) -> None:
    go(PLAN, runs)
    for artifact in (runs / "artifacts").rglob("record.json"):
        artifact.write_text(artifact.read_text().replace('"seed": 0', '"seed": 7'))
    shutil.rmtree(runs / "records")
    assert go(PLAN, runs).trained == 2


def test_a_forgotten_record_is_trained_again_and_replaces_the_one_in_mlflow(runs: Path) -> None:
    go(PLAN, runs)
    assert forget(PLAN, RunOptions(runs=runs), ["other:1"]) == [PLAN.trials[3]]

    def train(trial: Trial) -> Record:
        record = replace(outcome(trial), notes=("trained again",))
        return replace(record, measured=replace(record.measured, started_at=time.time()))

    executor = Instant(train)
    result = go(PLAN, runs, executor)
    assert (executor.submitted, result.behind) == ([PLAN.trials[3]], {})
    shutil.rmtree(runs / "records")
    assert go(PLAN, runs).records[PLAN.trials[3].key].notes == ("trained again",)
    assert Counter(found.key for found in view_of(runs).trial_runs("faults")) == Counter(t.key for t in PLAN.trials)


def forget_artifact_folders() -> None:
    """MLflow keeps in mind, for as long as a process lives, where a run's artifacts are."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()


def test_a_runs_folder_that_was_moved_finds_its_artifacts(runs: Path, tmp_path: Path) -> None:
    go(PLAN, runs)
    before, moved = texts(runs), tmp_path / "moved"
    runs.rename(moved)
    forget_artifact_folders()
    assert go(PLAN, moved).trained == 0
    shutil.rmtree(moved / "records")
    assert (go(PLAN, moved).trained, texts(moved)) == (0, before)
    assert not runs.exists()


def test_a_copy_of_a_runs_folder_never_writes_into_the_original(runs: Path, tmp_path: Path) -> None:
    go(PLAN, runs)
    shutil.copytree(runs, tmp_path / "copy")

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}

    before = content()
    result = go(plan_of("control", "other", seeds=3), tmp_path / "copy")
    assert (result.trained, result.behind) == (2, {})
    assert content() == before


# Two runs folders, one store


def test_two_dispatchers_with_one_store_leave_no_duplicate_and_lose_no_record(runs: Path, tmp_path: Path) -> None:
    """Both have trained everything, and push at the same time; of each trial the record that began last stays."""
    uri, pushers = f"sqlite:///{runs}/mlflow.db", list[Pusher]()
    for number in range(2):
        folder = tmp_path / f"runs{number}"
        store, view = RecordStore(folder, "faults"), MlflowView(uri, folder, seal(PLAN, folder).to_json())
        pushers.append(Pusher(view, PLAN, folder / "stamp.json", lambda message: None))
        for trial in PLAN.trials:
            record = outcome(trial)
            record = replace(record, measured=replace(record.measured, started_at=1.7e9 + number))
            store.put(record)
            pushers[-1].put(Item.of(store, trial, record))
    for pusher in pushers:
        pusher.start()
    assert [pusher.finish(Conclusion()) for pusher in pushers] == [0, 0]
    found = MlflowView(uri, runs).trial_runs("faults")
    assert Counter(one.key for one in found) == Counter(trial.key for trial in PLAN.trials)
    assert {one.start_ms for one in found} == {int((1.7e9 + 1) * 1000)}
    last = texts(tmp_path / "runs1")
    assert view_of(runs).pull("faults", last) == last


def test_the_second_runs_folder_pulls_what_the_first_has_trained(runs: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{runs}/mlflow.db"
    go(PLAN, tmp_path / "one", tracking_uri=uri)
    more = plan_of("control", "other", seeds=3)
    result = go(more, tmp_path / "two", tracking_uri=uri)
    assert (result.trained, len(result.records), result.behind) == (2, 6, {})
    assert Counter(one.key for one in view_of(runs).trial_runs("faults")) == Counter(t.key for t in more.trials)


def test_mlflow_is_quiet_and_sends_nothing_home(tmp_path: Path, empty_views: Path) -> None:
    shutil.copy(empty_views / "mlflow.db", tmp_path / "mlflow.db")
    script = (
        "import os, sys; from pathlib import Path; from ablate.campaign.mlflow_view import MlflowView\n"
        "runs = Path(sys.argv[1])\n"
        "assert MlflowView(f'sqlite:///{runs}/mlflow.db', runs).trial_runs('none') == []\n"
        "assert os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_trial_names_the_data_that_it_was_trained_on(runs: Path) -> None:
    """mnist5k: 4,000 images, of which a tenth is held back; half of the rest is another input with the same digest."""
    trial = PLAN.trials[0]
    half = replace(trial, data=trial.data.model_copy(update={"fraction": 0.5}))
    from mlflow.types import Schema

    shown = []
    for one in (trial, half):
        found = push(runs, one, replace(outcome(one), key=one.key)).trial_runs("faults")
        run_id = next(run.run_id for run in found if run.key == one.key)
        ((given,),) = [client_of(runs).get_run(run_id).inputs.dataset_inputs]
        shown.append((given.dataset.name, json.loads(given.dataset.profile)["training images"]))
        assert given.dataset.digest == DIGESTS["mnist5k"][:16]
        schema = json.loads(given.dataset.schema)["mlflow_tensorspec"]
        assert Schema.from_json(schema["features"]).inputs[0].shape == (-1, 1, 28, 28)
        assert Schema.from_json(schema["targets"]).inputs[0].shape == (-1,)
    assert shown == [("mnist5k", 3600), ("mnist5k (fraction 0.5)", 1800)]
