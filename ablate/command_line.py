"""What several commands share: options of the command line, what they set, and the exit status."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from ablate.errors import AblateError, Problem, StudyError
from ablate.paths import default_data_root, default_runs


def add_fields(group: argparse._ActionsContainer) -> None:
    """What is studied: ``--budget``, and the fields that are changed last."""
    group.add_argument(
        "--budget", default="quick", metavar="NAME", help="quick (default) or a [budget.NAME] of the file"
    )
    group.add_argument("--seeds", type=int, metavar="N", help="plan.seeds: paired seeds for each arm")
    group.add_argument("--epochs", type=int, metavar="N", help="recipe.epochs")
    group.add_argument("--data", metavar="NAME", help="data.name: a data set, or the path of an .npz file")
    group.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other field: recipe.lr=0.01"
    )


def add_folders(parser: argparse.ArgumentParser) -> None:
    """``--runs`` and ``--data-root``."""
    parser.add_argument(
        "--runs", type=Path, default=default_runs(), metavar="DIR", help="the runs folder (%(default)s)"
    )
    parser.add_argument(
        "--data-root", type=Path, default=default_data_root(), metavar="DIR", help="folder of data sets (%(default)s)"
    )


def overrides(options: argparse.Namespace) -> dict[str, object]:
    """The fields that the command line sets, by dotted key.

    Raises:
        StudyError: a --set that is not KEY=VALUE.
    """
    named = {"plan.seeds": options.seeds, "recipe.epochs": options.epochs, "data.name": options.data}
    found: dict[str, object] = {key: value for key, value in named.items() if value is not None}
    for text in options.set:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise StudyError([Problem("--set", "", f"takes KEY=VALUE, such as recipe.lr=0.01; got {text!r}")])
        found[key.strip()] = _value(value.strip())
    return found


def _value(text: str) -> object:
    """A value as a study file would write it; text may go without its quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, ValueError):
        return text


def exit_status(command: str, action: Callable[[], object]) -> int:
    """0 after the action, or 2 after a wrong input, whose message is printed."""
    try:
        action()
    except AblateError as error:
        print(f"ablate {command}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0
