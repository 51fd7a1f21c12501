"""The record store: the result of each trial, in one immutable file each. Everything else is made from these files."""

from __future__ import annotations

import contextlib
import errno
import glob
import itertools
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.campaign.options import CampaignStopped
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.design.sealed import MOST_SEALS, SealedPlan, every_trial, shared_trials
from ablate.design.study import Study
from ablate.errors import AblateError
from ablate.files import Locked, locked, read_whole, write_whole
from ablate.formats import parse
from ablate.provenance import commit

RECORDS, CHECKPOINTS, PLANS = "records", "checkpoints", "plans"
OUTPUT, WEIGHTS, LOCK = "output.log", "weights.pt", ".lock"
DAMAGED, FORGOTTEN = ".damaged", ".forgotten"
LAYOUT = 2  # of the runs folder; 1 had a queue and kept its records in MLflow


class Held(AblateError):  # noqa: N818 - a state, not a mistake
    """Another dispatcher runs this study in this runs folder."""


@dataclass(frozen=True)
class RecordStore:
    """The records and checkpoints of one study in one runs folder.

    Args:
        runs: the runs folder.
        study: the study's name.

    Example:
        >>> RecordStore(Path("runs"), "toggles").path("0123456789abcdef").as_posix()
        'runs/records/toggles/0123456789abcdef.json'
    """

    runs: Path
    study: str

    @property
    def records(self) -> Path:
        """The folder of the records."""
        return self.runs / RECORDS / self.study

    def path(self, key: str) -> Path:
        """The record of a trial; it need not exist."""
        return self.records / f"{key}.json"

    def weights(self, key: str) -> Path:
        """The weights that a trial kept, if its study keeps them."""
        return self.records / f"{key}.pt"

    def folder(self, key: str) -> Path:
        """A running trial's folder: its checkpoint and output. It goes when the record stands."""
        return self.runs / CHECKPOINTS / self.study / key

    def keys(self) -> set[str]:
        """The trials that have a record, damaged or not."""
        try:
            with os.scandir(self.records) as entries:
                return {entry.name[:-5] for entry in entries if entry.name.endswith(".json")}
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def read(self, key: str) -> Record | None:
        """The record of a trial, or None.

        Raises:
            AblateError: the file is damaged, or is the record of another trial.
        """
        path = self.path(key)
        try:
            content = read_whole(path)
        except FileNotFoundError:
            return None
        try:
            record = Record.from_json(content.decode())
        except UnicodeDecodeError as error:
            raise AblateError(f"{path}: not a record: {error}") from error
        except AblateError as error:
            raise AblateError(f"{path}: {error}") from error
        if record.key != key:
            raise AblateError(f"{path}: is the record of trial {record.key}")
        return record

    def take(self, key: str) -> tuple[Record | None, str]:
        """The record of a trial, or None and a sentence where a damaged one was set aside."""
        try:
            return self.read(key), ""
        except AblateError as error:
            path = self.path(key)
            path.replace(path.with_name(path.name + DAMAGED))
            return None, f"{error}; set aside as {path.name}{DAMAGED}"

    def put(self, record: Record) -> None:
        """Writes a record whole."""
        write_whole(self.path(record.key), record.to_json().encode())

    def keep(self, key: str, text: str) -> None:
        """Writes a record as another machine wrote it."""
        write_whole(self.path(key), text.encode())

    def accept(self, key: str, text: str) -> Record | None:
        """Keeps a record that a view gave; None where it is damaged, another trial's, or was forgotten on purpose."""
        try:
            record = Record.from_json(text)
        except AblateError:
            return None
        if record.key != key or text in self.forgotten(key):
            return None
        self.keep(key, text)
        return record

    def forget(self, key: str) -> bool:
        """Sets a record aside on purpose, so that its trial is trained again; whether there was one."""
        path = self.path(key)
        if not path.exists():
            return False
        path.replace(path.with_name(f"{path.name}{FORGOTTEN}.{len(self._set_aside(key)) + 1}"))
        self.clear(key)
        return True

    def forgotten(self, key: str) -> list[str]:
        """The texts of the records that were set aside on purpose, oldest first."""
        return [path.read_text(encoding="utf-8", errors="replace") for path in self._set_aside(key)]

    def _set_aside(self, key: str) -> list[Path]:
        """In the order of their numbers; ablate once kept only the last, without a number."""
        first = self.path(key).with_name(f"{key}.json{FORGOTTEN}")
        numbered = (first.with_name(f"{first.name}.{number}") for number in itertools.count(2))
        found = [path for path in (first, first.with_name(f"{first.name}.1")) if path.exists()]
        return [*found, *itertools.takewhile(Path.exists, numbered)]

    def replaced(self) -> list[Record]:
        """Of each trial whose record was set aside on purpose the first result, by key; failures are left out."""
        found: dict[str, Record] = {}
        for key in sorted({path.name.partition(".")[0] for path in self.records.glob(f"*.json{FORGOTTEN}*")}):
            for text in self.forgotten(key):
                with contextlib.suppress(AblateError):
                    record = Record.from_json(text)
                    if record.status != "failed":
                        found.setdefault(key, record)
        return list(found.values())

    def remove(self, key: str) -> None:
        """Removes the record of a failure that is run again; its checkpoint stays."""
        self.path(key).unlink(missing_ok=True)

    def clear(self, key: str) -> None:
        """Removes a trial's checkpoint and output."""
        shutil.rmtree(self.folder(key), ignore_errors=True)

    def begun(self, key: str) -> bool:
        """Whether the trial has a record, or an earlier attempt left something that is resumed."""
        folder = self.folder(key)
        left = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        return self.path(key).exists() or bool(left - {OUTPUT, LOCK})

    def clear_finished(self, records: Iterable[Record]) -> None:
        """Removes what a killed dispatcher left of trials that have their outcome."""
        folder = self.runs / CHECKPOINTS / self.study
        left = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        for record in records:
            if record.key in left and record.status != "failed":
                self.clear(record.key)

    def output(self, key: str, lines: int = 40) -> str:
        """The last lines that a running or lost trial printed."""
        with contextlib.suppress(OSError), (self.folder(key) / OUTPUT).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        return ""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the study in this runs folder. The system lets go when this process ends, however it ends.

        Raises:
            Held: another process holds it; the message says which.
        """
        path = self.runs / "locks" / self.study
        try:
            with locked(path, wait=False) as file:
                file.truncate(0)
                file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}))
                file.flush()
                yield
                file.truncate(0)
        except Locked as held:
            raise Held(
                f"the study {self.study!r} is being run by {_holder(held.content)}; wait for it, or end it first"
            ) from None


def _holder(text: str) -> str:
    try:
        plain = parse(text)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(plain["since"]))
        return f"process {plain['pid']} on {plain['host']} since {since}"
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return "another process"


@contextlib.contextmanager
def writable(runs: Path) -> Iterator[None]:
    """Opens a runs folder for writing, and turns errors of the disk into a sentence.

    Raises:
        AblateError: the folder cannot be written, or was made by a newer version of ablate.
        CampaignStopped: the disk is full.
    """
    with _told(runs, "cannot be written"):
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs) as probe:
            probe.write(b"ablate")
        _check_layout(runs)
    with _told(runs, "cannot be read or written"):
        yield


def _check_layout(runs: Path) -> None:
    path = runs / "layout.json"
    try:
        layout = int(parse(read_whole(path))["layout"])
    except FileNotFoundError:
        write_whole(path, json.dumps({"layout": LAYOUT}).encode())
        return
    except (ValueError, KeyError, TypeError, OverflowError):
        raise AblateError(f"{path}: must hold {{'layout': {LAYOUT}}}; remove the file to have it made again") from None
    if layout > LAYOUT:
        raise AblateError(
            f"{runs}: has layout {layout}, made by a newer version of ablate; this version reads layouts up to "
            f"{LAYOUT}. Upgrade ablate, or name another folder with --runs"
        )


@contextlib.contextmanager
def _told(runs: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CampaignStopped(
                f"{runs}: the disk is full; free some space and rerun the command to resume, nothing finished is lost"
            ) from error
        if error.filename is None:
            raise
        raise AblateError(
            f"{error.filename}: {what} ({error.strerror}); name another folder with --runs, or change its permissions"
        ) from error


def plan_path(runs: Path, study: Study) -> Path:
    """The sealed plan of a campaign."""
    return runs / PLANS / f"{study.name}.{study.digest}.json"


def sealed_plans(runs: Path, study: str) -> list[SealedPlan]:
    """Every sealed plan of a study in a runs folder, in the order of sealing; one that cannot be read is left out."""
    found = []
    for path in (runs / PLANS).glob(f"{glob.escape(study)}.*.json"):
        with contextlib.suppress(OSError, AblateError, UnicodeDecodeError):
            found.append(SealedPlan.from_json(read_whole(path).decode()))
    return sorted((one for one in found if one.plan.study.name == study), key=lambda one: one.order)


def every_sealed_plan(runs: Path) -> list[SealedPlan]:
    """Every sealed plan of a runs folder: study by study in the order of their names, each oldest first."""
    names = {path.name.rsplit(".", 2)[0] for path in (runs / PLANS).glob("*.json")}
    return [one for name in sorted(names) for one in sealed_plans(runs, name)]


def seal(plan: CampaignPlan, runs: Path) -> SealedPlan:
    """The plan as it was first run in this runs folder; it is sealed now if it was not before.

    A plan that is run again after another one of its trials was sealed is sealed again, as long as none has begun: the
    trials then start under this one.
    """
    path, before = plan_path(runs, plan.study), sealed_plans(runs, plan.study.name)
    try:
        found = SealedPlan.from_json(read_whole(path).decode())
        if not _is_followed(found, before) or _is_begun(plan, runs):
            return found
    except FileNotFoundError:
        pass
    except (AblateError, UnicodeDecodeError):
        path.replace(path.with_name(path.name + DAMAGED))
    number = min(MOST_SEALS, 1 + max((one.number for one in before), default=0))
    sealed = SealedPlan(plan=plan, sealed_at=time.time(), commit=commit(), number=number)
    write_whole(path, sealed.to_json().encode())
    return sealed


def _is_followed(sealed: SealedPlan, every: Sequence[SealedPlan]) -> bool:
    """Whether another plan of the same trials was sealed later."""
    later = [one for one in every if one.order > sealed.order]
    return any(shared_trials(one.plan, sealed.plan) for one in later)


def _is_begun(plan: CampaignPlan, runs: Path) -> bool:
    store = RecordStore(runs, plan.study.name)
    return any(store.begun(trial.key) for trial in (*every_trial(plan), *plan.level_trials))


def adopt(store: RecordStore, keys: Iterable[str]) -> None:
    """Takes over records that an earlier version of ablate left under ``trials/STUDY/KEY/record.json``."""
    old = store.runs / "trials" / store.study
    if not old.is_dir():
        return
    for key in keys:
        path = old / key / "record.json"
        if path.is_file() and not store.path(key).exists():
            with contextlib.suppress(UnicodeDecodeError):
                store.keep(key, path.read_text(encoding="utf-8"))
