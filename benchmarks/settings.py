"""Claim: what is set for the processor helps: how trials share it out, memory that is kept, and compiled kernels.

Goals: a single-threaded worker a core trains at least as many images a second as one worker with a thread a core,
memory that is freed is better kept than handed back to the system, and the kernels of ablate/model/fused.py are better
than torch's own.

Measured on mobilenet_v2_mnist, the last on mobilenet_v2_cifar too, forward, backward and step alone, in turns. The
first ratio is about the default worker layout (docs/performance.md).

    python benchmarks/settings.py [--quick]
"""

from __future__ import annotations

import argparse

import table
from interleaved import Contender, Ratio, race, ratio
from table import Row

PART = "settings"
BUDGET_S = 110
NET = "mobilenet_v2_mnist"
STEPS = {"mobilenet_v2_mnist": 20, "mobilenet_v2_cifar": 3}


def measure(*, quick: bool = False) -> list[Row]:
    """The rows of this part; 4 turns a side, or 1 if ``quick``."""
    rounds = 1 if quick else 4
    cores, make, settings = table.cores(), "workloads:harness_step", {"net": NET, "steps": STEPS[NET]}
    spread = Contender(name="a worker a core", make=make, settings=settings, processes=cores)
    one = Contender(name="one worker", make=make, settings=settings, threads=cores)
    back = Contender(name="memory handed back", make=make, settings={**settings, "keep": False}, processes=cores)
    speeds = race([spread, one, back], rounds)
    threads = ratio(speeds[spread.name], speeds[one.name])
    kept = ratio(speeds[spread.name], speeds[back.name])
    claims = {
        f"{NET}, steps: {cores} workers with 1 thread / 1 worker with {cores}, images/s": threads,
        f"{NET}, steps: freed memory kept / handed back to the system, images/s": kept,
        **{f"{net}, steps: compiled kernels / torch's own, images/s": _kernels(net, cores, rounds) for net in STEPS},
    }
    table.write_profile(PART, "\n".join(f"- {claim}: {found}" for claim, found in claims.items()))
    return [
        Row(part=PART, claim=claim, value=found.median, shown=str(found), goal=1.0) for claim, found in claims.items()
    ]


def _kernels(net: str, cores: int, rounds: int) -> Ratio:
    ours, torchs = (
        Contender(
            name=name,
            make="workloads:harness_step",
            settings={"net": net, "steps": STEPS[net], "fused": fused},
            processes=cores,
        )
        for name, fused in ((f"{net}, compiled kernels", True), (f"{net}, torch's own", False))
    )
    speeds = race([ours, torchs], rounds)
    return ratio(speeds[ours.name], speeds[torchs.name])


def main() -> None:
    parser = argparse.ArgumentParser(description="Threads, allocator and kernels, in images/s.")
    parser.add_argument("--quick", action="store_true", help="one turn a side")
    print(table.as_text(measure(quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
