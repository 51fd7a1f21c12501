"""`python -m ablate.memory`: memory at inference over depth (arXiv:1801.04381, section 5.1 and table 3)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ablate.command_line import exit_status
from ablate.errors import AblateError
from ablate.paths import default_runs

NETS = ("mobilenet_v1", "mobilenet_v2", "resnet50")
MOST_PIXELS = 4096
BITS = (4, 8, 16, 32)


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate memory`."""
    new = argparse.ArgumentParser(
        prog="ablate memory",
        description="Inputs and outputs of every layer, and of every block as one operation, over the depth of nets; "
        "and what a split of the blocks' inner tensors saves. Prints tables, and writes a figure and a CSV file.",
    )
    new.add_argument("nets", nargs="*", metavar="NET", help=f"named nets (default: {' '.join(NETS)})")
    new.add_argument("--image", type=int, default=224, metavar="PIXELS", help="side of the square image (%(default)s)")
    new.add_argument("--bits", type=int, default=16, choices=BITS, help="of an activation (%(default)s)")
    new.add_argument(
        "--parts", type=int, nargs="+", default=[1, 2, 3, 6], metavar="N", help="splits of the inner tensors (1 2 3 6)"
    )
    new.add_argument("--out", type=Path, metavar="DIR", help="where files are written (RUNS/memory)")
    return new


def run(options: argparse.Namespace) -> None:
    """Prints the tables and writes the figure.

    Raises:
        AblateError: an unknown net, an image of no size, a split that does not divide, a folder that cannot be written.
    """
    from ablate.errors import one_of
    from ablate.model.layers import layers
    from ablate.model.zoo import NETS as ZOO
    from ablate.reporting import figures_depth, frames_depth
    from ablate.reporting.console import print_frame
    from ablate.reporting.figure_files import write_figure

    for name in options.nets:
        if name not in ZOO:
            raise AblateError(f"the net {one_of(name, ZOO)}")
    if not 1 <= options.image <= MOST_PIXELS:
        raise AblateError(f"--image must be from 1 to {MOST_PIXELS}, got {options.image}")
    names = dict.fromkeys(options.nets or NETS)
    nets = {name: layers(ZOO[name](), options.image, options.image) for name in names}
    steps = frames_depth.steps(nets, options.bits)
    splits = frames_depth.printed_splits(nets, options.parts, options.bits)
    print_frame(frames_depth.printed_peaks(steps, options.bits))
    print()  # noqa: T201
    print_frame(splits)
    folder = options.out or default_runs() / "memory"
    print(f"Figure: {write_figure(folder, 'memory', figures_depth.memory_over_depth(steps), steps)}")  # noqa: T201


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 wrong input."""
    options = parser().parse_args(arguments)
    return exit_status("memory", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
