"""Claim: the commands answer at once.

Goals: `ablate study --help` under 0.4 s, `ablate study --list` under 0.25 s; README's first command in 1.25 times its
training time plus 10 s, and the same again, which trains nothing, in 3 s. Without a goal: the first training step.

Measured: the command, then `python -c pass`, in turns; the fraction of the goal that the median takes, and the ratio to
the bare interpreter, which says how much of it is ours. The first training step is a new process that builds
mobilenet_v2_mnist and takes one step, as a ratio to a new process that only imports torch. The training time of
README's command is what its records say, over the workers.

    python benchmarks/startup.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import table
from interleaved import Ratio, ratio
from table import Row

PART = "startup"
BUDGET_S = 160
COMMANDS = {
    "ablate study --help": (("-m", "ablate.study", "--help"), 0.4),
    "ablate study --list": (("-m", "ablate.study", "--list"), 0.25),
}
README_STUDY = "linear_bottleneck"
AGAIN_GOAL_S = 3.0
FIRST_STEP = "from workloads import harness_step; harness_step('mobilenet_v2_mnist', 1)()"


def seconds(arguments: tuple[str, ...]) -> float:
    """Wall time of a fresh interpreter."""
    here = str(Path(__file__).parent)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join((here, str(Path(here).parent)))}
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - began


def in_turns(ours: tuple[str, ...], other: tuple[str, ...], turns: int) -> tuple[Ratio, float]:
    """Ratio of the two commands' times, and the first one's median in seconds; a first turn each is not counted."""
    seconds(ours)
    seconds(other)
    pairs = [(seconds(ours), seconds(other)) for _ in range(turns)]
    mine, theirs = zip(*pairs, strict=True)
    return ratio(mine, theirs), statistics.median(mine)


def measure(*, quick: bool = False) -> list[Row]:
    """The rows of this part."""
    turns = 1 if quick else 9
    rows = []
    for name, (arguments, goal_s) in COMMANDS.items():
        found, median = in_turns(arguments, ("-c", "pass"), turns)
        share = median / goal_s
        shown = f"{share:.2f}; {found} times `python -c pass`"
        claim = f"`{name}`: time / goal of {goal_s:g} s"
        rows.append(Row(part=PART, claim=claim, value=share, shown=shown, relation="<", goal=1.0))
    found, _ = in_turns(("-c", FIRST_STEP), ("-c", "import torch"), 1 if quick else 3)
    claim = "new process to the end of its first training step / `import torch` alone, time"
    rows.append(Row(part=PART, claim=claim, value=found.median, shown=str(found)))
    rows += _readme(quick=quick)
    table.write_profile(PART, _imports())
    return rows


def _readme(*, quick: bool) -> list[Row]:
    """README's first command, and the same again."""
    import ablate

    small = {"plan.seeds": 1, "recipe.epochs": 1} if quick else {}
    changes = [one for key, value in small.items() for one in ("--set", f"{key}={value}")]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        call = ("-m", "ablate.study", README_STUDY, "--runs", folder, *changes)
        first = seconds(call)
        again = statistics.median(seconds(call) for _ in range(1 if quick else 3))
        study = ablate.load_study(README_STUDY, overrides=small)
        trained = float(ablate.records(study, ablate.RunOptions(runs=Path(folder)))["wall_s"].sum()) / table.cores()
    claims = {
        "README's first command: time / (1.25 times its training time + 10 s)": first / (1.25 * trained + 10),
        f"README's first command again: time / goal of {AGAIN_GOAL_S:g} s": again / AGAIN_GOAL_S,
    }
    return [
        Row(part=PART, claim=claim, value=share, shown=f"{share:.2f}", relation="<", goal=1.0)
        for claim, share in claims.items()
    ]


def _imports() -> str:
    """The modules that cost `--list` most, as python's own import clock has them."""
    command = [sys.executable, "-X", "importtime", *COMMANDS["ablate study --list"][0]]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    found = []
    for line in done.stderr.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        if own.strip().isdigit():
            found.append((int(own), rest.partition("|")[2].strip()))
    whole = sum(own for own, _ in found)
    worst = sorted(found, reverse=True)[:12]
    lines = ["Modules that take most of `--list`'s imports, as a share of all of them:", ""]
    return "\n".join([*lines, *(f"- {name}: {own / whole:.1%}" for own, name in worst)])


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon the commands answer.")
    parser.add_argument("--quick", action="store_true", help="one turn")
    print(table.as_text(measure(quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
