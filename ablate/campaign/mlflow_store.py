"""The MLflow store itself: its client, its sqlite file, and its errors as sentences."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse, urlunparse

from ablate.campaign.views import ViewError, damage_of, set_aside
from ablate.errors import AblateError
from ablate.files import make_whole
from ablate.paths import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SENDING = threading.Lock()
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# A server that is away is noticed in seconds; whoever calls tries again.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    RETRIES: "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
PLAIN = re.compile(r"[\w/.,+=@~: -]*")  # of a path: what means nothing else in an address


class MlflowStore:
    """One MLflow store, connected when it is first used and again when its file was replaced.

    Args:
        uri: ``sqlite:///...``, another database, or the address of a server. A password in it goes into the
            environment, where MLflow looks for it and no process list shows it.
        artifacts: the folder of artifacts if the store is a database server; those of an sqlite file are beside it,
            and an MLflow server has its own place.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri = _without_password(uri)
        self.file = Path(self.uri.removeprefix("sqlite:///")) if self.uri.startswith("sqlite:///") else None
        self.artifacts = artifacts if self.file is None else self.file.parent / "artifacts"
        self.is_server = urlparse(self.uri).scheme in ("http", "https", "databricks")
        self.is_own = self.file is not None and self.file.parent == artifacts.parent
        self._client: MlflowClient | None = None
        self._opened: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The store as a message names it."""
        return f"MLflow at {redact(self.uri)}"

    @property
    def exists(self) -> bool:
        """False for an sqlite file that is not there yet, so that nothing can be in it."""
        return self.file is None or self.file.exists()

    @property
    def damage(self) -> str:
        """What is wrong with the sqlite file, or nothing."""
        return "" if self.file is None else damage_of(self.file)

    def may_hold(self, keys: Collection[str]) -> bool:
        """Whether the store may have runs with one of these tags; of the runs folder's own file it is known in ms."""
        if not self.exists:
            return False
        if not self.is_own or self.file is None:
            return True
        try:
            with contextlib.closing(sqlite3.connect(f"{self.file.as_uri()}?mode=ro", uri=True)) as database:
                held = {value for (value,) in database.execute("SELECT value FROM tags WHERE key = 'ablate.key'")}
            return not held.isdisjoint(keys)
        except (sqlite3.Error, UnicodeDecodeError):  # damaged: it is found out when it is opened
            return True

    @property
    def client(self) -> MlflowClient:
        """MLflow's client."""
        if self._client is None or (self.file is not None and self._opened != _identity(self.file)):
            self.disconnect()
            self._client = self._connected()
            self._opened = None if self.file is None else _identity(self.file)
        return self._client

    def load(self) -> None:
        """Imports MLflow, with what a store in a database needs."""
        if not self.is_server:
            import mlflow.store.tracking.sqlalchemy_store
        import mlflow.entities  # noqa: F401

    def disconnect(self) -> None:
        """Lets go of the file, so that one that has taken its place is opened next."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                engine: Any = self._client._tracking_client.store.engine  # noqa: SLF001 - there is no public way
                engine.dispose()
        self._client = None

    def _connected(self) -> MlflowClient:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if self.file is None:
            return MlflowClient(tracking_uri=self.uri)
        file = self.file if _can_write(self.file) else _copy(self.file)
        self._ready(file)
        return MlflowClient(tracking_uri=address(file))

    def _ready(self, file: Path) -> None:
        from mlflow import MlflowClient

        if damage := damage_of(file):
            if not self.is_own:
                raise ViewError(f"{self.name}: the file {damage}; move it away to have it made again from the records")
            set_aside(file)
        if not file.exists():
            # half of its tables would be a store that MLflow can neither use nor mend
            make_whole(file, lambda new: _create(MlflowClient(tracking_uri=address(new))))
        elif self.is_own:
            relocate(file, self.artifacts)

    @contextlib.contextmanager
    def answers(self) -> Iterator[None]:
        """Turns whatever MLflow raises into a ViewError of one sentence; our own errors pass."""
        try:
            yield
        except AblateError:
            raise
        except Exception as error:
            if self.file is not None:
                self.disconnect()
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ViewError(redact(f"{self.name} does not answer as it should: {lines[0]}")[:400]) from error


def address(file: Path) -> str:
    """The address of an sqlite file for MLflow; a path that an address cannot hold is reached through a link.

    The link is in a folder of this process and leads to the file's folder, so that sqlite keeps what belongs to the
    file in its place.
    """
    if not PLAIN.fullmatch(str(file)):
        file = _link(file.parent) / file.name
    return f"sqlite:///{file}"


def _can_write(file: Path) -> bool:
    return os.access(file.parent, os.W_OK) and (not file.exists() or os.access(file, os.W_OK))


@functools.cache
def _copy(file: Path) -> Path:
    """A copy for this process of a file that can only be read: MLflow writes to a database that it opens."""
    copy = _private_folder() / file.name
    if file.exists():
        shutil.copyfile(file, copy)
    return copy


def _private_folder() -> Path:
    place = Path(tempfile.mkdtemp(prefix="ablate-mlflow-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


@functools.cache
def _link(folder: Path) -> Path:
    link = _private_folder() / "runs"
    link.symlink_to(folder.absolute(), target_is_directory=True)
    return link


def _create(client: MlflowClient) -> None:
    client.search_experiments(max_results=1)
    with contextlib.suppress(Exception):
        engine: Any = client._tracking_client.store.engine  # noqa: SLF001 - there is no public way
        engine.dispose()


@contextlib.contextmanager
def sent_once() -> Iterator[None]:
    """Has the client send a request once: it repeats even those that make a run, and nobody would know of the first."""
    with _SENDING:
        before = os.environ[RETRIES]
        os.environ[RETRIES] = "0"  # the client looks there at every request
        try:
            yield
        finally:
            os.environ[RETRIES] = before


def relocate(file: Path, artifacts: Path) -> None:
    """Points a runs folder's own store at the artifacts beside it; one that was moved or copied names the old place."""
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as database, database:
        rows = database.execute("SELECT experiment_id, name, artifact_location FROM experiments").fetchall()
        for number, name, old in rows:
            new = (artifacts / name).as_uri()
            if old != new and unquote(old).endswith(f"/artifacts/{name}"):
                change = "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE experiment_id = ?"
                database.execute(change, (new, len(old) + 1, number))
                database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (new, number))


def local_folder(uri: str) -> Path | None:
    """The folder that an artifact address names on this machine; None for one elsewhere."""
    parts = urlparse(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(uri) if not parts.scheme else None


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _without_password(uri: str) -> str:
    parts = urlparse(uri)
    if parts.scheme not in ("http", "https") or parts.password is None:
        return uri
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
    return urlunparse(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
