"""`python -m ablate.ui [STUDY]`: browse the results in MLflow, or in optuna-dashboard."""

from __future__ import annotations

import argparse
import html
import os
import secrets
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.command_line import exit_status
from ablate.errors import AblateError, one_of
from ablate.paths import default_runs, redact, tracking_uri
from ablate.serve import LOCAL, TOKEN, Application, Guard, bind, mlflow_application, optuna_application, serve

if TYPE_CHECKING:
    from ablate.campaign.mlflow_store import MlflowStore

MLFLOW_PORT, OPTUNA_PORT = 5000, 8080
TRAINING = "workflowType=machine_learning"  # else MLflow opens on its pages for language models
OPENED_S = 30.0  # how long the file that leads a browser to the link is kept


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate ui`."""
    new = argparse.ArgumentParser(
        prog="ablate ui",
        description="Serves the results to your browser: prints a link, and opens it if there is a screen.",
        epilog="docs/security.md explains who can reach the pages.",
    )
    new.add_argument("study", nargs="?", metavar="STUDY", help="open the runs of this study (default: all studies)")
    new.add_argument("--optuna", action="store_true", help="optuna-dashboard on runs/optuna.db instead of MLflow")
    new.add_argument("--runs", type=Path, default=default_runs(), metavar="DIR", help="the runs folder (%(default)s)")
    new.add_argument("--tracking-uri", metavar="URI", help="another MLflow store, such as sqlite:///x.db")
    new.add_argument("--optuna-storage", metavar="URL", help="another Optuna storage; only with --optuna")
    new.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    new.add_argument(
        "--port", type=int, metavar="N", help=f"the port to listen on ({MLFLOW_PORT}; with --optuna {OPTUNA_PORT})"
    )
    return new


def _mlflow(options: argparse.Namespace) -> tuple[Application, str]:
    """MLflow's pages, and which of them to open.

    Raises:
        AblateError: there are no results, or none of the study.
    """
    from ablate.campaign.mlflow_store import MlflowStore, address

    runs = options.runs.resolve()
    uri = tracking_uri(runs, options.tracking_uri)
    store = MlflowStore(uri, runs / "artifacts")
    if store.is_server:
        raise AblateError(f"the results are on a separate server: open {redact(uri)} in a browser")
    if not store.exists:
        raise AblateError(
            f"{options.runs}: holds no results yet; run a study first (python -m ablate.study linear_bottleneck) or "
            "name the folder with --runs"
        )
    with store.answers():
        experiment = _experiment(store, options.study)
    application = mlflow_application(uri if store.file is None else address(store.file), runs / "artifacts")
    return application, f"#/experiments{experiment}"


def _experiment(store: MlflowStore, study: str | None) -> str:
    """``/7/runs?...``: where MLflow shows the runs of a study, with the columns that its campaign chose."""
    from ablate.campaign.mlflow_page import SHARED, SHOWN

    client = store.client  # opening it also finds the artifacts of a runs folder that was moved
    if study is None:
        return f"?{TRAINING}"
    found = {one.name: one for one in client.search_experiments()}
    if study not in found:
        raise AblateError(f"{store.name}: the study {one_of(study, sorted(set(found) - {'Default'}))}")
    view = f"&{SHOWN}" if SHARED in found[study].tags else ""  # an older store has none
    return f"/{found[study].experiment_id}/runs?{TRAINING}{view}"


def _optuna(options: argparse.Namespace) -> tuple[Application, str]:
    """optuna-dashboard, and which of its pages to open.

    Raises:
        AblateError: there are no results, or none of the study, or optuna-dashboard is not installed.
    """
    from ablate.campaign.optuna_view import OptunaView

    view = OptunaView(options.runs.resolve(), options.optuna_storage)
    if not view.exists:
        raise AblateError(f"{options.runs}: holds no optuna.db yet; run a study first, or name the folder with --runs")
    storage = view.storage
    application = optuna_application(storage)
    studies = {one.study_name: one._study_id for one in storage.get_all_studies()}  # noqa: SLF001 - it is in the address
    mine = [number for name, number in studies.items() if options.study and name.split()[0] == options.study]
    if options.study and not mine:
        raise AblateError(
            f"{view.name}: the study {one_of(options.study, sorted({name.split()[0] for name in studies}))}"
        )
    return application, f"dashboard/studies/{max(mine)}" if mine else "dashboard"


def _link(host: str, port: int, token: str, page: str) -> str:
    """The link that lets its holder in: the token comes before the part that stays in the browser."""
    shown = f"[{host}]" if ":" in host else host
    path, hashed, rest = page.partition("#")
    return f"http://{shown}:{port}/{path}?{TOKEN}={token}{hashed}{rest}"


def _open(link: str) -> None:
    """Opens a browser where there is a screen. It is given a private file, since other users see its command line."""
    if not (sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return

    def opening() -> None:
        import webbrowser

        with tempfile.NamedTemporaryFile("w", prefix="ablate-ui-", suffix=".html", encoding="utf-8") as file:
            file.write(f'<meta http-equiv="refresh" content="0; url={html.escape(link)}">')
            file.flush()
            webbrowser.open(Path(file.name).as_uri())
            time.sleep(OPENED_S)

    threading.Thread(target=opening, daemon=True).start()


def main(arguments: list[str] | None = None) -> int:
    """Serves until Ctrl-C or SIGTERM."""
    options = parser().parse_args(arguments)
    return exit_status("ui", lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Prints the link and serves."""
    port = options.port if options.port is not None else OPTUNA_PORT if options.optuna else MLFLOW_PORT
    with bind(options.host, port) as listener:
        application, page = (_optuna if options.optuna else _mlflow)(options)
        token, port = secrets.token_urlsafe(24), listener.getsockname()[1]
        link = _link(options.host, port, token, page)
        _say(options.host, port, link, "optuna-dashboard" if options.optuna else "MLflow")
        _open(link)
        serve(Guard(application, token, port), listener)


def _say(host: str, port: int, link: str, what: str) -> None:
    if host not in LOCAL:
        print(  # noqa: T201
            f"Listening on {host}: anyone with the link below who reaches this machine on port {port} can read, change "
            "and delete every result and file of this store, and the link travels unencrypted. An SSH tunnel to "
            "127.0.0.1 is safer.",
            file=sys.stderr,
        )
    print(f"{what}: {link}", flush=True)  # noqa: T201
    print("Anyone with this link can change and delete results; others have no access. Ctrl-C ends it.", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
