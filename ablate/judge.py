"""`python -m ablate.judge FILE`: the verdicts on runs that were trained elsewhere, from a table of their results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.command_line import exit_status
from ablate.errors import AblateError, one_of
from ablate.paths import default_runs, tracking_uri

if TYPE_CHECKING:
    from ablate.design.runs_table import Columns, Table
    from ablate.verdicts.judgement import Judgement

EXIT_NOT_HELD = 1
EXPECTED = ("better", "worse", "equivalent", "no worse", "different", "undecided")
# Words in a metric's name that say that less of it is better, so that a direction must be named.
LESS_IS_BETTER = {
    *("loss", "error", "err", "mae", "mse", "rmse", "nll", "perplexity", "ppl", "wer", "cer", "fid"),
    *("latency", "time", "seconds", "ms", "bytes", "memory"),
}


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate judge`."""
    new = argparse.ArgumentParser(
        prog="ablate judge",
        description="Judges runs that were trained elsewhere: a row per run; columns arm, seed and any metrics.",
        epilog="docs/judge.md has a worked example; docs/json.md explains --json and every exit code.",
    )
    new.add_argument("file", nargs="?", type=Path, metavar="FILE", help="results.csv, .jsonl or .parquet")
    new.add_argument("--control", required=True, metavar="ARM", help="the arm that every other arm is compared with")
    new.add_argument("--metric", required=True, metavar="NAME", help="the column that is judged")
    direction = new.add_mutually_exclusive_group()
    direction.add_argument("--lower-is-better", action="store_true", help="as for a loss, an error or a time")
    direction.add_argument(
        "--higher-is-better", action="store_true", help="the default, except for names like val_loss"
    )

    rule = new.add_argument_group("the rule, fixed before you look")
    rule.add_argument(
        "--margin", type=float, metavar="X", help="smallest difference that matters, in the metric's unit (none)"
    )
    rule.add_argument(
        "--ask", choices=("equivalent", "no_worse"), default="equivalent", help="what the margin is for (%(default)s)"
    )
    rule.add_argument("--alpha", type=float, default=0.05, metavar="A", help="error rate over all arms (%(default)s)")
    rule.add_argument("--unpaired", action="store_true", help="equal seeds mean nothing: compare two samples")
    rule.add_argument("--noise-floor", default="", metavar="ARM", help="this arm is the control under other seeds")
    rule.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="ARM=OUTCOME",
        help=f"one of {', '.join(EXPECTED)}; may be repeated",
    )

    table = new.add_argument_group("which rows and columns")
    table.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE", help="only these rows; may be repeated"
    )
    table.add_argument("--by", default="", metavar="COLUMN", help="the data set: contrasts on each, a verdict over all")
    table.add_argument("--arm-column", "--arm-tag", default="arm", metavar="NAME", help="(default: %(default)s)")
    table.add_argument("--seed-column", "--seed-tag", default="seed", metavar="NAME", help="(default: %(default)s)")

    store = new.add_argument_group("instead of a file")
    store.add_argument("--mlflow", metavar="EXPERIMENT", help="the runs of an MLflow experiment, arm and seed as tags")
    store.add_argument(
        "--tracking-uri", metavar="URI", help="the MLflow store (default: $MLFLOW_TRACKING_URI, or runs/mlflow.db)"
    )
    new.add_argument("--json", action="store_true", help="print only the judgement, as JSON, on standard output")
    return new


def judgement(options: argparse.Namespace) -> Judgement:
    """Reads the runs and judges them.

    Raises:
        AblateError: an option or the table cannot be used.
    """
    from ablate.design.runs_table import arms_of, check_arms, runs_of
    from ablate.verdicts.runs import judge_runs
    from ablate.verdicts.runs_by_set import judge_sets
    from ablate.verdicts.samples import Question

    check_options(options)
    expect = expectations(options.expect, options.margin)
    columns = _columns(options)
    table, unlabelled = read(options, columns)
    runs = runs_of(table, columns)
    named = [("--expect", arm) for arm in expect] + (
        [("--noise-floor", options.noise_floor)] * bool(options.noise_floor)
    )
    check_arms(runs, table.where, options.control, named)
    question = Question(
        metric=options.metric,
        control=options.control,
        higher_is_better=not options.lower_is_better,
        alpha=options.alpha,
        margin=options.margin or 0.0,
        no_worse=options.ask == "no_worse",
        unpaired=options.unpaired,
        noise_floor=options.noise_floor,
        expect=expect,
    )
    if not set(arms_of(runs)) - {options.control, options.noise_floor}:
        raise AblateError(f"{table.where}: has no arm but the control and the noise floor")
    found = judge_sets(runs, question) if options.by else judge_runs(runs[""], question)
    return _with_note(found, unlabelled)


