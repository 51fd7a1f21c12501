"""The tables and figures of docs/paper.md.

    python benchmarks/paper.py

runs the commands that the page names as a user would, with their figures in docs/paper/, and writes the tables between
the markers of the page. It trains the nets of studies/low_precision.toml, studies/mnist_digits.toml and
examples/transfer/, unless the runs folder has them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from ablate import information, input_sizes, low_precision, memory, predict, study
from ablate.design.read import load_study
from ablate.measure.information import DIMS, reconstruct
from ablate.model.layers import layers
from ablate.model.zoo import NETS
from ablate.paths import default_runs
from ablate.reporting.frames_depth import printed_peaks, printed_splits, steps
from ablate.reporting.frames_information import printed_reconstruction, summarise
from ablate.reporting.headline import headline
from ablate.reporting.input_sizes import printed_sizes
from ablate.reporting.load import load_results
from ablate.reporting.low_precision import judged, printed_scores
from ablate.reporting.markdown import escape, table
from ablate.reporting.tables import verdict_rows

PAGE = Path(__file__).parents[1] / "docs" / "paper.md"
FIGURES = PAGE.with_suffix("")
TRANSFER = PAGE.parents[1] / "examples" / "transfer"
BITS = 16


def tables() -> dict[str, str]:
    """The page's tables as markdown, by the name of their marker."""
    nets = {name: layers(NETS[name](), 224, 224) for name in memory.NETS}
    frames: dict[str, pd.DataFrame] = {
        "reconstruction": printed_reconstruction(summarise(reconstruct(DIMS))),
        "peaks": printed_peaks(steps(nets, BITS), BITS),
        "splits": printed_splits({"mobilenet_v2": nets["mobilenet_v2"]}, (1, 2, 3, 6), BITS),
    }
    return {name: table(frame) for name, frame in frames.items()}


def filled(page: str, made: dict[str, str]) -> str:
    """The page with the tables between their markers."""
    for name, text in made.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        page, found = re.subn(f"{begin}.*?{end}", lambda _, t=f"{begin}\n{text}\n{end}": t, page, flags=re.DOTALL)
        if found != 1:
            raise ValueError(f"{PAGE} must hold {begin} ... {end} once, it does {found} times")
    return page


def trained(runs: Path) -> dict[str, str]:
    """Figures and tables of trained nets: those of a runs folder, or trained now."""
    folder = ["--runs", str(runs), "--out", str(FIGURES)]
    told: dict[str, str] = {}
    for call, arguments in (
        (study.main, ["low_precision", "--quiet", "--no-report", *folder[:2]]),
        (predict.main, ["mnist_digits", *folder]),
        (input_sizes.main, ["mnist_digits", *folder]),
        (low_precision.main, ["low_precision", *folder]),
    ):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            if call(arguments):
                raise SystemExit(1)
        told[call.__module__] = out.getvalue()
    (FIGURES / "mnist_digits.png").rename(FIGURES / "input_sizes.png")
    share = next(line for line in told["ablate.predict"].splitlines() if "test images are right" in line)
    scores = pd.read_csv(FIGURES / "low_precision.csv")
    rule = load_study("low_precision").decision
    lines = [f"- {escape(line)}" for line in judged(scores, alpha=rule.alpha, margin=rule.margin)]
    return {
        "predictions": share,
        "sizes": table(printed_sizes(pd.read_csv(FIGURES / "mnist_digits.csv"))),
        "precision": "\n".join([table(printed_scores(scores)), "", *lines]),
    }


def transferred(runs: Path) -> str:
    """What examples/transfer found, by the two commands of docs/transfer.md."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        environment = {**os.environ, "ABLATE_RUNS": str(runs)}
        subprocess.run([sys.executable, TRANSFER / "transfer.py"], env=environment, check=True)
        path = str(TRANSFER / "transfer.toml")
        if study.main([path, "--quiet", "--no-report", "--runs", str(runs)]):
            raise SystemExit(1)
        found = load_results("transfer", runs=runs, digest=load_study(path).digest)
    return "\n".join([f"**{escape(headline(found))}**", "", table(verdict_rows(found))])


def main() -> int:
    """Draws the figures and fills the page."""
    parser = argparse.ArgumentParser(description="Draws the figures of docs/paper.md and fills its tables.")
    parser.add_argument("--runs", type=Path, default=default_runs(), metavar="DIR", help="where trained nets are kept")
    options = parser.parse_args()
    for call, arguments in (
        (information.main, []),
        (information.main, ["linear_bottleneck"]),
        (memory.main, []),
    ):
        if call([*arguments, "--out", str(FIGURES)]):
            return 1
    PAGE.write_text(
        filled(PAGE.read_text(), tables() | trained(options.runs) | {"transfer": transferred(options.runs)})
    )
    for kept in FIGURES.iterdir():
        if kept.suffix != ".png":
            kept.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
