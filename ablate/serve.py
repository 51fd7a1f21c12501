"""A web application for one person: on this machine, behind a token, with no file from outside its folder."""

from __future__ import annotations

import hmac
import os
import socket
import sys
import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ablate.errors import AblateError

LOCAL = {"127.0.0.1", "localhost", "::1"}
TOKEN = "token"  # noqa: S105 - the name of a parameter
REFUSAL = b"This page needs the link with its token that ablate ui printed when it started.\n"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application that lets through those who have the token.

    A browser brings it in the link, once, and gets a cookie in return; a program sends it as
    ``Authorization: Bearer TOKEN``, as MLflow's client does with $MLFLOW_TRACKING_TOKEN.

    Args:
        inside: the application.
        token: the secret.
        port: where it listens; part of the cookie's name, since the servers of one machine share their cookies.
    """

    def __init__(self, inside: Application, token: str, port: int) -> None:
        self._inside = inside
        self._token = token
        self._cookie = f"ablate-ui-{port}"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "lifespan":
            await self._inside(scope, receive, send)
            return
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["type"] == "http" and self._is_right(dict(query).get(TOKEN, "")):
            rest = urlencode([(name, value) for name, value in query if name != TOKEN])
            await self._welcome(scope["path"] + (f"?{rest}" if rest else ""), send)
        elif self._brings_token(scope):
            await self._inside(scope, receive, send)
        elif scope["type"] == "http":
            await _respond(send, 403, [(b"content-type", b"text/plain")], REFUSAL)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _is_right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())

    def _brings_token(self, scope: Message) -> bool:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            cookie = None
        return self._is_right(cookie.value if cookie else headers.get("authorization", "").removeprefix("Bearer "))

    async def _welcome(self, path: str, send: Send) -> None:
        """Sets the cookie and takes the token out of the address, where a screenshot would show it."""
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Lax"
        where = "/" + path.lstrip("/")  # two slashes would lead to another machine
        await _respond(send, 303, [(b"location", where.encode("latin-1")), (b"set-cookie", cookie.encode())], b"")


async def _respond(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def mlflow_application(address: str, artifacts: Path) -> Application:
    """MLflow's server on a store.

    Args:
        address: of the store. It goes to MLflow through the environment, which other users cannot read.
        artifacts: the folder that files are served from. A store can name any file of this machine, and a folder can
            hold links, so MLflow's own reader of files is replaced with one that refuses what lies outside.
    """
    quiet = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.environ.update(quiet)
    from mlflow.server import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR

    os.environ.update({BACKEND_STORE_URI_ENV_VAR: address, ARTIFACT_ROOT_ENV_VAR: artifacts.as_uri()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own imports
        from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    _fence(artifacts)
    initialize_backend_stores(address, address, artifacts.as_uri())
    application: Application = app
    return application


def _fence(artifacts: Path) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
    from mlflow.store.artifact import artifact_repository_registry as registry
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    allowed = artifacts.resolve()

    class Fenced(LocalArtifactRepository):  # type: ignore[misc]
        """Local files below one folder, links followed before they are judged."""

        def __init__(self, artifact_uri: str, *arguments: object, **more: object) -> None:
            super().__init__(artifact_uri, *arguments, **more)
            self._check("")

        def _check(self, path: str | None) -> None:
            found = (Path(self.artifact_dir) / (path or "")).resolve()
            if not found.is_relative_to(allowed):
                message = f"{found}: lies outside {allowed}, the folder of artifacts, and is not served"
                raise MlflowException(message, error_code=PERMISSION_DENIED)

        def get_local_path(self, artifact_path: str) -> str:
            self._check(artifact_path)
            return str(super().get_local_path(artifact_path))

        def list_artifacts(self, path: str | None = None) -> list[Any]:
            self._check(path)
            return list(super().list_artifacts(path))

        def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
            self._check(artifact_path)
            return str(super().download_artifacts(artifact_path, dst_path))

        def _get_or_create_artifact_dir(self, artifact_path: str | None) -> str:
            self._check(artifact_path)
            return str(super()._get_or_create_artifact_dir(artifact_path))

        def delete_artifacts(self, artifact_path: str | None = None) -> None:
            self._check(artifact_path)
            super().delete_artifacts(artifact_path)

    for scheme in ("", "file"):
        registry._artifact_repository_registry.register(scheme, Fenced)  # noqa: SLF001 - else it takes an installed plugin


def optuna_application(storage: Any) -> Application:
    """optuna-dashboard on a storage of Optuna.

    Raises:
        AblateError: optuna-dashboard is not installed.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise AblateError(
            f"--optuna needs the package optuna-dashboard ({error}); install it with "
            "`python -m pip install optuna-dashboard`"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.middleware.wsgi import WSGIMiddleware

        application: Application = WSGIMiddleware(wsgi(storage))
    return application


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a port in use is noticed before anything is loaded.

    Raises:
        AblateError: the address or the port cannot be used.
    """
    if not 0 <= port <= 65535:
        raise AblateError(f"--port must be from 0 (any that is free) to 65535, got {port}")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise AblateError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port") from error
    return listener


def serve(application: Application, listener: socket.socket) -> None:
    """Serves until Ctrl-C or SIGTERM."""
    import uvicorn

    config = uvicorn.Config(application, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        sys.stdout.flush()
