"""What the shipped studies found, as the documentation shows it.

    python benchmarks/results.py [--runs DIR]

carries out each study (what is done already is not trained again) and writes docs/results.md: the verdicts as the tool
prints them, whichever way they came out, with the figures beside them in docs/results/.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from ablate.paths import default_runs, tracking_uri
from ablate.reporting.folders import report_folder
from ablate.reporting.load import load_results
from ablate.reporting.markdown import note
from ablate.reporting.results import Results

DOCS = Path(__file__).parents[1] / "docs"
STUDIES = ("linear_bottleneck", "relu6", "inverted_residual", "depthwise", "from_v1_to_v2", "toggles")
FIGURES = ("differences", "matched", "cost", "effects", "interactions", "roadmap")
HEAD = """# What the shipped studies found

Made by `python benchmarks/results.py`, from the quick budgets: mnist5k, small nets, 4 epochs. Nothing here is
written by hand, and unexpected results are kept. Small nets on 4,000 digits for 4 epochs show only a little:
`--budget full` asks the same questions on CIFAR-10.
"""


def origin(results: Results) -> str:
    """Where the numbers came from, in a line."""
    measured = [record.measured for record in results.records.values() if record.measured.hardware]
    hardware, _ = Counter(one.hardware for one in measured).most_common(1)[0]
    commits = sorted({one.commit[:12] for one in measured if one.commit})
    torch = sorted({one.versions.get("torch", "") for one in measured})
    hours = sum(one.wall_s for one in measured) / 3600
    return (
        f"{len(results.records)} trials, {hours:.2f} processor hours on {hardware}; torch {', '.join(torch)}; "
        f"kernels {', '.join(sorted({one.kernels for one in measured if one.kernels})) or 'unknown'}; "
        f"commit {', '.join(commits) or 'unknown'}."
    )


def section(name: str, runs: Path) -> str:
    """One study's verdicts and figures; the figures are copied beside the page."""
    results = load_results(name, runs=runs, tracking_uri=tracking_uri(runs))
    parts = [note(results), origin(results)]
    kept = DOCS / "results"
    kept.mkdir(exist_ok=True)
    for figure in FIGURES:
        made = report_folder(runs, results.plan) / "figures" / f"{figure}.png"
        if made.exists():
            shutil.copyfile(made, kept / f"{name}_{figure}.png")
            parts.append(f"![{figure} of {name}](results/{name}_{figure}.png)")
    return "\n\n".join(parts)


def main() -> int:
    """Carries the studies out and writes the page."""
    parser = argparse.ArgumentParser(description="Carries out the shipped studies and writes docs/results.md.")
    parser.add_argument("--runs", type=Path, default=default_runs(), metavar="DIR")
    options = parser.parse_args()
    for name in STUDIES:
        subprocess.run([sys.executable, "-m", "ablate.study", name, "--runs", str(options.runs)], check=True)
    sections = [section(name, options.runs) for name in STUDIES]
    (DOCS / "results.md").write_text("\n\n".join([HEAD.strip(), *sections]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
