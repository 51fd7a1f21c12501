"""`python -m ablate.ui`: browse what MLflow holds."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

from ablate.errors import AblateError
from ablate.paths import default_runs, redact, tracking_uri

PAGE = "#/experiments?workflowType=machine_learning"  # else MLflow opens on its pages for language models
LOCAL = {"127.0.0.1", "localhost", "::1"}


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate ui`."""
    new = argparse.ArgumentParser(
        prog="ablate ui", description="Opens the MLflow UI on the store that studies write to."
    )
    new.add_argument("--runs", type=Path, default=default_runs(), metavar="DIR", help="the runs folder (%(default)s)")
    new.add_argument("--tracking-uri", metavar="URI", help="another MLflow store, such as sqlite:///x.db")
    new.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    new.add_argument("--port", type=int, default=5000, help="the port to listen on (%(default)s)")
    return new


def server_environment(uri: str) -> dict[str, str]:
    """What tells the MLflow server its store: a command line, where a password may stand, is seen by every user."""
    quiet = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return {**os.environ, **quiet, "MLFLOW_BACKEND_STORE_URI": uri}


def server_command(runs: Path, host: str, port: int) -> list[str]:
    """The MLflow server on the store of its environment, as a command; one worker serves one person."""
    artifacts = (runs.resolve() / "artifacts").as_uri()
    return [
        *(sys.executable, "-m", "mlflow", "server", "--default-artifact-root", artifacts),
        *("--host", host, "--port", str(port), "--workers", "1"),
    ]  # fmt: skip


def _check(uri: str, runs: Path, host: str, port: int) -> None:
    if uri.startswith(("http://", "https://")):
        raise AblateError(f"the results are on a server of their own: open {redact(uri)} in a browser")
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise AblateError(
            f"{runs}: holds no results yet; run a study first (python -m ablate.study linear_bottleneck) or name the "
            "folder with --runs"
        )
    if not 1 <= port <= 65535:
        raise AblateError(f"--port must be from 1 to 65535, got {port}")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AblateError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port") from error


def main(arguments: list[str] | None = None) -> int:
    """Starts the server and stays until it ends or Ctrl-C is pressed."""
    options = parser().parse_args(arguments)
    uri = tracking_uri(options.runs, options.tracking_uri)
    try:
        _check(uri, options.runs, options.host, options.port)
    except AblateError as error:
        print(f"ablate ui: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if options.host not in LOCAL:
        print(  # noqa: T201
            f"Listening on {options.host}: whoever reaches this machine on port {options.port} can read, change and "
            "delete every result and file of this store; MLflow asks for no password.",
            file=sys.stderr,
        )
    print(f"MLflow UI on http://{options.host}:{options.port}/{PAGE} (Ctrl-C ends it)", flush=True)  # noqa: T201
    server = subprocess.Popen(  # noqa: S603
        server_command(options.runs, options.host, options.port), env=server_environment(uri)
    )
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()
        server.wait()
        return 0


if __name__ == "__main__":
    sys.exit(main())
