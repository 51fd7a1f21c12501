"""A PostgreSQL server of the tests' own, on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

HINT = "PostgreSQL is not installed: apt-get install postgresql, and python -m pip install '.[postgres]'"


def program(name: str) -> str | None:
    """A program of the server, which Debian keeps out of the path."""
    here = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(here[-1]) if here else None)


def installed() -> bool:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return False
    return program("initdb") is not None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """Runs as the user ``postgres`` where the tests run as root, which PostgreSQL refuses; ``close`` removes all."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ablate-postgres-"))
        self.port = free_port()
        self.user: dict[str, Any] = {}
        if os.getuid() == 0:
            self.user = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-D", "data", "-U", "ablate", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        self.start()

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(program(name)), *arguments]
        with (self.folder / "log").open("ab") as log:
            subprocess.run(command, cwd=self.folder, check=True, stdout=log, stderr=log, **self.user)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-w", "-o", options, "-l", "server.log", "start")

    def stop(self, mode: str = "immediate") -> None:
        """``immediate`` is a crash; ``fast`` ends every connection first."""
        self._run("pg_ctl", "-D", "data", "-w", "-m", mode, "stop")

    def database(self, name: str) -> str:
        """A new, empty database, as SQLAlchemy is told of it."""
        import psycopg

        with psycopg.connect(f"postgresql://ablate@127.0.0.1:{self.port}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return f"postgresql+psycopg://ablate@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # it is down
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
