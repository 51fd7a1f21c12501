"""What MLflow shows, to whom it gives records back, and servers that do not do what they should."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fakes import Notes, outcome, plan_of
from instant import Instant, go

from ablate.campaign import run, views
from ablate.campaign.api import load
from ablate.campaign.check import forget
from ablate.campaign.mlflow_payload import COMPLETE, WRITER
from ablate.campaign.mlflow_store import MlflowStore, local_folder
from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.options import RunOptions
from ablate.campaign.records import RecordStore, seal
from ablate.campaign.views import Conclusion, Item, Pusher, ViewError
from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.errors import AblateError

PLAN = plan_of("control", "other", seeds=2)
COSTS = {"other": {"params": 7, "macs": 9, "fvcore_flops": None}}


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
    assert "cost.fvcore_flops" not in shown.data.params
    assert shown.data.metrics["test_accuracy"] == outcome(trial).metrics["test_accuracy"]
    curve = client.get_metric_history(found.run_id, "train_loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5)]
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
    accuracies = [outcome(trial).metrics["test_accuracy"] for trial in PLAN.arm_trials("other")]
    shown = client.get_run(view._arms["other"]).data.metrics
    assert shown["test_accuracy"] == pytest.approx(sum(accuracies) / 2)
    half = 12.7062 * abs(accuracies[0] - accuracies[1]) / 2  # t(0.975, 1) times the standard error of two
    assert shown["test_accuracy_high"] - shown["test_accuracy"] == pytest.approx(half, rel=1e-4)


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


# Servers that do not do what they should


class Server(BaseHTTPRequestHandler):
    """Answers with ``status`` and ``body`` after ``delay_s``; hangs up on what is posted if the body is ``{}``."""

    status: ClassVar[int] = 200
    body: ClassVar[bytes] = b"{}"
    delay_s: ClassVar[float] = 0.0
    asked: ClassVar[list[str]] = []
    heard: ClassVar[list[bytes]] = []

    def do_GET(self) -> None:
        self.heard.append(self.path.encode())
        self._answer()

    def do_POST(self) -> None:
        self.heard.append(self.path.encode() + self.rfile.read(int(self.headers["Content-Length"] or 0)))
        self.asked.append(self.path.rsplit("/", 1)[1])
        if self.status == 200:
            self.close_connection = True
        else:
            self._answer()

    def _answer(self) -> None:
        time.sleep(self.delay_s)
        with contextlib.suppress(OSError):
            self.send_response(self.status)
            self.send_header("Content-Length", str(len(self.body)))
            self.end_headers()
            self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(**answers: Any) -> Iterator[tuple[str, type[Server]]]:
    kind = type("Own", (Server,), {"asked": [], "heard": [], **answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", kind
        server.shutdown()


def experiment(location: str) -> bytes:
    told = {"experiment_id": "1", "name": "faults", "lifecycle_stage": "active", "artifact_location": location}
    return json.dumps({"experiment": told}).encode()


def test_a_run_is_asked_for_once_even_if_the_answer_is_lost_and_a_search_again(runs: Path) -> None:
    with serving(body=experiment("mlflow-artifacts:/1")) as (address, server):
        view = view_of(runs, f"http://{address}")
        with pytest.raises(ViewError, match="does not answer as it should"):
            view.trial_runs("faults")
        assert server.asked == ["search", "search"]
        view._arms = {"control": "arm"}
        RecordStore(runs, "faults").put(outcome(PLAN.trials[0]))
        item = Item.of(RecordStore(runs, "faults"), PLAN.trials[0], outcome(PLAN.trials[0]))
        with pytest.raises(ViewError, match="does not answer as it should"):
            view.push(PLAN, item, COSTS)
        assert server.asked[2:] == ["create"]


def test_a_server_that_keeps_artifacts_in_a_folder_of_its_own_choice_here_is_refused(runs: Path) -> None:
    with serving(body=experiment("file:///there/artifacts/1")) as (address, _):
        view = view_of(runs, f"http://{address}")
        with pytest.raises(ViewError, match="start the server with --artifacts-destination"):
            view.known(PLAN, COSTS)


@pytest.mark.parametrize("answers", [{"status": 500}, {"status": 503, "delay_s": 0.5}, {"delay_s": 30.0}])
def test_training_is_not_delayed_by_a_server_that_fails_or_is_slow_or_hangs(
    runs: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]
) -> None:
    monkeypatch.setattr(run, "PULL_S", 1.0)
    monkeypatch.setattr(views, "FAILING_S", 0.5)
    monkeypatch.setattr(views, "SILENT_S", 1.0)
    monkeypatch.setattr(views, "STEP_S", 0.1)
    notes, plan, ended = Notes(), plan_of("control", seeds=6), list[float]()
    with serving(**answers) as (address, _):

        def train(trial: Trial) -> Record:
            ended.append(time.monotonic())
            return outcome(trial)

        view_of(runs, f"http://{address}").store.client  # noqa: B018 - loads MLflow
        result = go(plan, runs, Instant(train), notes, tracking_uri=f"http://{address}")
    assert (result.trained, result.missing, result.behind) == (6, (), {"MLflow": 6})
    assert ended[-1] - ended[0] < 5
    assert len([message for message in notes.messages if "Training goes on" in message]) <= 1


def test_a_password_appears_in_no_message_no_file_and_no_request(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(views, "FAILING_S", 0.5)
    notes = Notes()
    with serving(status=500) as (address, server):
        result = go(PLAN, runs, notes=notes, tracking_uri=f"http://me:xyzzy%2Fq@{address}")
    assert notes.messages
    assert any(address in message for message in notes.messages)
    told = "\n".join(notes.messages) + repr(result) + "".join(capfd.readouterr())
    written = [path.read_bytes() for path in runs.rglob("*") if path.is_file()]
    assert not [text for text in [told.encode(), *server.heard, *written] if b"xyzzy" in text]
    store = MlflowStore("postgresql://me:secret@127.0.0.1:9/none", runs)
    assert store.name == "MLflow at postgresql://me:***@127.0.0.1:9/none"


def test_a_store_that_is_not_the_runs_folders_own_is_named_and_left_alone_if_damaged(
    runs: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.db"
    theirs.write_bytes(b"no database at all, only words " * 500)
    before, notes = theirs.read_bytes(), Notes()
    with pytest.raises(ViewError, match=r"the file is damaged .*; move it away to have it made again"):
        view_of(runs, f"sqlite:///{theirs}").known(PLAN, COSTS)
    assert theirs.read_bytes() == before
    assert notes.messages == []


@pytest.mark.parametrize("name", ["quo'te\"d", "{x}", "per%20cent#?x", "%(here)s", "semi;colon&", "back\\slash"])
def test_a_runs_folder_at_any_path_holds_a_store(name: str, tmp_path: Path, empty_views: Path) -> None:
    runs = tmp_path / name
    shutil.copytree(empty_views, runs)
    store = MlflowStore(f"sqlite:///{runs / 'mlflow.db'}", runs / "artifacts")
    experiment = store.client.create_experiment("study", artifact_location=(runs / "artifacts" / "study").as_uri())
    run = store.client.create_run(experiment)
    store.client.log_text(run.info.run_id, "a record", "record.json")
    (written,) = (runs / "artifacts").rglob("record.json")
    assert written.read_text() == "a record"
    assert not list(tmp_path.glob("mlflow.db*"))
    store.disconnect()


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
