"""A queue in a PostgreSQL database: reaching it, telling its absence from a fault, and holding a campaign there."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

from ablate.errors import AblateError
from ablate.paths import redact

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

SCHEME = "postgresql+psycopg://"
TAKE = "SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"
HOLDER = """
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted
    AND ((pg_locks.classid::bigint << 32) | pg_locks.objid::bigint) = hashtextextended(:name, 0)
"""


def server_arguments(url: str) -> dict[str, Any]:
    """What SQLAlchemy needs for this URL.

    Raises:
        AblateError: the URL is of another kind, or psycopg is not installed.
    """
    if not url.startswith(SCHEME):
        raise AblateError(f"--queue takes {SCHEME}USER:PASSWORD@HOST/DATABASE; got {redact(url)!r}")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise AblateError(
            f"--queue needs the package psycopg ({error}); python -m pip install 'ablate[postgres]'"
        ) from error
    name = f"ablate, process {os.getpid()} on {socket.gethostname()}"[:63]
    # a connection that the server has dropped since is replaced before it is used
    return {"pool_pre_ping": True, "connect_args": {"application_name": name, "connect_timeout": 10}}


def causes(error: BaseException | None) -> list[BaseException]:
    """An error and what it came from, the origin last."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        wrapped = getattr(error, "orig", None)  # SQLAlchemy's name for the driver's own error
        error = wrapped if isinstance(wrapped, BaseException) else error.__cause__ or error.__context__
    return chain


def sentence(error: BaseException) -> str:
    """The first line of what an error came from."""
    lines = str(causes(error)[-1]).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def is_away(error: BaseException) -> bool:
    """Whether the database did not answer, as when its server restarts, rather than refused what it was asked."""
    from sqlalchemy.exc import InterfaceError, OperationalError

    return any(isinstance(link, InterfaceError | OperationalError) for link in causes(error))


def is_broken(error: BaseException) -> bool:
    """Whether the database is to blame, whatever is wrong with it: away, locked, damaged."""
    from sqlalchemy.exc import DatabaseError, InterfaceError

    return any(isinstance(link, InterfaceError | DatabaseError) for link in causes(error))


def is_full(error: BaseException) -> bool:
    """Whether a database, a file's or a server's, could not be written for want of space."""
    words = ("disk is full", "No space left on device")
    return any(word in str(link) for link in causes(error) for word in words)


class ServerLock:
    """One dispatcher a campaign on a server, from whichever machine; the server lets go of it when this one ends.

    Raises:
        AblateError: another dispatcher holds it; the message says which.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._connection: Connection | None = None
        self.take()

    def take(self) -> None:
        """Takes the lock, again where the server has restarted and forgotten it."""
        from sqlalchemy import text

        self.release()
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if not connection.execute(text(TAKE), {"name": self._name}).scalar():
            holder = connection.execute(text(HOLDER), {"name": self._name}).scalar() or "another dispatcher"
            connection.close()
            raise AblateError(
                f"the study {self._name.split()[0]!r} is being run by {holder}, which holds it in the queue's "
                f"database; wait for it, or end it first"
            )
        self._connection = connection

    def is_held(self) -> bool:
        """Whether the connection that took the lock is there still; with it the lock goes."""
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError

        try:
            return self._connection is not None and bool(self._connection.execute(text("SELECT 1")).scalar())
        except DBAPIError:
            return False

    def release(self) -> None:
        """Lets go of it."""
        if self._connection is not None:
            self._connection.invalidate()  # closed, not put back into the pool, where it would go on holding the lock
            self._connection.close()
            self._connection = None


def check_free(url: str, name: str) -> None:
    """Sees to it that nobody runs a campaign whose queue lies in this database; passes where the server is away.

    Raises:
        AblateError: as of ``ServerLock`` and ``server_arguments``.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    engine = create_engine(url, **server_arguments(url))
    try:
        with contextlib.suppress(SQLAlchemyError):  # whoever asks for the queue next says so
            ServerLock(engine, name).release()
    finally:
        engine.dispose()
