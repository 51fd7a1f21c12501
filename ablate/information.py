"""`python -m ablate.information`: what ReLU keeps of its input (arXiv:1801.04381, figures 1 and 7)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.command_line import add_fields, exit_status, overrides
from ablate.design.own_block import is_ours
from ablate.errors import AblateError
from ablate.paths import default_data_root, default_runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch.nn import Module

    from ablate.design.plan import Arm, CampaignPlan
    from ablate.training.data import Images

ONLY_WITH_STUDY = ("budget", "seeds", "epochs", "data", "set", "images", "data_root", "trained")
ONLY_WITHOUT_STUDY = ("dims", "draws")


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate information`."""
    new = argparse.ArgumentParser(
        prog="ablate information",
        description="Without a study: a spiral through random ReLU layers and back. With one: the share of positive "
        "channels after each activation of its arms' nets. Prints a table, and writes figures and CSV.",
    )
    new.add_argument("study", nargs="?", metavar="STUDY", help="a study's name, or the path of its .toml file")
    new.add_argument("arms", nargs="*", metavar="ARM", help="arms of the study (default: all)")
    new.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the random matrices, or of the nets (%(default)s)"
    )
    new.add_argument("--out", type=Path, metavar="DIR", help="where files are written (RUNS/information)")
    spiral = new.add_argument_group("without a study")
    spiral.add_argument("--dims", type=int, nargs="+", metavar="N", help="channels of the layers (2 3 5 15 30)")
    spiral.add_argument("--draws", type=int, metavar="N", help="random matrices for each (1000)")
    nets = new.add_argument_group("with a study")
    add_fields(nets)
    nets.add_argument(
        "--trained",
        action="store_true",
        default=None,
        help="nets as trained by `ablate study STUDY --set keep_weights=true` (default: with initial weights)",
    )
    nets.add_argument("--images", type=int, metavar="N", help="training images to show to each net (256)")
    nets.add_argument("--data-root", type=Path, metavar="DIR", help=f"folder of data sets ({default_data_root()})")
    return new


def check(options: argparse.Namespace) -> None:
    """Refuses options that would do nothing.

    Raises:
        AblateError: an option of the other use, or a number out of range.
    """
    unset = parser()
    for name in ONLY_WITHOUT_STUDY if options.study else ONLY_WITH_STUDY:
        if getattr(options, name) != unset.get_default(name):
            word = "without" if options.study else "with"
            raise AblateError(f"--{name.replace('_', '-')} has a meaning only {word} a study")
    if options.images is not None and options.images < 2:
        raise AblateError(f"--images must be at least 2, got {options.images}")


def spiral(options: argparse.Namespace) -> None:
    """Figure 1: the panels, the error against the number of channels, and the table behind them."""
    from ablate.measure.information import DIMS, reconstruct
    from ablate.reporting import figures_information
    from ablate.reporting.console import print_frame
    from ablate.reporting.frames_information import printed_reconstruction, spiral_curves, summarise

    dims = sorted(set(options.dims or DIMS))
    found = reconstruct(dims, draws=1000 if options.draws is None else options.draws, seed=options.seed)
    summary = summarise(found)
    print_frame(printed_reconstruction(summary))
    curves = spiral_curves(dims, options.seed)
    keep(options, "spirals", figures_information.spirals(curves), curves)
    keep(options, "reconstruction", figures_information.reconstruction(summary), summary)


def channels(options: argparse.Namespace) -> None:
    """Figure 7 for the arms of a study, with their initial or their trained weights."""
    import pandas as pd

    from ablate.campaign.planning import planned
    from ablate.design.read import load_study
    from ablate.reporting import figures_information
    from ablate.reporting.console import print_frame
    from ablate.reporting.frames_information import printed_channels

    kept = {"keep_weights": True} if options.trained else {}
    study = load_study(options.study, budget=options.budget, overrides={**overrides(options), **kept})
    plan = planned(study, options.data_root, print)
    arms, images = chosen(plan, options.arms), data_of(plan, options)
    frame = pd.concat([counted(plan, arm, images, options) for arm in arms], ignore_index=True)
    print_frame(printed_channels(frame))
    name = f"{plan.study.name}_channels{'_trained' if options.trained else ''}"
    keep(options, name, figures_information.positive_channels(frame), frame)


def chosen(plan: CampaignPlan, names: list[str]) -> list[Arm]:
    """The arms of these names, or all of them; the A/A arm is the control's net and left out.

    Raises:
        AblateError: a name that no arm has.
    """
    from ablate.design.plan import NOISE_FLOOR
    from ablate.errors import one_of

    there = {arm.name: arm for arm in plan.arms if arm.name != NOISE_FLOOR}
    for name in names:
        if name not in there:
            raise AblateError(f"study {plan.study.name}: the arm {one_of(name, there)}")
    return [there[name] for name in dict.fromkeys(names or there)]


def data_of(plan: CampaignPlan, options: argparse.Namespace) -> Images:
    """The study's images, prepared where a campaign would prepare them."""
    from ablate.training.data import load_images

    return load_images(
        plan.study.data, options.data_root or default_data_root(), default_runs() / "cache" / "data", report=print
    )


def counted(plan: CampaignPlan, arm: Arm, images: Images, options: argparse.Namespace) -> pd.DataFrame:
    """The positive channels of one arm's net on the first training images."""
    import dataclasses

    import pandas as pd
    import torch

    from ablate.measure.positive import positive_channels

    batch = images.train[: options.images or 256].float()
    mean, std = (torch.tensor(numbers).view(1, -1, 1, 1) for numbers in (images.mean, images.std))
    found = positive_channels(net_of(plan, arm, options), (batch - mean) / std)
    rows = [dataclasses.asdict(one) for one in found]
    return pd.DataFrame(rows).assign(arm=arm.name, depth=range(len(rows)))


def net_of(plan: CampaignPlan, arm: Arm, options: argparse.Namespace) -> Module:
    """The net as trained, or as initialised, where batch norm uses the statistics of the images."""
    import torch

    from ablate.campaign.trained import load_net
    from ablate.model.nets import build
    from ablate.training.own_net import build_model

    if options.trained:
        return load_net(plan.study, arm.name, options.seed)
    if is_ours(arm.spec):
        return build(arm.spec, generator=torch.Generator().manual_seed(options.seed)).train()
    return build_model(arm.spec, plan.data, options.seed).train()


def keep(options: argparse.Namespace, name: str, figure: Figure, frame: pd.DataFrame) -> None:
    """Writes the figure and the numbers behind it, and prints where."""
    from ablate.reporting.figure_files import write_figure

    print(f"Figure: {write_figure(options.out or default_runs() / 'information', name, figure, frame)}")  # noqa: T201


def run(options: argparse.Namespace) -> None:
    """The spiral, or the channels of a study's nets.

    Raises:
        AblateError: options that do not go together, or a study that cannot be used.
    """
    check(options)
    (channels if options.study else spiral)(options)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 wrong input."""
    options = parser().parse_args(arguments)
    return exit_status("information", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
