"""Provokes every fault that a campaign should survive, and counts what is lost.

    python benchmarks/faults.py                        a few tries of each; writes docs/faults.md
    python benchmarks/faults.py --tries 50             the long form: hours on 2 cores
    python benchmarks/faults.py --tries 50 --minutes 90 --state FILE    as much of it as 90 minutes allow
    python benchmarks/faults.py --tries 50 --minutes 90 --state FILE    and the rest, by the same command again
    python benchmarks/faults.py --only "Ray" --tries 20

A run of all faults writes docs/faults.md, with the number of tries; a fault that no time was left for is named as not
tried. With ``--state`` the lines are kept in a file, and a fault that has its line there is not provoked again. Needs
the extras ray and postgres and Debian's package postgresql; what is not there is left out, and the page says so. Exits
with 1 if a record is missing, shown twice or different, if a driver finds another promise broken, or if a fault could
not be provoked as often as asked.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import fault_drivers as drivers
import fault_views as views
from fault_drivers import NotHere, Toll

from ablate.files import write_whole

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"


@dataclass(frozen=True)
class Fault:
    """One line of the table.

    Attributes:
        drive: provokes it in a folder, so many times, with these dice.
        share: of ``--tries``, at least one; a fault that takes half a minute a try is tried less often.
    """

    name: str
    how: str
    drive: Callable[[Path, int, random.Random], Toll]
    share: float = 1.0


KILL = "SIGKILL at a random instant, then the same command again"
BITS = "a random bit turned over, or the end cut off"
GONE = "deleted at random instants of a campaign"

FAULTS = (
    Fault("the clock jumps", "back or forward by up to 400 days after each trial", drivers.clock_jumps),
    Fault("a worker's memory runs out", "SIGKILL from within, as the kernel does it", drivers.worker_faults("killed")),
    Fault("a worker raises", "an exception in the trainer", drivers.worker_faults("raises")),
    Fault("a worker segfaults", "a read of address 0", drivers.worker_faults("segfaults")),
    Fault("a worker exits", "os._exit in the trainer", drivers.worker_faults("exits")),
    Fault("a worker hangs", "sleeps past its time limit", drivers.worker_faults("hangs"), 0.4),
    Fault("an arm fails for good", "every attempt raises; the other arm is trained", drivers.hopeless, 0.4),
    Fault("the disk is full", "a 120 MB disk is filled at random instants, then emptied", drivers.disk_full, 0.4),
    Fault("a damaged checkpoint", BITS, drivers.damaged_checkpoint),
    Fault("a damaged record", BITS, drivers.damaged_record),
    Fault("mlflow.db is deleted", GONE, views.deleted("mlflow.db"), 0.6),
    Fault("artifacts/ is deleted", GONE, views.deleted("artifacts"), 0.6),
    Fault("optuna.db is deleted", GONE, views.deleted("optuna.db"), 0.6),
    Fault("cache/ is deleted", GONE, views.deleted("cache"), 0.2),
    Fault("reports/ is deleted", "at rest; the next call makes the same page, to the byte", views.reports_deleted, 0.2),
    Fault("all of these are deleted", GONE, views.deleted("mlflow.db", "artifacts", "optuna.db", "cache"), 0.6),
    Fault("a damaged mlflow.db", "up to 400 random bits turned over, or the end cut off", views.damaged("mlflow.db")),
    Fault("a damaged optuna.db", "up to 400 random bits turned over, or the end cut off", views.damaged("optuna.db")),
    Fault("the records are deleted", "all of them, and MLflow kept", views.records_deleted),
    Fault("records deleted, copies damaged", f"as before; in MLflow's artifacts {BITS}", views.damaged_artifact),
    Fault("the runs folder is moved", "in mid-campaign; the same command at the new place", views.moved, 0.6),
    Fault("the runs folder is copied", "in mid-campaign; the copy is finished, then the original", views.copied, 0.6),
    Fault(
        "a hostile path",
        "quotes, braces, %, spaces, #, ?, ; and more in the runs folder's path",
        views.hostile_paths,
        2.0,
    ),
    Fault("the dispatcher is killed", KILL, drivers.kills("dispatcher")),
    Fault("a worker is killed", "SIGKILL to a random process below the dispatcher", drivers.kills("worker")),
    Fault("everything is killed", "SIGKILL to the dispatcher and all below it", drivers.kills("everything")),
    Fault(
        "any of these in real training",
        "as above; 4 epochs of a small net",
        drivers.kills("any", "real"),
        0.4,
    ),
    Fault("everything is stopped", "SIGSTOP for 1 to 5 seconds, then SIGCONT", drivers.stops),
    Fault("a double start", "the same command while the first one runs", drivers.double_starts),
    Fault("the MLflow server is killed", "SIGKILL to a real server, started again", views.mlflow("killed"), 0.2),
    Fault(
        "the MLflow server comes back empty", "killed, and its database and files removed", views.mlflow("lost"), 0.2
    ),
    Fault("MLflow refuses", "a proxy before a real server answers 503 for seconds", views.mlflow("refuse"), 0.4),
    Fault("MLflow fails", "the proxy answers 500 for seconds", views.mlflow("error"), 0.4),
    Fault("MLflow answers a web page", "the proxy answers 200 and HTML for seconds", views.mlflow("html"), 0.4),
    Fault("MLflow answers nothing", "the proxy answers 200 and {} for seconds", views.mlflow("empty"), 0.4),
    Fault("MLflow hangs up", "the proxy closes every connection for seconds", views.mlflow("hang up"), 0.4),
    Fault("MLflow is slow", "the proxy holds each piece back for a second", views.mlflow("slow"), 0.4),
    Fault(
        "two runs folders, one MLflow server", "two dispatchers train the same study at once", views.two_folders, 0.4
    ),
    Fault(
        "PostgreSQL restarts", "pg_ctl stop, immediate or fast, and start, under Optuna", views.postgres_restarts, 0.4
    ),
    Fault("a Ray node is lost", "the node's processes killed, another node added", views.ray_nodes, 0.4),
)


def judged(toll: Toll, asked: int) -> tuple[list[str], bool]:
    """What a fault did, a cell each, and whether it was provoked as often as asked and every promise was kept."""
    counts = (toll.lost, toll.unseen, toll.twice, toll.differ)
    few = f"provoked less often than the {asked} times asked" if toll.tries < asked else ""
    told = [toll.remark, *(f"**{wrong}**" for wrong in (toll.broken, few) if wrong)]
    cells = [str(toll.tries), str(toll.planned), *(f"**{found}**" if found else "0" for found in counts)]
    return [*cells, "; ".join(filter(None, told))], not (any(counts) or toll.broken or few)


@dataclass(frozen=True)
class Line:
    """What came of one fault: its cells, whether all was as it should be, its seconds and the day."""

    cells: list[str]
    sound: bool
    seconds: float
    day: str


def provoke(fault: Fault, tries: int, seed: int) -> Line:
    """What the fault did."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="ablate-faults-"))
    try:
        asked = max(1, round(tries * fault.share))
        toll = fault.drive(folder, asked, random.Random(f"{seed} {fault.name}"))
        cells, sound = judged(toll, asked)
    except NotHere as missing:
        cells, sound = ["0", *[""] * 5, f"not tried: {missing}"], True
    except Exception as error:  # noqa: BLE001 - the other faults are still to be tried
        traceback.print_exc()
        cells, sound = ["?", *[""] * 5, f"**the campaign broke: {type(error).__name__}: {error}**"], False
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    line = Line(cells, sound, time.monotonic() - started, time.strftime("%Y-%m-%d"))
    print(f"{row(fault, line)} {line.seconds:.0f} s", flush=True)
    return line


