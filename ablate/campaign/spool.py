"""What passes between a campaign's dispatcher and its helpers: files in the runs folder, each written whole.

A helper has a folder of its own, ``helpers/STUDY/NAME/``. The dispatcher puts jobs there and takes them away again, the
helper puts events, which the dispatcher takes; who lives is told by locks, which the system lets go of.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.campaign.executors import Event, Finished, Job, Lost, Progress
from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.design.study import DataSpec, Recipe
from ablate.errors import AblateError
from ablate.files import write_whole
from ablate.model.spec import NetSpec

ALIVE, PLACES = "alive", "places"
JOB, EVENT = ".job", ".event"


def desk(runs: Path, study: str) -> Path:
    """The folder of a study's helpers."""
    return runs / "helpers" / study


@contextlib.contextmanager
def holding(path: Path) -> Iterator[None]:
    """Holds a lock file, after whoever looks at it for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock file."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@dataclass(frozen=True)
class Spool:
    """One helper's folder."""

    folder: Path

    @property
    def places(self) -> int:
        """How many jobs the helper takes at a time; 0 before it is ready, or when its folder is gone."""
        try:
            return int((self.folder / PLACES).read_text())
        except (OSError, ValueError):
            return 0

    @property
    def alive(self) -> bool:
        """Whether the helper is."""
        return is_held(self.folder / ALIVE)

    def put_job(self, number: str, job: Job) -> None:
        """For the helper; to one that has just ended it makes no difference."""
        with contextlib.suppress(FileNotFoundError):
            write_whole(self.folder / f"{number}{JOB}", job_to_json(job).encode())

    def drop_job(self, number: str) -> None:
        """It has ended, or is to end."""
        (self.folder / f"{number}{JOB}").unlink(missing_ok=True)

    def jobs(self) -> dict[str, Path]:
        """Number -> file of the jobs that are wanted."""
        return {path.name.removesuffix(JOB): path for path in sorted(self.folder.glob(f"*{JOB}"))}

    def put_event(self, count: int, number: str, event: Event) -> None:
        """For the dispatcher."""
        write_whole(self.folder / f"{count:09d}{EVENT}", event_to_json(number, event).encode())

    def take_events(self) -> list[tuple[str, Event]]:
        """Job number and event, in order, each once."""
        found = []
        with contextlib.suppress(FileNotFoundError):  # a helper that ends takes its folder with it
            for path in sorted(self.folder.glob(f"*{EVENT}")):
                found.append(event_from_json(path.read_text()))
                path.unlink()
        return found


def job_to_json(job: Job) -> str:
    """A job as text, its paths absolute."""
    trial = job.trial
    plain = {
        **vars(job),
        "trial": {
            **{field.name: getattr(trial, field.name) for field in dataclasses.fields(trial)},
            "spec": trial.spec.to_dict(),
            "recipe": trial.recipe.model_dump(mode="json"),
            "data": trial.data.model_dump(mode="json"),
        },
        "key": trial.key,
    }
    return json.dumps(plain, default=_path)


def job_from_json(text: str) -> Job:
    """The inverse of ``job_to_json``.

    Raises:
        AblateError: this version makes another trial of it than the one that wrote it.
    """
    plain: dict[str, Any] = json.loads(text)
    key, own = plain.pop("key"), plain.pop("trial")
    trial = Trial(
        **{
            **own,
            "spec": NetSpec.from_dict(own["spec"]),
            "recipe": Recipe.model_validate(own["recipe"]),
            "data": DataSpec.model_validate(own["data"]),
        }
    )
    if trial.key != key:
        raise AblateError("the helper has another version of ablate than the dispatcher")
    paths = {name: Path(plain[name]) if plain[name] else None for name in ("folder", "cache", "data_root", "data_file")}
    return Job(**{**plain, **paths, "trial": trial})


def event_to_json(number: str, event: Event) -> str:
    """An event of job ``number`` as text."""
    if isinstance(event, Finished):
        return json.dumps({"number": number, "key": event.key, "record": event.record.to_json()})
    return json.dumps({"number": number, **dataclasses.asdict(event)})


def event_from_json(text: str) -> tuple[str, Event]:
    """The inverse of ``event_to_json``."""
    plain: dict[str, Any] = json.loads(text)
    number = plain.pop("number")
    if "record" in plain:
        return number, Finished(plain["key"], Record.from_json(plain["record"]))
    if "point" in plain:
        return number, Progress(**{**plain, "point": EpochPoint(**plain["point"])})
    return number, Lost(**plain)


def _path(value: object) -> str:
    return os.fspath(value)  # type: ignore[call-overload,no-any-return]
