"""MLflow servers that do not do what they should: training is not delayed, and nothing is told that is secret."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fakes import Notes, outcome, plan_of
from instant import Instant, go

from ablate.campaign import run, views
from ablate.campaign.mlflow_store import MlflowStore
from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.records import RecordStore, seal
from ablate.campaign.views import Item, ViewError
from ablate.design.plan import Trial
from ablate.design.record import Record

PLAN = plan_of("control", "other", seeds=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "BACK_OFF_S", (0.01, 0.05))


def view_of(runs: Path, uri: str) -> MlflowView:
    return MlflowView(uri, runs, seal(PLAN, runs).to_json())


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
            view.push(PLAN, item, {})
        assert server.asked[2:] == ["create"]


def test_a_server_that_keeps_artifacts_in_a_folder_of_its_own_choice_here_is_refused(runs: Path) -> None:
    with serving(body=experiment("file:///there/artifacts/1")) as (address, _):
        view = view_of(runs, f"http://{address}")
        with pytest.raises(ViewError, match="start the server with --artifacts-destination"):
            view.known(PLAN, {})


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
        view_of(runs, f"sqlite:///{theirs}").known(PLAN, {})
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
