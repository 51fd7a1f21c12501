"""`python -m ablate.input_sizes STUDY [ARM ...]`: accuracy and cost of trained nets at several input sizes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.command_line import add_fields, add_folders, exit_status, overrides
from ablate.errors import AblateError

if TYPE_CHECKING:
    import pandas as pd

    from ablate.campaign.trained import TrainedNet
    from ablate.training.data import Images

SHARES = (0.75, 0.875, 1.0, 1.125, 1.25, 1.5)  # of the training images' height, where no sizes are given
LARGEST = 512


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate input_sizes`."""
    new = argparse.ArgumentParser(
        prog="ablate input_sizes",
        description="Scores trained nets on test images resized to several sizes, with the same weights, and counts "
        "the MACs of each size. Uses every seed whose weights were kept; trains one if there is none.",
    )
    new.add_argument("study", metavar="STUDY", help="a study's name, or the path of its .toml file")
    new.add_argument("arms", nargs="*", metavar="ARM", help="arms of the study (default: control)")
    new.add_argument(
        "--sizes", type=int, nargs="+", metavar="N", help="heights in pixels (default: 6 around training's)"
    )
    add_fields(new.add_argument_group("what is studied"))
    add_folders(new)
    new.add_argument("--no-train", action="store_true", help="refuse if no trained net was kept")
    new.add_argument("--out", type=Path, metavar="DIR", help="where files are written (RUNS/input_sizes)")
    return new


def run(options: argparse.Namespace) -> None:
    """Scores, prints the table, and writes it with its figure.

    Raises:
        AblateError: a size out of range, no such arm, no trained net, or a folder that cannot be written.
    """
    import pandas as pd

    from ablate.campaign.options import RunOptions
    from ablate.campaign.trained import kept_nets, trained_net
    from ablate.design.plan import CONTROL
    from ablate.design.read import load_study
    from ablate.reporting.console import print_frame
    from ablate.reporting.figure_files import write_figure
    from ablate.reporting.input_sizes import by_size, printed_sizes
    from ablate.training.data import load_images

    for size in options.sizes or ():
        if not 1 <= size <= LARGEST:
            raise AblateError(f"--sizes must be from 1 to {LARGEST}, got {size}")
    study = load_study(options.study, budget=options.budget, overrides=overrides(options))
    how = RunOptions(runs=options.runs, data_root=options.data_root)
    kept = {arm: kept_nets(study, arm, how) for arm in dict.fromkeys(options.arms or [CONTROL])}
    nets = [
        net
        for arm, found in kept.items()
        for net in found or [trained_net(study, arm, None, how, train=not options.no_train)]
    ]
    images = load_images(study.data, how.data_root, how.cache / "data", report=print)
    heights = options.sizes or [round(share * images.info.height) for share in SHARES]
    table = pd.DataFrame([row for net in nets for row in scores(net, images, sorted(set(heights)))])
    print_frame(printed_sizes(table))
    for line in warnings(table):
        print(line)  # noqa: T201
    folder = options.out or how.runs / "input_sizes"
    print(f"Figure: {write_figure(folder, study.name, by_size(table), table)}")  # noqa: T201


def scores(trained: TrainedNet, images: Images, heights: list[int]) -> list[dict[str, object]]:
    """A row a size: arm, seed, size, accuracy, macs, tiny (convolutions on maps of 2x2 pixels or fewer), trained."""
    from ablate.design.own_block import is_ours
    from ablate.measure.cost import estimate
    from ablate.model.layers import layers, tiny_maps
    from ablate.training.feed import Feed
    from ablate.training.outcome import evaluate
    from ablate.training.resized import resized

    trial, info = trained.trial, images.info
    if not is_ours(trial.spec):
        raise AblateError(f"the cost at other sizes is counted for ablate's own nets; {trial.arm} has code of your own")
    net = trained.load()
    feed = Feed(images, trial.recipe, trial.seed)
    rows: list[dict[str, object]] = []
    for height in heights:
        width = max(1, round(height * info.width / info.height))
        shown = resized(images.test, height, width)
        rows.append(
            {
                "arm": trial.arm,
                "seed": trial.seed,
                "size": height,
                "accuracy": evaluate(net, feed, shown, images.test_labels).accuracy,
                "macs": estimate(trial.spec, (info.channels, height, width)).macs,
                "tiny": len(tiny_maps(layers(trial.spec, height, width))),
                "trained": height == info.height,
            }
        )
    return rows


def warnings(table: pd.DataFrame) -> list[str]:
    """A line for each size at which convolutions see mostly padding."""
    small = table[table["tiny"] > 0].drop_duplicates("size")
    return [
        f"Warning: at {size} pixels, {tiny} convolutions work on maps of 2×2 pixels or fewer, which are mostly padding"
        for size, tiny in zip(small["size"], small["tiny"], strict=True)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 wrong input."""
    options = parser().parse_args(arguments)
    return exit_status("input_sizes", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
