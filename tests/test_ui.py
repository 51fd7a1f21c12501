"""`ablate ui`: who gets in, what is served, what is printed, and that it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ablate import serve, ui
from ablate.errors import AblateError


async def inside(scope: serve.Message, receive: serve.Receive, send: serve.Send) -> None:
    """An application that lets everybody in."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"results"})


def answer(query: str = "", path: str = "/", **headers: str) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of a guarded application whose token is ``right``."""
    sent: list[serve.Message] = []

    async def receive() -> serve.Message:
        return {"type": "http.request", "body": b""}

    async def send(message: serve.Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(serve.Guard(inside, "right", 5000)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize("headers", [{}, {"cookie": "ablate-ui-5000=wrong"}, {"authorization": "Bearer wrong"}])
def test_nobody_gets_in_without_the_token(headers: dict[str, str]) -> None:
    assert answer(**headers)[0] == 403
    assert answer("token=wrong", **headers)[0] == 403


@pytest.mark.parametrize("headers", [{"cookie": "a=b; ablate-ui-5000=right"}, {"authorization": "Bearer right"}])
def test_whoever_brings_the_token_gets_in(headers: dict[str, str]) -> None:
    assert answer(**headers)[0] == 200


def test_the_link_gives_a_cookie_and_leads_to_an_address_without_the_token() -> None:
    status, headers = answer("a=b&token=right", "/page")
    assert (status, headers[b"location"]) == (303, b"/page?a=b")
    assert headers[b"set-cookie"] == b"ablate-ui-5000=right; Path=/; HttpOnly; SameSite=Lax"
    assert answer("token=right", "//elsewhere.example")[1][b"location"] == b"/elsewhere.example"


def test_the_link_has_the_token_before_the_part_that_stays_in_the_browser() -> None:
    assert (
        ui._link("::1", 5000, "t", "#/experiments/7/runs?x=y") == "http://[::1]:5000/?token=t#/experiments/7/runs?x=y"
    )
    assert (
        ui._link("127.0.0.1", 8080, "t", "dashboard/studies/3") == "http://127.0.0.1:8080/dashboard/studies/3?token=t"
    )


def test_it_listens_on_this_machine_and_says_what_listening_elsewhere_exposes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ui.parser().parse_args([]).host == "127.0.0.1"
    ui._say("127.0.0.1", 5000, "LINK", "MLflow")
    told = capsys.readouterr()
    assert "Anyone with this link can change and delete results" in told.out
    assert told.err == ""
    ui._say("0.0.0.0", 5000, "LINK", "MLflow")
    assert "reaches this machine on port 5000 can read, change" in capsys.readouterr().err


def test_wrong_input_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ((), ("--optuna",)):
        assert ui.main(["--runs", str(tmp_path), "--port", "0", *option]) == 2
        assert "run a study first" in capsys.readouterr().err
    with pytest.raises(AblateError, match="--port must be from 0"):
        serve.bind("127.0.0.1", 70000)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AblateError, match="choose another --port"):
        serve.bind("127.0.0.1", taken.getsockname()[1])


def test_without_optuna_dashboard_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(AblateError, match="python -m pip install optuna-dashboard"):
        serve.optuna_application(None)


def test_of_a_runs_folder_that_was_moved_the_artifacts_beside_it_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ablate.campaign.mlflow_store import MlflowStore

    runs, moved = tmp_path / "runs", tmp_path / "moved"
    runs.mkdir()
    store = MlflowStore(f"sqlite:///{runs / 'mlflow.db'}", runs / "artifacts")
    number = store.client.create_experiment("one", artifact_location=(runs / "artifacts" / "one").as_uri())
    store.disconnect()
    runs.rename(moved)
    monkeypatch.setattr(ui, "mlflow_application", lambda *_: inside)
    ui._mlflow(ui.parser().parse_args(["--runs", str(moved)]))
    with sqlite3.connect(f"file:{moved / 'mlflow.db'}?mode=ro", uri=True) as database:
        ((place,),) = database.execute("SELECT artifact_location FROM experiments WHERE experiment_id = ?", (number,))
    assert place == (moved / "artifacts" / "one").as_uri()


@pytest.mark.slow
def test_the_server_serves_artifacts_alone_and_ends_with_the_command(tmp_path: Path) -> None:
    from ablate.campaign.mlflow_store import MlflowStore

    runs, secret = tmp_path / "runs", tmp_path / "secret"
    runs.mkdir()
    secret.write_text("private")
    store = MlflowStore(f"sqlite:///{runs / 'mlflow.db'}", runs / "artifacts")
    inner = store.client.create_experiment("inner", artifact_location=(runs / "artifacts" / "inner").as_uri())
    outer = store.client.create_experiment("outer", artifact_location=(tmp_path / "outside").as_uri())
    found = {name: store.client.create_run(number).info.run_id for name, number in (("in", inner), ("out", outer))}
    for run_id in found.values():
        store.client.log_text(run_id, "a record", "record.json")
    (here,) = (runs / "artifacts").rglob("record.json")
    here.with_name("link").symlink_to(secret)
    store.disconnect()
    command = [sys.executable, "-m", "ablate.ui", "inner", "--runs", str(runs), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "DISPLAY": ""})
    assert process.stdout is not None
    link = process.stdout.readline().split()[-1]
    assert link.endswith(f"#/experiments/{inner}/runs?workflowType=machine_learning")
    base, _, token = link.partition("#")[0].partition("/?token=")

    def get(run: str, path: str, token: str = token) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        address = f"{base}/get-artifact?run_id={found[run]}&path={path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    asked = [("in", "record.json"), ("in", "link"), ("out", "record.json")]
    assert [get(*one) for one in asked] == [200, 403, 403]
    assert get("in", "record.json", "wrong") == 403
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    process.stdout.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2]))):
        pass
