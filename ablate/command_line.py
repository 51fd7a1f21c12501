"""What several commands share: options of the command line, and the exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ablate.errors import AblateError
from ablate.paths import default_data_root, default_runs


def add_budget(parser: argparse.ArgumentParser) -> None:
    """``--budget``."""
    parser.add_argument(
        "--budget", default="quick", metavar="NAME", help="quick (default) or a [budget.NAME] of the file"
    )


def add_folders(parser: argparse.ArgumentParser) -> None:
    """``--runs`` and ``--data-root``."""
    parser.add_argument(
        "--runs", type=Path, default=default_runs(), metavar="DIR", help="the runs folder (%(default)s)"
    )
    parser.add_argument(
        "--data-root", type=Path, default=default_data_root(), metavar="DIR", help="folder of data sets (%(default)s)"
    )


def exit_status(command: str, action: Callable[[], object]) -> int:
    """0 after the action, or 2 after a wrong input, whose message is printed."""
    try:
        action()
    except AblateError as error:
        print(f"ablate {command}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0
