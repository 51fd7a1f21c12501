"""`python -m ablate.low_precision STUDY`: the trained nets of a study in low precision, arm against control."""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.command_line import add_fields, add_folders, exit_status, overrides
from ablate.errors import AblateError

if TYPE_CHECKING:
    import pandas as pd

    from ablate.campaign.options import RunOptions
    from ablate.design.plan import CampaignPlan, Trial
    from ablate.design.study import DataSpec
    from ablate.training.data import Images

BITS = (8, 6, 4)
STEPS = {"channel": True, "tensor": False}  # how far a step of the weights reaches -> per_channel
CALIBRATION = 256


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate low_precision`."""
    new = argparse.ArgumentParser(
        prog="ablate low_precision",
        description="Scores every trained net of a study again with weights and activations rounded to a few bits, and "
        "judges whether an arm loses more accuracy than the control. Train first, with keep_weights = true.",
    )
    new.add_argument("study", nargs="?", default="low_precision", metavar="STUDY", help="(default: %(default)s)")
    add_fields(new.add_argument_group("what is studied"))
    new.add_argument("--bits", type=int, nargs="+", default=list(BITS), metavar="N", help="(default: 8 6 4)")
    add_folders(new)
    new.add_argument("--out", type=Path, metavar="DIR", help="where the CSV file is written (RUNS/low_precision)")
    return new


def run(options: argparse.Namespace) -> None:
    """Scores, prints the table and the verdicts, and writes the scores.

    Raises:
        AblateError: a bit width out of range, no trained net, a folder that cannot be written.
    """
    from ablate.campaign.options import RunOptions
    from ablate.campaign.planning import planned
    from ablate.design.own_block import is_ours
    from ablate.design.read import load_study
    from ablate.files import write_whole
    from ablate.measure.quantise import check_bits
    from ablate.reporting.console import print_frame
    from ablate.reporting.low_precision import judged, printed_scores

    for bits in options.bits:
        check_bits(bits)
    study = load_study(options.study, budget=options.budget, overrides={**overrides(options), "keep_weights": True})
    where = RunOptions(runs=options.runs, data_root=options.data_root)
    plan = planned(study, where.data_root, print)
    if own := [arm.name for arm in plan.arms if not is_ours(arm.spec)]:
        told = f"study {study.name}: {own[0]} trains an imported net"
        raise AblateError(f"{told}; low precision is known of ablate's own nets, whose norms follow their convolutions")
    table = scores(plan, where, list(dict.fromkeys(options.bits)))
    print_frame(printed_scores(table))
    for line in judged(table, alpha=study.decision.alpha, margin=study.decision.margin):
        print(line)  # noqa: T201
    file = (options.out or where.runs / "low_precision") / f"{study.name}.csv"
    try:
        write_whole(file, table.to_csv(index=False).encode())
    except OSError as error:
        raise AblateError(f"{file}: cannot be written ({error.strerror or error})") from error
    print(f"Scores: {file}")  # noqa: T201


def scores(plan: CampaignPlan, where: RunOptions, bits: list[int]) -> pd.DataFrame:
    """arm, seed, bits (32: as trained), step (channel or tensor), test accuracy; each trained net but the A/A arm's."""
    import pandas as pd

    from ablate.design.arms import NOISE_FLOOR
    from ablate.training.data import load_images

    @functools.lru_cache(maxsize=1)  # a seed's trials follow each other, and share their images
    def images_of(data: DataSpec) -> Images:
        return load_images(data, where.data_root, where.cache / "data", report=print)

    nets = [trial for trial in plan.trials if trial.arm != NOISE_FLOOR]
    rows = [_of_trial(plan, one.arm, one.seed, where, images_of(_parts(plan, one)), bits) for one in nets]
    return pd.DataFrame([row for some in rows for row in some])


def _parts(plan: CampaignPlan, trial: Trial) -> DataSpec:
    """The study's data, split as they were for this trial."""
    return plan.study.data.model_copy(update={"split_seed": trial.data.split_seed})


def _of_trial(
    plan: CampaignPlan, arm: str, seed: int, where: RunOptions, images: Images, bits: list[int]
) -> list[dict[str, object]]:
    from ablate.campaign.trained import load_net
    from ablate.measure.quantise import quantised
    from ablate.training.feed import Feed
    from ablate.training.outcome import evaluate

    net = load_net(plan.study, arm, seed, where)
    feed = Feed(images, plan.study.recipe, seed)
    calibration = feed.normalise(images.train[:CALIBRATION])
    nets = {(32, "channel"): net} | {
        (width, step): quantised(net, width, per_channel=each, calibration_images=calibration)
        for width in bits
        for step, each in STEPS.items()
    }
    return [
        {
            "arm": arm,
            "seed": seed,
            "bits": width,
            "step": step,
            "accuracy": evaluate(one, feed, images.test, images.test_labels).accuracy,
        }
        for (width, step), one in nets.items()
    ]


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 wrong input."""
    options = parser().parse_args(arguments)
    return exit_status("low_precision", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
