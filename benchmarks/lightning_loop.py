"""Claim: the harness trains at least as fast as any setting of PyTorch Lightning's Trainer.

Goal: harness / best Lightning setting >= 1, in images/s, on mobilenet_v2_mnist, batch 64, with the same data in memory.

Measured: every setting of lightning_way.py gets a turn (torchvision's modules and this project's, N C H W and
channels_last, Adam fused and not, one process with as many threads as cores, and one single-threaded process a core);
the fastest then takes turns with ``fit`` in as many single-threaded processes as there are cores. Both clocks hold the
training batches alone: no start, no evaluation, no checkpoint. Lightning is in the dependency group `bench`.

    python benchmarks/lightning_loop.py [--quick]
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics

import table
from interleaved import Contender, race, ratio
from table import Row

PART = "lightning_loop"
BUDGET_S = 100
NET = "mobilenet_v2_mnist"
GOAL = 1.6
CLAIM = f"{NET}: harness / best Lightning setting, images/s"


def contenders(cores: int) -> list[Contender]:
    """Every setting of the Lightning loop that is tried."""
    nets = {
        "torchvision's modules, N C H W, Adam": {"ours": False, "channels_last": False, "fused": False},
        "torchvision's modules, channels_last, fused Adam": {"ours": False, "channels_last": True, "fused": True},
        "this project's modules, fused Adam": {"ours": True, "channels_last": True, "fused": True},
    }
    packings = {f"1 process of {cores} threads": (1, cores), f"{cores} processes of 1 thread": (cores, 1)}
    return [
        Contender(
            name=f"Lightning, {net}, {packing}",
            make="lightning_way:lightning_epochs",
            settings={"net": NET, "epochs": 1, **options},
            processes=processes,
            threads=threads,
        )
        for net, options in nets.items()
        for packing, (processes, threads) in packings.items()
    ]


def measure(*, quick: bool = False) -> list[Row]:
    """The row of this part."""
    if importlib.util.find_spec("lightning") is None:
        return [Row(part=PART, claim=CLAIM, value=None, shown="lightning is not installed", goal=GOAL)]
    cores = table.cores()
    tried = contenders(cores)
    if quick:
        tried = tried[-1:]
    speeds = {}
    for contender in tried:  # one at a time: all at once would need several gigabytes
        speeds |= race([contender], 1)
    middle = {name: statistics.median(turns) for name, turns in speeds.items()}
    best = max(tried, key=lambda contender: middle[contender.name])
    ours = Contender(
        name="harness", make="workloads:harness_epochs", settings={"net": NET, "epochs": 1}, processes=cores
    )
    final = race([best, ours], 1 if quick else 4)
    found = ratio(final[ours.name], final[best.name])
    lines = [
        f"The best setting was *{best.name}*; harness / it: {found}. Each setting's speed against its, one by one:",
        "",
        *(f"- {contender.name}: {middle[contender.name] / middle[best.name]:.2f}" for contender in tried),
    ]
    table.write_profile(PART, "\n".join(lines))
    return [Row(part=PART, claim=CLAIM, value=found.median, shown=str(found), goal=GOAL)]


def main() -> None:
    parser = argparse.ArgumentParser(description="This harness against PyTorch Lightning's Trainer, in images/s.")
    parser.add_argument("--quick", action="store_true", help="one setting, one turn a side")
    print(table.as_text(measure(quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