def check_options(options: argparse.Namespace) -> None:
    """Refuses options that contradict each other or say too little.

    Raises:
        AblateError: the option, its value, and what is allowed.
    """
    from ablate.design.decision import SMALLEST_ALPHA
    from ablate.design.record import LARGEST

    if (options.file is None) == (options.mlflow is None):
        raise AblateError("name one source of runs: a file (results.csv) or --mlflow EXPERIMENT")
    if options.margin is not None and not 0 < options.margin < LARGEST:
        raise AblateError(f"--margin must be a number above 0 and below {LARGEST:g}, got {options.margin:g}")
    if options.ask == "no_worse" and options.margin is None:
        raise AblateError("--ask no_worse needs --margin: by how much an arm may be worse")
    if not SMALLEST_ALPHA <= options.alpha < 0.5:
        raise AblateError(f"--alpha must be at least {SMALLEST_ALPHA:g} and below 0.5, got {options.alpha:g}")
    if options.by and options.noise_floor:
        raise AblateError("--noise-floor cannot be used with --by: it is judged on one data set at a time (--where)")
    if options.noise_floor == options.control:
        raise AblateError(f"--noise-floor must be another arm than --control, got {options.control!r}")
    words = set(options.metric.lower().replace("-", "_").replace("/", "_").replace(".", "_").split("_"))
    if words & LESS_IS_BETTER and not (options.lower_is_better or options.higher_is_better):
        raise AblateError(f"--metric {options.metric}: say --lower-is-better or --higher-is-better")


def expectations(given: list[str], margin: float | None) -> dict[str, str]:
    """Arm -> what is expected of it.

    Raises:
        AblateError: not ARM=OUTCOME, or an outcome that only a margin can confirm or contradict.
    """
    found = {}
    for text in given:
        arm, equals, outcome = text.rpartition("=")
        if not equals or not arm:
            raise AblateError(f"--expect takes ARM=OUTCOME, such as new_loss=better; got {text!r}")
        if outcome not in EXPECTED:
            raise AblateError(f"--expect {arm}: the outcome {one_of(outcome, EXPECTED)}")
        if outcome in ("equivalent", "no worse", "different") and margin is None:
            raise AblateError(
                f"--expect {text} needs --margin: without one, no arm can come out equivalent or no worse"
            )
        found[arm] = outcome
    return found


def read(options: argparse.Namespace, columns: Columns) -> tuple[Table, int]:
    """The rows that are asked for, and how many of an MLflow experiment were left out for want of the arm's tag."""
    from ablate.campaign.mlflow_runs import check_finished, read_experiment
    from ablate.design.runs_table import read_table, select

    conditions = {}
    for text in options.where:
        column, equals, value = text.partition("=")
        if not equals:
            raise AblateError(f"--where takes COLUMN=VALUE, such as dataset=cifar10; got {text!r}")
        conditions[column] = value
    if options.mlflow is None:
        return select(read_table(options.file), conditions), 0
    table, unlabelled = read_experiment(options.mlflow, tracking_uri(default_runs(), options.tracking_uri), columns)
    table = select(table, conditions)
    check_finished(table)
    return table, unlabelled


def _columns(options: argparse.Namespace) -> Columns:
    from ablate.design.runs_table import Columns

    return Columns(metric=options.metric, arm=options.arm_column, seed=options.seed_column, data_set=options.by)


def _with_note(found: Judgement, unlabelled: int) -> Judgement:
    from dataclasses import replace

    if not unlabelled:
        return found
    note = (
        f"{unlabelled} run{'s' * (unlabelled != 1)} of the experiment without the arm's tag are not among these runs."
    )
    return replace(found, statements=(*found.statements, note))


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 judged, 1 an expectation did not hold or is not decided, 2 wrong input."""
    options = parser().parse_args(arguments)
    return exit_status("judge", lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Judges and prints; whether all that was expected held, as an exit status."""
    found = judgement(options)
    if options.json:
        from ablate.reporting.json_output import judgement_json

        print(judgement_json(found, control=options.control))  # noqa: T201
    else:
        from ablate.reporting.judged_runs import print_judged

        source = str(options.file) if options.mlflow is None else f"the MLflow experiment {options.mlflow}"
        print_judged(found, control=options.control, source=source)
    return 0 if all(one.held for one in found.verdicts if one.expected) else EXIT_NOT_HELD


if __name__ == "__main__":
    sys.exit(main())
