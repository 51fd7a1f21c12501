"""`python -m ablate.report NAME`: make a study's report again from its records. Torch is not needed."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.command_line import exit_status
from ablate.errors import AblateError
from ablate.paths import default_runs

if TYPE_CHECKING:
    from ablate.design.sealed import SealedPlan
    from ablate.reporting.results import Results


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate report`."""
    new = argparse.ArgumentParser(
        prog="ablate report", description="Rebuilds a study's report from its records; trains nothing."
    )
    new.add_argument("study", nargs="?", metavar="NAME", type=study_name, help="the study's name, or its file")
    new.add_argument("--runs", type=Path, default=default_runs(), metavar="DIR", help="the runs folder (%(default)s)")
    new.add_argument(
        "--tracking-uri", metavar="URI", help="the MLflow store to pull a campaign from if the runs folder lacks it"
    )
    new.add_argument("--campaign", metavar="DIGEST", help="the first digits of a campaign's digest (default: newest)")
    do = new.add_argument_group("what is made").add_mutually_exclusive_group()
    do.add_argument("--list", action="store_true", help="list the campaigns of NAME, or of all studies")
    do.add_argument("--all", action="store_true", help="make the report of every campaign, and an index page")
    do.add_argument("--against", metavar="WHAT", help="compare with another campaign: its digest, or its runs folder")
    do.add_argument("--notebook", action="store_true", help="execute the report notebook into the report's folder")
    do.add_argument("--json", action="store_true", help="print one JSON document (docs/json.md); text to stderr")
    new.add_argument("--format", default="html", metavar="LIST", help="html (default), pdf, md, tex; several: html,tex")
    new.add_argument("--out", type=Path, metavar="DIR", help="write here in place of RUNS/reports")
    return new


def study_name(name_or_path: str) -> str:
    """``"mine"`` of ``"mine"`` and of ``"./mine.toml"``: records know a study by its name alone."""
    return Path(name_or_path).stem if name_or_path.endswith(".toml") else name_or_path


def campaigns(options: argparse.Namespace) -> list[SealedPlan]:
    """The campaigns of the runs folder, of one study or of all, oldest first.

    Raises:
        AblateError: there are none.
    """
    from ablate.campaign.records import every_sealed_plan

    found = [one for one in every_sealed_plan(options.runs) if options.study in (None, one.plan.study.name)]
    if not found:
        which = f" of the study {options.study!r}" if options.study else ""
        raise AblateError(f"{options.runs}: holds no campaign{which}; run a study first")
    return found


def results_of(options: argparse.Namespace, study: str, digest: str | None, runs: Path | None = None) -> Results:
    """The results of one campaign."""
    from ablate.reporting.load import load_results

    return load_results(study, runs=runs or options.runs, tracking_uri=options.tracking_uri, digest=digest)


def show_list(options: argparse.Namespace) -> None:
    """A line a campaign: study, budget, data, seeds, digest, when it was sealed, and how far it is; then the tally.

    The tally says how many contrasts all campaigns of the runs folder asked, and how many would differ by chance.
    """
    from ablate.campaign.done import asked_of
    from ablate.reporting.preview import print_campaigns

    print_campaigns(campaigns(options), options.runs)
    if tally := asked_of(options.runs):
        print(tally.sentence)  # noqa: T201


def make_all(options: argparse.Namespace) -> Path:
    """The report of every campaign, and the index page."""
    from ablate.reporting.folders import publish
    from ablate.reporting.index import write_index

    runs = options.out or options.runs
    found = [results_of(options, one.plan.study.name, one.plan.study.digest) for one in campaigns(options)]
    for results in found:
        print(f"Report: {publish(results, runs)}")  # noqa: T201
    return write_index(found, runs / "reports")


def make_comparison(options: argparse.Namespace, results: Results) -> Path:
    """Two campaigns side by side."""
    from ablate.reporting.folders import report_folder
    from ablate.reporting.index import compare

    elsewhere = Path(options.against)
    other = (
        results_of(options, options.study, None, elsewhere)
        if elsewhere.is_dir()
        else results_of(options, options.study, options.against)
    )
    return compare(results, other, report_folder(options.out or options.runs, results.plan))


def make(options: argparse.Namespace) -> list[Path]:
    """What the command line asks for; the files that were made.

    Raises:
        AblateError: there is no such campaign, or a format is unknown or cannot be made here.
    """
    if options.study is None:
        raise AblateError("name a study, or --list or --all: python -m ablate.report linear_bottleneck")
    from ablate.reporting.folders import publish, report_folder
    from ablate.reporting.formats import write_formats
    from ablate.reporting.notebook import execute_notebook
    from ablate.reporting.terminal import print_results

    results = results_of(options, options.study, options.campaign)
    if options.json:
        from ablate.design.plan import CONTROL
        from ablate.reporting.json_output import judgement_json

        print(judgement_json(results.judgement, control=CONTROL, costs=results.costs), file=options.stdout)
    if options.against:
        return [make_comparison(options, results)]
    print_results(results)
    runs = options.out or options.runs
    folder = report_folder(runs, results.plan)
    if options.notebook:
        return [execute_notebook(results, folder, runs=options.runs)]
    formats = [name.strip() for name in options.format.split(",")]
    made = write_formats(results, folder, formats)
    return [publish(results, runs) if name == "html" else path for name, path in made.items()]


def run(options: argparse.Namespace) -> None:
    """Does what the command line asks for."""
    options.stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        if options.list:
            show_list(options)
            return
        for path in [make_all(options)] if options.all else make(options):
            print(f"Report: {path}")  # noqa: T201


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 wrong input, 130 interrupted; an earlier report then stays as it was."""
    options = parser().parse_args(arguments)
    return exit_status("report", lambda: run(options), interrupted="interrupted; the earlier report is as it was")


if __name__ == "__main__":
    sys.exit(main())
