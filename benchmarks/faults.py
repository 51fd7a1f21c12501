"""Provokes every fault that a campaign should survive, and counts what is lost.

    python benchmarks/faults.py                        a few tries of each
    python benchmarks/faults.py --tries 50             the long form: half an hour on 2 cores
    python benchmarks/faults.py --only "Ray" --tries 20

The long form of all of them writes docs/faults.md. Needs the extras ray and postgres and Debian's package postgresql;
what is not there is left out, and the page says so. Lost is a planned record that is missing from MLflow in the end, or
differs in any bit from that of an undisturbed campaign, or is there twice. Exits with 1 if anything is, if a driver
finds another promise broken, or if a fault could not be provoked as often as asked.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import fault_drivers as drivers
from fault_drivers import NotHere, Toll

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"
TRIES_OF_THE_PAGE = 50


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


FAULTS = (
    Fault("the dispatcher is killed", "SIGKILL at a random instant, the command again", drivers.kills("dispatcher")),
    Fault("a worker is killed", "SIGKILL to a random process below the dispatcher", drivers.kills("worker")),
    Fault("everything is killed", "SIGKILL to the dispatcher and all below it", drivers.kills("everything")),
    Fault(
        "any of these in real training",
        "as above; 4 epochs of a small net, every bit compared with an undisturbed run",
        drivers.kills("any", "real"),
        0.2,
    ),
    Fault("a worker's memory runs out", "SIGKILL from within, as the kernel does it", drivers.worker_faults("killed")),
    Fault("a worker raises", "an exception in the trainer", drivers.worker_faults("raises")),
    Fault("a worker segfaults", "a read of address 0", drivers.worker_faults("segfaults")),
    Fault("a worker ends itself", "os._exit in the trainer", drivers.worker_faults("exits")),
    Fault("a worker hangs", "sleeps past its time limit", drivers.worker_faults("hangs"), 0.4),
    Fault("an arm fails for good", "every attempt raises; the other arm goes on", drivers.hopeless, 0.4),
    Fault("the MLflow server is killed", "SIGKILL to a real server, started again", drivers.mlflow("killed"), 0.1),
    Fault("MLflow refuses", "a proxy before a real server answers 503 for seconds", drivers.mlflow("refuse"), 0.2),
    Fault("MLflow hangs up", "the proxy closes every connection for seconds", drivers.mlflow("hang up"), 0.2),
    Fault("MLflow is slow", "the proxy holds each piece back for a second", drivers.mlflow("slow"), 0.2),
    Fault("the disk is full", "a 120 MB disk is filled at random instants, then emptied", drivers.disk_full, 0.1),
    Fault("a damaged checkpoint", "a random bit turned over, or the end cut off", drivers.damaged_checkpoint, 0.4),
    Fault("a damaged record", "a random bit turned over, or the end cut off", drivers.damaged_record),
    Fault("a damaged record in MLflow", "a random bit turned over, or the end cut off", drivers.damaged_artifact),
    Fault("a damaged queue", "up to 400 random bits of queue.db, or its end cut off", drivers.damaged_queue, 0.4),
    Fault("PostgreSQL restarts", "pg_ctl stop, immediate or fast, and start", drivers.postgres_restarts, 0.2),
    Fault("a helper is killed", "SIGKILL to a process that joined with --join", drivers.helpers, 0.4),
    Fault("a Ray node is lost", "the node's processes killed, another node added", drivers.ray_nodes, 0.2),
)


def judged(toll: Toll, asked: int) -> tuple[str, bool]:
    """What a fault did in words, and whether it was provoked as often as asked and every promise was kept."""
    told = [f"{f'**{toll.lost}**' if toll.lost else 'nothing'} of {toll.planned} records", toll.remark]
    few = f"provoked less often than the {asked} times asked" if toll.tries < asked else ""
    told += [f"**{wrong}**" for wrong in (toll.broken, few) if wrong]
    return "; ".join(filter(None, told)), not (toll.lost or toll.broken or few)


def provoke(fault: Fault, tries: int, seed: int) -> tuple[str, bool]:
    """The fault's line of the table, and whether all was as it should be."""
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="ablate-faults-"))
    try:
        asked = max(1, round(tries * fault.share))
        toll = fault.drive(folder, asked, random.Random(f"{seed} {fault.name}"))
        tried, (told, sound) = str(toll.tries), judged(toll, asked)
    except NotHere as missing:
        tried, told, sound = "0", f"not tried: {missing}", True
    except Exception as error:  # noqa: BLE001 - the other faults are still to be tried
        traceback.print_exc()
        tried, told, sound = "?", f"**the campaign broke: {type(error).__name__}: {error}**", False
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    line = f"| {fault.name} | {fault.how} | {tried} | {told} |"
    print(f"{line} {time.monotonic() - started:.0f} s", flush=True)
    return line, sound


def page(lines: list[str], options: argparse.Namespace, minutes: float) -> str:
    """docs/faults.md."""
    command = f"python benchmarks/faults.py --tries {options.tries}" + (
        f" --seed {options.seed}" if options.seed else ""
    )
    libraries = ", ".join(f"{name} {version(name)}" for name in ("optuna", "mlflow", "torch"))
    return "\n".join(
        [
            "# Faults: what was provoked, and what it cost",
            "",
            f"Written by `{command}`, which anyone can run; it took {minutes:.0f} minutes on {os.cpu_count()} cores,",
            f"with Python {platform.python_version()}, {libraries}.",
            "",
            "Each fault is provoked on real campaigns of tiny trials: 12 x 12 synthetic images, or a trainer that",
            "sleeps through its epochs. A record counts as lost if in the end it is missing from MLflow, is there",
            "twice, or differs in any bit from that of an undisturbed campaign. The drivers are those of the tests",
            "(tests/campaign), which provoke the same faults a few times each.",
            "",
            "| fault | how it is provoked | tries | what was lost |",
            "| --- | --- | ---: | --- |",
            *lines,
            "",
        ]
    )


def main() -> int:
    """Runs the faults that are asked for; writes the page when that is all of them, often enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=5, metavar="N", help="of each; slow ones less often (%(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="faults with this word in their name")
    parser.add_argument("--seed", type=int, default=0, help="of the random instants (%(default)s)")
    options = parser.parse_args()
    started = time.monotonic()
    chosen = [fault for fault in FAULTS if options.only.lower() in fault.name.lower()]
    results = [provoke(fault, options.tries, options.seed) for fault in chosen]
    if not options.only and options.tries >= TRIES_OF_THE_PAGE:
        PAGE.write_text(page([line for line, _ in results], options, (time.monotonic() - started) / 60))
        print(f"wrote {PAGE}")
    return 0 if all(sound for _, sound in results) else 1


if __name__ == "__main__":
    sys.exit(main())
