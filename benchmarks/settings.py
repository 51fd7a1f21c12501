"""Claim: what is set for the processor helps: how trials share it out, and memory that is kept.

Goals: a single-threaded worker a core trains at least as many images a second as one worker with a thread a core, and
memory that is freed is better kept than handed back to the system.

Measured on mobilenet_v2_mnist, forward, backward and step alone, in turns. The first ratio is what a campaign finds out
for its own net where that can pay (docs/performance.md); it is a claim about the default, which stands until then.

    python benchmarks/settings.py [--quick]
"""

from __future__ import annotations

import argparse

import table
from interleaved import Contender, race, ratio
from table import Row

PART = "settings"
BUDGET_S = 40
NET = "mobilenet_v2_mnist"
STEPS = 20


def measure(*, quick: bool = False) -> list[Row]:
    """The rows of this part; 4 turns a side, or 1 if ``quick``."""
    cores, make, settings = table.cores(), "workloads:harness_step", {"net": NET, "steps": STEPS}
    spread = Contender(name="a worker a core", make=make, settings=settings, processes=cores)
    one = Contender(name="one worker", make=make, settings=settings, threads=cores)
    back = Contender(name="memory handed back", make=make, settings={**settings, "keep": False}, processes=cores)
    speeds = race([spread, one, back], 1 if quick else 4)
    threads = ratio(speeds[spread.name], speeds[one.name])
    kept = ratio(speeds[spread.name], speeds[back.name])
    claims = {
        f"{NET}, steps: {cores} workers with 1 thread / 1 worker with {cores}, images/s": threads,
        f"{NET}, steps: freed memory kept / handed back to the system, images/s": kept,
    }
    table.write_profile(PART, "\n".join(f"- {claim}: {found}" for claim, found in claims.items()))
    return [
        Row(part=PART, claim=claim, value=found.median, shown=str(found), goal=1.0) for claim, found in claims.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Threads and allocator, in images/s.")
    parser.add_argument("--quick", action="store_true", help="one turn a side")
    print(table.as_text(measure(quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
