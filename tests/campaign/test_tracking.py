from __future__ import annotations

import math
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from fakes import outcome, plan_of

from ablate.campaign.entries import trial_entry
from ablate.campaign.stored import TrialRun, best, local_folder, sqlite_file
from ablate.campaign.tracking import COMPLETE, Tracking, TrackingError
from ablate.design.plan import CampaignPlan
from ablate.design.record import EpochPoint, Record
from ablate.errors import AblateError

PLAN = plan_of("control", "other", seeds=2)


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Tracking:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")


def write(store: Tracking, plan: CampaignPlan, record: Record, weights: Path | None = None) -> str:
    campaign = store.begin_campaign(plan)
    trial = next(trial for trial in plan.trials if trial.key == record.key)
    entry = trial_entry(record, trial, plan.arm(trial.arm), {"params": 7, "macs": 9, "fvcore_flops": None})
    return store.write(plan.study.name, campaign, entry, record.to_json(), weights)


def test_a_trial_is_laid_out_as_people_browse_it(store: Tracking, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    run_id = write(store, PLAN, outcome(PLAN.trials[1]), weights)
    client = MlflowClient(tracking_uri=store.uri)
    run = client.get_run(run_id)
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert client.get_experiment(run.info.experiment_id).name == "faults"
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "other seed 0"
    assert (run.data.tags["arm"], run.data.tags["seed"]) == ("other", "0")
    assert run.data.params["change.stem_channels"] == "8 to 16"
    assert run.data.params["recipe.epochs"] == "2"
    assert run.data.metrics["test_accuracy"] == outcome(PLAN.trials[1]).metrics["test_accuracy"]
    assert run.data.metrics["cost.params"] == 7
    assert "cost.fvcore_flops" not in run.data.metrics
    curve = client.get_metric_history(run_id, "curve.train_loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5)]
    assert {file.path for file in client.list_artifacts(run_id)} == {"record.json", "weights.pt"}
    assert parent.data.tags["ablate.digest"] == PLAN.study.digest
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"plan.json", "study.json"}


def test_a_long_curve_is_kept_whole(store: Tracking) -> None:
    points = tuple(
        EpochPoint(epoch=n, train_loss=1 / n, train_accuracy=0.5, val_loss=math.nan, val_accuracy=0.5, lr=0.1)
        for n in range(1, 501)
    )
    record = replace(outcome(PLAN.trials[0]), curve=points)
    run_id = write(store, PLAN, record)
    assert len(store._client.get_metric_history(run_id, "curve.train_loss")) == 500
    assert store.records("faults", [record.key])[record.key].to_json() == record.to_json()


def test_the_newest_campaign_is_read_back_or_the_one_that_is_named(store: Tracking) -> None:
    smaller = plan_of("control", "other", seeds=1)
    for plan in (smaller, PLAN):
        store.save_costs(store.begin_campaign(plan), {"control": {"params": len(plan.trials)}})
    for trial in PLAN.trials:
        write(store, PLAN, outcome(trial))
    newest = store.load_campaign("faults")
    assert (newest.plan, newest.costs, len(newest.records)) == (PLAN, {"control": {"params": 4}}, 4)
    named = store.load_campaign("faults", smaller.study.digest)
    assert (named.plan, named.costs, len(named.records)) == (smaller, {"control": {"params": 2}}, 2)


def test_a_study_that_was_never_run_is_said_so(store: Tracking, tmp_path: Path) -> None:
    with pytest.raises(AblateError, match="holds no campaign of the study 'faults'; run the study first"):
        store.load_campaign("faults")
    nowhere = Tracking(f"sqlite:///{tmp_path}/nothing.db", tmp_path)
    with pytest.raises(AblateError, match="run the study first"):
        nowhere.load_campaign("faults")
    assert not (tmp_path / "nothing.db").exists()


def test_an_experiment_that_was_deleted_is_said_so(store: Tracking) -> None:
    store.begin_campaign(PLAN)
    store._client.delete_experiment(str(store._experiment("faults")))
    with pytest.raises(TrackingError, match="the experiment 'faults' was deleted in MLflow"):
        store.begin_campaign(PLAN)


def test_the_report_shows_beside_the_verdicts(store: Tracking, tmp_path: Path) -> None:
    campaign = store.begin_campaign(PLAN)
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "report.html").write_text("<p>report")
    store.log_report(campaign, tmp_path / "pages", "**better**")
    run = store._client.get_run(campaign)
    assert run.data.tags["mlflow.note.content"] == "**better**"
    assert [file.path for file in store._client.list_artifacts(campaign, "report")] == ["report/report.html"]


