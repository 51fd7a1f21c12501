"""`python -m ablate.report NAME`: make a study's report again from its records. Torch is not needed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ablate.errors import AblateError
from ablate.paths import default_runs


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate report`."""
    new = argparse.ArgumentParser(
        prog="ablate report", description="Makes a study's report again from its records; trains nothing."
    )
    new.add_argument("study", metavar="NAME", help="the study's name")
    new.add_argument("--runs", type=Path, default=default_runs(), metavar="DIR", help="the runs folder (%(default)s)")
    new.add_argument(
        "--tracking-uri", metavar="URI", help="an MLflow store to pull a campaign from that the runs folder lacks"
    )
    new.add_argument("--campaign", metavar="DIGEST", help="the campaign's 16 hex digits (default: the newest)")
    return new


def main(arguments: list[str] | None = None) -> int:
    """Prints the verdicts and where the report is."""
    options = parser().parse_args(arguments)
    from ablate.reporting.folders import publish
    from ablate.reporting.load import load_results
    from ablate.reporting.terminal import print_results

    try:
        results = load_results(
            options.study, runs=options.runs, tracking_uri=options.tracking_uri, digest=options.campaign
        )
        print_results(results)
        page = publish(results, options.runs)
    except AblateError as error:
        print(f"ablate report: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(f"Report: {page}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
