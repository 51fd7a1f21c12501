"""Records on disk: each waits in its trial's folder until MLflow has it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ablate.design.record import Record
from ablate.errors import AblateError
from ablate.files import write_whole

RECORD = "record.json"
OUTPUT = "output.log"
WEIGHTS = "weights.pt"
DAMAGED = ".damaged"


@dataclass(frozen=True)
class Outbox:
    """The folders of a study's trials: ``KEY/`` with checkpoint, output and, when it has ended, the record."""

    trials: Path

    @classmethod
    def of(cls, runs: Path, study: str) -> Outbox:
        """A study's own. Two studies may share a trial's key, but each hands its record to its own experiment."""
        return cls(runs / "trials" / study)

    def folder(self, key: str) -> Path:
        """The folder of a trial; it need not be there."""
        return self.trials / key

    def put(self, record: Record) -> None:
        """Writes the record whole, unless the same one is there already."""
        path = self.folder(record.key) / RECORD
        text = record.to_json().encode()
        if not (path.is_file() and path.read_bytes() == text):
            write_whole(path, text)

    def read(self, key: str) -> Record | None:
        """The record that waits, or None.

        Raises:
            AblateError: there is one, but damaged.
        """
        path = self.folder(key) / RECORD
        try:
            record = Record.from_json(path.read_text())
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise AblateError(f"{path}: not a record: {error}") from error
        except AblateError as error:
            raise AblateError(f"{path}: {error}") from error
        if record.key != key:
            raise AblateError(f"{path}: the record is of trial {record.key}")
        return record

    def get(self, key: str) -> Record | None:
        """The record that waits, or None. A damaged one is set aside as record.json.damaged."""
        try:
            return self.read(key)
        except AblateError:
            path = self.folder(key) / RECORD
            path.replace(path.with_name(RECORD + DAMAGED))
            return None

    def here(self, keys: Iterable[str]) -> list[str]:
        """Which of these trials have a file for their record."""
        found = {path.parent.name for path in self.trials.glob(f"*/{RECORD}")}
        return [key for key in keys if key in found]

    def waiting(self, keys: Iterable[str]) -> dict[str, Record]:
        """The records that wait, of these trials."""
        found = {key: self.get(key) for key in self.here(keys)}
        return {key: record for key, record in found.items() if record is not None}

    def damaged(self, keys: Iterable[str]) -> list[Path]:
        """Records that were set aside, of these trials."""
        wanted = set(keys)
        return sorted(path for path in self.trials.glob(f"*/{RECORD}{DAMAGED}") if path.parent.name in wanted)

    def weights(self, key: str) -> Path | None:
        """The weights that the trial kept, if it did."""
        path = self.folder(key) / WEIGHTS
        return path if path.is_file() else None

    def forget(self, key: str) -> None:
        """Removes the record that waits, if there is one; the checkpoint stays."""
        (self.folder(key) / RECORD).unlink(missing_ok=True)

    def settle(self, key: str) -> None:
        """Forgets a trial that MLflow has: its folder goes, the checkpoint with it."""
        folder = self.folder(key)
        with contextlib.suppress(OSError):
            # the record goes last: killed on the way, the next call finds it and goes on here
            for path in sorted(folder.iterdir(), key=lambda path: path.name == RECORD):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            folder.rmdir()

    def tail(self, key: str, lines: int = 40) -> str:
        """The last lines of the trial's output."""
        with contextlib.suppress(OSError), (self.folder(key) / OUTPUT).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        return ""
