"""What is left of an MLflow file that was lost or damaged: the records among its artifacts, each with its checksum."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ablate.campaign.costs import ArmCosts
from ablate.campaign.lock import held
from ablate.campaign.outbox import WEIGHTS, Outbox
from ablate.campaign.stored import sqlite_file
from ablate.campaign.tracking import COSTS, PLAN, RECORD, Tracking
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.errors import AblateError

BESIDE = ("", "-wal", "-shm", "-journal")  # a database, and what sqlite keeps beside one that was cut off
Found = dict[str, tuple[Record, Path]]  # trial key -> its record, and the folder that it was found in


@dataclass(frozen=True, kw_only=True)
class Wreck:
    """What the artifacts still hold of a study that its MLflow file does not.

    Attributes:
        loss: what has become of the file, in a sentence; empty where nothing is lost.
        unreadable: whether MLflow cannot be asked.
        records: of the study's trials, whichever campaign they belong to.
        costs: of the campaign's arms.
    """

    loss: str = ""
    unreadable: bool = False
    records: dict[str, Record] = field(default_factory=dict)
    costs: ArmCosts = field(default_factory=dict)


def look(tracking: Tracking, runs: Path, study: Study) -> Wreck:
    """What was lost of a study, and what is left of it. Changes nothing."""
    file = sqlite_file(tracking.uri)
    if file is None:
        return Wreck()
    fault = damage(file) if file.exists() else "it is missing"
    if not fault and (tracking.find_campaign(study.name, None) or tracking.trial_runs(study.name)):
        return Wreck()
    folder = runs / "artifacts" / study.name
    records = {key: record for key, (record, _) in _records(folder).items()}
    if not records and (not fault or not file.exists()):
        return Wreck()  # nothing was ever there
    return Wreck(
        loss=f"{file}: {fault or f'holds nothing of {study.name}'}; {len(records)} sound records lie in {folder}",
        unreadable=bool(fault),
        records=records,
        costs=_costs(folder, study.digest),
    )


def rescue(tracking: Tracking, runs: Path, study: str) -> None:
    """Sets a damaged file aside, and lays the records of all its studies where the ledger takes them up.

    The file is shared: the other studies' records are laid ready too, and a repair or a call of each hands them over.

    Args:
        tracking: the store.
        runs: the runs folder.
        study: the one whose lock the caller holds.

    Raises:
        AblateError: another of the studies is being run.
    """
    file = sqlite_file(tracking.uri)
    assert file is not None
    studies = sorted(folder.name for folder in (runs / "artifacts").glob("*") if folder.is_dir())
    with contextlib.ExitStack() as locks:
        for name in studies:
            if name != study:
                locks.enter_context(held(runs / "locks" / name, f"the study {name!r}"))
        if file.exists() and damage(file):
            _set_aside(file)
        for name in studies if not file.exists() else [study]:
            _lay_ready(_records(runs / "artifacts" / name), Outbox.of(runs, name))


def damage(file: Path) -> str:
    """What sqlite finds wrong with a file that is there, or nothing; one that is locked is not damaged."""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return ""
    except sqlite3.DatabaseError as error:
        return f"it is damaged ({error})"
    return "" if found == "ok" else f"it is damaged ({str(found).splitlines()[-1]})"


def _set_aside(file: Path) -> None:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for part in (file.with_name(file.name + ending) for ending in BESIDE):
        if part.exists():
            part.replace(part.with_name(f"{part.name}.damaged-{stamp}"))


def _lay_ready(found: Found, outbox: Outbox) -> None:
    for key, (record, folder) in found.items():
        waiting = outbox.get(key)
        if waiting is None or waiting.status == "failed":
            outbox.put(record)
            if (folder / WEIGHTS).is_file():
                shutil.copyfile(folder / WEIGHTS, outbox.folder(key) / WEIGHTS)


def _records(folder: Path) -> Found:
    """The sound records of a study's artifacts; of several of one trial the newest outcome."""
    found: Found = {}
    for path in sorted(folder.glob(f"*/*/{RECORD}")):
        with contextlib.suppress(AblateError, OSError, UnicodeDecodeError):
            record = Record.from_json(path.read_text())
            if record.key not in found or _rank(record) > _rank(found[record.key][0]):
                found[record.key] = record, path.parent
    return found


def _rank(record: Record) -> tuple[bool, float]:
    return record.status != "failed", record.measured.started_at


def _costs(folder: Path, digest: str) -> ArmCosts:
    """The newest costs of the campaign."""
    costs: ArmCosts = {}
    for path in sorted(_campaigns(folder, digest), key=lambda path: path.stat().st_mtime):
        with contextlib.suppress(OSError, ValueError):
            costs = json.loads((path.parent / COSTS).read_text())
    return costs


def _campaigns(folder: Path, digest: str) -> Iterator[Path]:
    for path in folder.glob(f"*/*/{PLAN}"):
        with contextlib.suppress(AblateError, OSError, UnicodeDecodeError):
            if CampaignPlan.from_json(path.read_text()).study.digest == digest:
                yield path
