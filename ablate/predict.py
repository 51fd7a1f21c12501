"""`python -m ablate.predict STUDY [ARM]`: a trained net's answers for image files or test images, and its mistakes."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ablate.command_line import add_fields, add_folders, exit_status, overrides
from ablate.errors import AblateError, one_of

if TYPE_CHECKING:
    import pandas as pd

    from ablate.campaign.predict import Answers
    from ablate.campaign.trained import TrainedNet

SHOWN = 20  # rows that the terminal shows
SCHEMA = 1


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate predict`."""
    new = argparse.ArgumentParser(
        prog="ablate predict",
        description="Shows image files or test images to a trained net of a study: a table and a figure of the answers "
        "and their probabilities, and of the mistakes. Trains the net first if none was kept.",
    )
    new.add_argument("study", metavar="STUDY", help="a study's name, or the path of its .toml file")
    new.add_argument("rest", nargs="*", metavar="ARM | IMAGE", help="an arm (default: control), then PNG or JPEG files")
    new.add_argument("--test", type=int, nargs="+", metavar="N", help="test images by index (default: all of them)")
    new.add_argument("--seed", type=int, metavar="N", help="seed of the net (default: the first that was kept)")
    add_fields(new.add_argument_group("what is studied"))
    add_folders(new)
    new.add_argument("--no-train", action="store_true", help="refuse if no trained net was kept")
    new.add_argument("--out", type=Path, metavar="DIR", help="where files are written (RUNS/predict/STUDY-ARM-SEED)")
    new.add_argument("--json", action="store_true", help="print one JSON document; text to stderr")
    return new


def arm_and_files(rest: list[str], arms: list[str]) -> tuple[str, list[Path]]:
    """The arm, and the image files, of the words after the study.

    Raises:
        AblateError: the first word is neither an arm nor looks like a file.
    """
    from ablate.design.plan import CONTROL

    if not rest or rest[0] in arms:
        return (rest[0], [Path(word) for word in rest[1:]]) if rest else (CONTROL, [])
    if not Path(rest[0]).exists() and Path(rest[0]).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise AblateError(f"the arm {one_of(rest[0], arms)} (an image ends in .png, .jpg or .jpeg)")
    return CONTROL, [Path(word) for word in rest]


def run(options: argparse.Namespace, out: TextIO) -> None:
    """Predicts, prints, and writes.

    Raises:
        AblateError: the study, the arm, the net, the images or the folder cannot be used.
    """
    from ablate.campaign.options import RunOptions
    from ablate.campaign.planning import planned
    from ablate.campaign.predict import answers, check_asked
    from ablate.campaign.trained import trained_net
    from ablate.design.read import load_study
    from ablate.reporting.predictions import mistakes, prediction_frame
    from ablate.reporting.progress import progress

    study = load_study(options.study, budget=options.budget, overrides=overrides(options))
    how = RunOptions(runs=options.runs, data_root=options.data_root)
    plan = planned(study, how.data_root, print)
    arm, files = arm_and_files(options.rest, [one.name for one in plan.arms])
    if files and options.test is not None:
        raise AblateError("--test goes with no image files: name files, or indices of test images")
    check_asked(plan.data, files, options.test or ())
    with progress(plan) as observer:
        trained = trained_net(study, arm, options.seed, how, train=not options.no_train, observer=observer)
    found = answers(trained, how, files=files, test=options.test or ())
    frame = prediction_frame(found)
    wrong = mistakes(frame)
    everything = not files and options.test is None
    tell(frame, wrong, everything=everything)
    print(f"Weights: {trained.weights}")  # noqa: T201
    trial = trained.trial
    folder = options.out or how.runs / "predict" / f"{study.name}-{trial.arm}-{trial.seed}"
    write(folder, found, frame, wrong)
    print(f"Folder:  {folder}")  # noqa: T201
    if options.json:
        print(document(trained, frame, folder), file=out)


def tell(frame: pd.DataFrame, wrong: pd.DataFrame, *, everything: bool) -> None:
    """Prints the table, of all test images only that of the mistakes, and how many are right."""
    from ablate.reporting.console import print_frame
    from ablate.reporting.predictions import printed_predictions

    shown = wrong if everything else frame
    if len(shown):
        print_frame(printed_predictions(shown.head(SHOWN)))
    if len(shown) > SHOWN:
        print(f"The first {SHOWN} of {len(shown):,}; the files have all.")  # noqa: T201
    if all(truth is not None for truth in frame["true"]):
        share = 100 * (1 - len(wrong) / len(frame))
        print(f"{len(frame) - len(wrong):,} of {len(frame):,} test images are right ({share:.2f} %).")  # noqa: T201


def write(folder: Path, found: Answers, frame: pd.DataFrame, wrong: pd.DataFrame) -> None:
    """Figures and tables of the predictions and, where there are any, of the mistakes."""
    from ablate.reporting.figure_files import write_figure
    from ablate.reporting.predictions import gallery

    for name, rows in (("predictions", frame), ("mistakes", wrong)):
        if len(rows):
            write_figure(folder, name, gallery(found, rows), rows)
            continue
        for ending in ("png", "svg", "csv"):  # of an earlier call
            (folder / f"{name}.{ending}").unlink(missing_ok=True)


def document(trained: TrainedNet, frame: pd.DataFrame, folder: Path) -> str:
    """The answers as one JSON document (docs/json.md)."""
    trial = trained.trial
    facts = frame.drop(columns=[name for name in frame.columns if name.startswith("p(")])
    shares = frame[[name for name in frame.columns if name.startswith("p(")]]
    shares = shares.rename(columns=lambda name: name[2:-1])
    images = [
        {**fact, "probabilities": share}
        for fact, share in zip(facts.to_dict("records"), shares.to_dict("records"), strict=True)
    ]
    said = {"schema": SCHEMA, "study": trial.study, "arm": trial.arm, "seed": trial.seed, "key": trial.key}
    return json.dumps(
        {**said, "data": trial.data.name, "weights": str(trained.weights), "folder": str(folder), "images": images},
        indent=2,
        allow_nan=False,
    )


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 wrong input, 130 interrupted."""
    options = parser().parse_args(arguments)
    return exit_status("predict", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        run(options, out)


if __name__ == "__main__":
    sys.exit(main())