def test_the_run_that_counts_is_complete_and_not_a_failure() -> None:
    def run(run_id: str, status: str, complete: bool = True) -> TrialRun:
        return TrialRun(run_id, "k", status, complete, "", 0)

    def chosen(*runs: TrialRun) -> str | None:
        found = best(runs, ["k"]).get("k")
        return found.run_id if found else None

    assert chosen(run("a", "finished", complete=False)) is None
    assert chosen(run("a", "finished"), run("b", "failed")) == "a"
    assert chosen(run("a", "failed"), run("b", "finished")) == "b"
    assert chosen(run("a", "failed"), run("b", "failed")) == "b"
    assert best([run("a", "finished")], ["other"]) == {}


def test_addresses_are_read_as_they_are_written() -> None:
    assert local_folder("file:///a%20b/c") == Path("/a b/c")
    assert local_folder("/a b/c") == Path("/a b/c")
    assert local_folder("mlflow-artifacts:/1/2") is None
    assert sqlite_file("sqlite:////a/b.db") == Path("/a/b.db")
    assert sqlite_file("http://127.0.0.1") is None


def test_the_mark_of_a_complete_run_is_written_last(store: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    store.begin_campaign(PLAN)
    calls: list[str] = []
    for name in ("create_run", "log_text", "set_terminated", "log_batch"):
        real = getattr(store._client, name)
        monkeypatch.setattr(
            store._client, name, lambda *a, real=real, name=name, **k: (calls.append(name), real(*a, **k))[1]
        )
    run_id = write(store, PLAN, outcome(PLAN.trials[0]))
    assert calls[-1] == "log_batch"
    assert COMPLETE in store._client.get_run(run_id).data.tags


def test_an_artifact_that_cannot_be_read_is_said_in_a_sentence(store: Tracking) -> None:
    write(store, PLAN, outcome(PLAN.trials[0]))
    (run,) = store.trial_runs("faults")
    artifact = Path(run.artifacts.removeprefix("file://")) / "record.json"
    artifact.unlink()
    artifact.mkdir()
    with pytest.raises(TrackingError, match=r"does not answer as it should: .*Is a directory"):
        store.read([run])


class LosesAnswers(BaseHTTPRequestHandler):
    """A server that knows one experiment, and hangs up on whoever makes or looks for runs."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        body = b'{"experiment": {"experiment_id": "1", "name": "faults", "lifecycle_stage": "active"}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.path.rsplit("/", 1)[1])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def test_a_run_is_asked_for_once_even_if_the_answer_is_lost_and_a_search_again(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), LosesAnswers) as server:
        threading.Thread(target=server.serve_forever).start()
        store = Tracking(f"http://127.0.0.1:{server.server_port}", tmp_path)
        entry = trial_entry(outcome(PLAN.trials[0]), PLAN.trials[0], PLAN.arms[0], {})
        with pytest.raises(TrackingError, match="does not answer as it should"):
            store.write("faults", "campaign", entry, "")
        assert LosesAnswers.asked == ["create"]
        with pytest.raises(TrackingError, match="does not answer as it should"):
            store.trial_runs("faults")
        assert LosesAnswers.asked == ["create", "search", "search"]
        server.shutdown()


def test_mlflow_is_quiet_and_sends_nothing_home(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from ablate.campaign.tracking import Tracking\n"
        "store = Tracking(f'sqlite:///{sys.argv[1]}/mlflow.db', Path(sys.argv[1]))\n"
        "assert store.trial_runs('none') == []\n"
        "assert os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_store_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    script = (
        "import os, sys, threading, time; from pathlib import Path; from ablate.campaign.tracking import Tracking\n"
        "folder = Path(sys.argv[1])\n"
        "def kill():\n"
        "    while not list(folder.glob('.mlflow.db.*.making')): time.sleep(0.001)\n"
        "    time.sleep(0.3); os._exit(9)\n"
        "threading.Thread(target=kill, daemon=True).start()\n"
        "Tracking(f'sqlite:///{folder}/mlflow.db', folder).trial_runs('none')"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 9
    assert not (tmp_path / "mlflow.db").exists()
    assert Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path).trial_runs("none") == []
