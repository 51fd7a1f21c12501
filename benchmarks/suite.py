"""Every claim about speed, measured: the table of goal, measured and reached.

    python benchmarks/suite.py [--quick] [--only NAME ...]

A whole run takes about 16 minutes on 2 cores and writes docs/benchmarks.md and docs/profiles/. With --quick every part
runs once at a small size, to see that it works; with --only some parts run; neither touches the page.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
import traceback
from pathlib import Path

import table
from table import Row

PARTS = (
    "plain_loop",
    "lightning_loop",
    "roofline",
    "overhead",
    "startup",
    "growth",
    "settings",
    "accuracy",
)
COMMAND = "python benchmarks/suite.py"


def measure(names: list[str], *, quick: bool) -> list[Row]:
    """The rows of the named parts, one part after the other; a part that fails is a row that is not reached."""
    rows: list[Row] = []
    for name in names:
        part = importlib.import_module(name)
        began = time.perf_counter()
        table.note(f"{name} (up to {part.BUDGET_S} s)")
        try:
            rows += part.measure(quick=quick)
        except Exception as error:  # noqa: BLE001 - the other parts are measured all the same
            traceback.print_exc()
            rows.append(Row(part=name, claim=f"{name} runs", value=0, shown=f"failed: {type(error).__name__}", goal=1))
        table.note(f"{name}: {time.perf_counter() - began:.0f} s")
    return rows


def ceilings(rows: list[Row]) -> list[Row]:
    """How far ahead of the plain loop a step could be that ran at its roofline bound: more is not to be had here."""
    found = []
    for step in rows:
        net, _, claim = step.claim.partition(",")
        if step.part == "plain_loop" and "forward + backward + step" in claim:
            bounds = [row for row in rows if row.part == "roofline" and row.claim.startswith(f"{net}, one thread")]
            for bound in bounds:
                value = (step.value or 0) / (bound.value or 1)
                claim = f"{net}, forward + backward + step at its roofline bound / plain, images/s"
                found.append(Row(part=step.part, claim=claim, value=value, shown=f"{value:.2f}"))
    return found


def main() -> int:
    """0; 1 if a part did not run."""
    parser = argparse.ArgumentParser(description="What is claimed about speed, measured.")
    parser.add_argument("--quick", action="store_true", help="every part once at a small size; writes no page")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, metavar="NAME", help=f"of {', '.join(PARTS)}; writes no page"
    )
    options = parser.parse_args()
    whole = not options.quick and not options.only
    with tempfile.TemporaryDirectory(prefix="bench-profiles-") as folder:
        table.PROFILES = table.KEPT_PROFILES if whole else Path(folder)
        began = time.perf_counter()
        rows = measure(options.only or list(PARTS), quick=options.quick)
        rows += ceilings(rows)
        minutes = (time.perf_counter() - began) / 60
        print(table.as_text(rows))
        print(f"\n{table.machine()}; {minutes:.1f} minutes")
        if whole:
            table.PAGE.write_text(table.page(rows, command=COMMAND, minutes=minutes))
            print(f"{table.PAGE.name} and {table.PROFILES.name}/ are written")
    return int(any(row.claim.endswith(" runs") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
