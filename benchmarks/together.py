"""Claim: on a GPU, seeds that train as one net train several times as many images a second as one after another.

Goal on one GPU: 16 seeds of mobilenet_v2_mnist together at least 5 times the images/s of one after another. On the
processor there is no goal: the ratio says whether `--together` is worth asking for there.

Measured as images/s of `fit_together`, training alone, in turns; on the processor a process with one thread a core.

    python benchmarks/together.py [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import table
from interleaved import Contender, Ratio, Turn, Work, race, ratio
from table import Row

PART = "together"
BUDGET_S = 40
NET = "mobilenet_v2_mnist"
GOAL = 5.0
ON_GPU, ON_CPU = 16, 4  # seeds


def training(count: int, together: int, device: str) -> Turn:
    """Trains ``count`` seeds for an epoch, ``together`` at a time; evaluation is outside its clock."""
    from workloads import MNIST, seeds_of

    from ablate.training.feed import Feed
    from ablate.training.fit import fit_together
    from ablate.training.processor import keep_memory

    keep_memory()
    trials, images = seeds_of(MNIST, Path(tempfile.mkdtemp(prefix="bench-")), count)
    feed = Feed(images, trials[0].recipe, 0)
    seen = count * feed.steps_per_epoch * feed.batch_size

    def turn() -> Work:
        seconds = 0.0
        for first in range(0, count, together):
            records = fit_together(trials[first : first + together], images, device=device)
            seconds += sum(record.measured.train_s for record in records)  # each has its share
        return Work(seen, seconds)

    return turn


def _speed(device: str, seeds: int, processes: int, rounds: int) -> Ratio:
    settings = {"count": seeds, "device": device}
    alone, together = (
        Contender(name=name, make="together:training", settings={**settings, "together": count}, processes=processes)
        for name, count in ((f"{device}, one after another", 1), (f"{device}, {seeds} together", seeds))
    )
    speeds = race([alone, together], rounds)
    return ratio(speeds[together.name], speeds[alone.name])


def measure(*, quick: bool = False) -> list[Row]:
    """The rows of this part; 3 turns a side, or 1 if ``quick``."""
    import torch

    rounds = 1 if quick else 3
    cpu = _speed("cpu", ON_CPU, table.cores(), rounds)
    gpu = _speed("cuda", ON_GPU, 1, rounds) if torch.cuda.is_available() else None
    lines = [f"- processor: {ON_CPU} seeds together / one after another, images/s: {cpu}"]
    if gpu is None:
        lines.append("- No GPU was there, so that what seeds together are for was not measured.")
    else:
        lines.append(f"- {torch.cuda.get_device_name()}: {ON_GPU} seeds together / one after another, images/s: {gpu}")
    table.write_profile(PART, "\n".join(lines))
    on_gpu = f"{NET}, on a GPU: {ON_GPU} seeds as one net / one after another, images/s"
    on_cpu = f"{NET}, on the processor: {ON_CPU} seeds as one net / one after another, images/s"
    return [
        Row(part=PART, claim=on_gpu, value=gpu and gpu.median, shown=str(gpu or "no GPU here"), goal=GOAL),
        Row(part=PART, claim=on_cpu, value=cpu.median, shown=str(cpu)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Seeds as one net against seeds one after another, in images/s.")
    parser.add_argument("--quick", action="store_true", help="one turn a side")
    print(table.as_text(measure(quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