def row(fault: Fault, line: Line | None) -> str:
    """The fault's line of the table; None: no time was left for it."""
    cells = ["0", *[""] * 5, "not tried in this run"] if line is None else line.cells
    return f"| {' | '.join([fault.name, fault.how, *cells])} |"


def kept(state: Path | None) -> dict[str, Line]:
    """The lines of earlier runs, by the fault's name."""
    if state is None or not state.exists():
        return {}
    return {name: Line(**line) for name, line in json.loads(state.read_text()).items()}


def page(lines: dict[str, Line], options: argparse.Namespace) -> str:
    """docs/faults.md."""
    seed = f" --seed {options.seed}" if options.seed else ""
    command = f"python benchmarks/faults.py --tries {options.tries}{seed}"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("optuna", "mlflow", "torch"))
    minutes = sum(line.seconds for line in lines.values()) / 60
    days = sorted({line.day for line in lines.values()})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return "\n".join(
        [
            "# Faults: what was provoked, and what it cost",
            "",
            f"Written by `{command}`, which you can run too; it took {minutes:.0f} minutes on {os.cpu_count()} cores,",
            f"{when}, with Python {platform.python_version()}, {libraries}.",
            "",
            "Each fault is provoked on real campaigns of tiny trials: 12 x 12 synthetic images, or a trainer that",
            "sleeps through its epochs. In the end, after a second call of the same command where the first one was",
            "cut off, every record must be in the runs folder (else it is *lost*), be shown by MLflow and Optuna",
            "(else *unseen*) once (else *twice*), and equal that of an undisturbed campaign to the last bit (else",
            "*differ*). The helpers are those of the tests (tests/campaign), which provoke the same faults.",
            "",
            "| fault | how it is provoked | tries | records | lost | unseen | twice | differ | |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
            *(row(fault, lines.get(fault.name)) for fault in FAULTS),
            "",
        ]
    )


def main() -> int:
    """Provokes the faults that are asked for; writes the page when that is all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=5, metavar="N", help="of each; slow ones less often (%(default)s)")
    parser.add_argument("--minutes", type=float, metavar="M", help="begin no fault after so long (default: all)")
    parser.add_argument("--only", default="", metavar="WORD", help="faults with this word in their name")
    parser.add_argument("--seed", type=int, default=0, help="of the random instants (%(default)s)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keeps each line, and provokes what has none yet")
    options = parser.parse_args()
    started, lines = time.monotonic(), kept(options.state)
    for fault in FAULTS:
        late = options.minutes is not None and time.monotonic() - started > 60 * options.minutes
        if late or fault.name in lines or options.only.lower() not in fault.name.lower():
            continue
        lines[fault.name] = provoke(fault, options.tries, options.seed)
        if options.state is not None:
            write_whole(options.state, json.dumps({name: asdict(line) for name, line in lines.items()}).encode())
    if lines and not options.only:
        PAGE.write_text(page(lines, options))
        print(f"wrote {PAGE}")
    return 0 if all(line.sound for line in lines.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
