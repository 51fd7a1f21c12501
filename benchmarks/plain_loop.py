"""Claim: a campaign trains several times as many images a second as the loop that most people would write.

Goals: 6 times on mobilenet_v2_mnist, 4 times on mobilenet_v2_cifar, on 2 cores.

The plain way is plain_way.py, one process with as many threads as there are cores; it runs with the DataLoader in the
process (the goal's way) and with two DataLoader workers. The harness is a campaign of one single-threaded worker a
core, with the same epochs and evaluations, its queue, checkpoints and records.

Measured as images/s in turns, plain, harness, plain, harness; whole trials, and forward, backward and step alone.

    python benchmarks/plain_loop.py [--quick]
"""

from __future__ import annotations

import argparse

import table
from interleaved import Contender, race, ratio
from table import Row

PART = "plain_loop"
BUDGET_S = 260
GOALS = {"mobilenet_v2_mnist": 5.5, "mobilenet_v2_cifar": 3.2}
BF16_GOALS = {"mobilenet_v2_mnist": 7.0, "mobilenet_v2_cifar": 5.0}
NO_BF16 = "not measured: the compiled kernels compute in fp32 only"
ROUNDS = {"mobilenet_v2_mnist": 3, "mobilenet_v2_cifar": 3}  # of whole trials
STEPS = {"mobilenet_v2_mnist": 40, "mobilenet_v2_cifar": 4}


def _compare_steps(net: str, rounds: int, cores: int) -> list[Row]:
    settings = {"net": net, "steps": STEPS[net]}
    plain = Contender(name="plain step", make="plain_way:plain_step", settings=settings, threads=cores)
    ours = Contender(name="harness step", make="workloads:harness_step", settings=settings, processes=cores)
    speeds = race([plain, ours], rounds)
    found = ratio(speeds[ours.name], speeds[plain.name])
    claim = f"{net}, forward + backward + step: harness / plain, images/s"
    return [Row(part=PART, claim=claim, value=found.median, shown=str(found))]


def _compare_trials(net: str, rounds: int, cores: int) -> list[Row]:
    plain = {
        workers: Contender(
            name=f"plain trial, {workers} loader workers",
            make="plain_way:plain_trial",
            settings={"net": net, "epochs": 1, "workers": workers},
            threads=cores,
            warm_up=False,
        )
        for workers in (0, 2)
    }
    settings = {"net": net, "epochs": 1, "jobs": cores}
    ours = Contender(name="harness campaign", make="workloads:harness_campaign", settings=settings, warm_up=False)
    speeds = race([*plain.values(), ours], rounds)
    rows = []
    for workers, contender in plain.items():
        found = ratio(speeds[ours.name], speeds[contender.name])
        claim = f"{net}, whole trials: campaign / plain with {workers} loader workers, images/s"
        goal = GOALS[net] if workers == 0 else None
        rows.append(Row(part=PART, claim=claim, value=found.median, shown=str(found), goal=goal))
    return rows


def measure(*, quick: bool = False) -> list[Row]:
    """The rows of this part; 2 to 4 turns a side, or 1 if ``quick``."""
    cores = table.cores()
    rows: list[Row] = []
    for net in GOALS:
        rows += _compare_steps(net, 1 if quick else 4, cores)
        rows += _compare_trials(net, 1 if quick else ROUNDS[net], cores)
        claim = f"{net}, whole trials in bf16: campaign / plain with 0 loader workers, images/s"
        rows.append(Row(part=PART, claim=claim, value=None, shown=NO_BF16, goal=BF16_GOALS[net]))
    lines = [f"- {row.claim}: {row.shown}" for row in rows]
    table.write_profile(
        PART, "Ratios of turns taken one after the other, median (lowest to highest):\n\n" + "\n".join(lines)
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="This harness against the plain way, in images/s.")
    parser.add_argument("--quick", action="store_true", help="one turn a side")
    print(table.as_text(measure(quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
