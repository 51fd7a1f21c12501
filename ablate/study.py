"""`python -m ablate.study NAME`: train what is missing, judge, report."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import AblateError, Problem, StudyError
from ablate.paths import default_data_root, default_runs, redact

if TYPE_CHECKING:
    from ablate.campaign.result import CampaignResult
    from ablate.design.plan import CampaignPlan

EXIT_WRONG_INPUT = 2
EXIT_INCOMPLETE = 3
EXIT_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate study`."""
    new = argparse.ArgumentParser(
        prog="ablate study",
        description="Answers an architecture question: trains what is missing, judges every arm, writes the report.",
        epilog="A second call goes on where the first one stopped. docs/studies.md lists what a study file can say.",
    )
    new.add_argument("study", nargs="?", metavar="NAME", help="a study's name, or the path of its .toml file")
    do = new.add_argument_group("instead of training").add_mutually_exclusive_group()
    do.add_argument("--list", action="store_true", help="the studies there are: question, arms, trials, minutes")
    do.add_argument("--plan", action="store_true", help="the trials, what they cost and what they can detect")
    do.add_argument("--check", action="store_true", help="verify records, queue and MLflow of a campaign at rest")
    do.add_argument(
        "--repair", action="store_true", help="check, and rebuild queue and MLflow entries from what is there"
    )

    what = new.add_argument_group("what is studied")
    what.add_argument(
        "--budget", default="quick", metavar="NAME", help="quick (default) or a [budget.NAME] of the file"
    )
    what.add_argument("--seeds", type=int, metavar="N", help="plan.seeds: paired seeds an arm")
    what.add_argument("--epochs", type=int, metavar="N", help="recipe.epochs")
    what.add_argument("--data", metavar="NAME", help="data.name: a data set, or the path of an .npz file")
    what.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="any other field: recipe.lr=0.01"
    )

    where = new.add_argument_group("where and how it runs")
    where.add_argument("--jobs", type=int, metavar="N", help="trials at a time (default: what trains fastest and fits)")
    where.add_argument("--threads", type=int, metavar="N", help="threads of a trial (default: likewise; mostly 1)")
    where.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)")
    where.add_argument(
        "--retries", type=int, default=2, metavar="N", help="further tries of a failed trial (%(default)s)"
    )
    where.add_argument(
        "--time-limit", type=float, metavar="SECONDS", help="an attempt that takes longer is ended, and tried again"
    )
    where.add_argument(
        "--data-root", type=Path, default=default_data_root(), metavar="DIR", help="where data sets lie (%(default)s)"
    )
    where.add_argument("--runs", type=Path, default=default_runs(), metavar="DIR", help="the runs folder (%(default)s)")
    where.add_argument(
        "--tracking-uri", metavar="URI", help="an MLflow store or server (default: sqlite in the runs folder)"
    )
    where.add_argument(
        "--queue", metavar="URL", help="a PostgreSQL database for the queue (default: sqlite in the runs folder)"
    )
    where.add_argument(
        "--no-report", action="store_true", help="judge only; `ablate report NAME` makes the report later"
    )
    many = new.add_argument_group("many machines (docs/cluster.md)")
    many.add_argument(
        "--executor", default="local", metavar="NAME", help="local: processes here (default); ray: a Ray cluster"
    )
    many.add_argument(
        "--ray-address", metavar="ADDRESS", help="HOST:PORT or auto: a running cluster; local: one made here (default)"
    )
    many.add_argument("--join", action="store_true", help="help whoever runs this study already, with --jobs trials")
    many.add_argument("--cpus-per-trial", type=float, metavar="N", help="what a trial takes of its node (default: 1)")
    many.add_argument("--gpus-per-trial", type=float, metavar="N", help="0.25: four trials share a GPU (default: 0)")
    return new


def overrides(options: argparse.Namespace) -> dict[str, object]:
    """The fields that the command line sets, by dotted key.

    Raises:
        StudyError: a --set that is not KEY=VALUE.
    """
    named = {"plan.seeds": options.seeds, "recipe.epochs": options.epochs, "data.name": options.data}
    found: dict[str, object] = {key: value for key, value in named.items() if value is not None}
    for text in options.sets:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise StudyError([Problem("--set", "", f"takes KEY=VALUE, such as recipe.lr=0.01; got {text!r}")])
        found[key.strip()] = _value(value.strip())
    return found


def _value(text: str) -> object:
    """A value as a study file would write it; text may go without its quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def make(options: argparse.Namespace) -> CampaignPlan:
    """The plan of the study that the command line names."""
    from ablate.design.plan import make_plan
    from ablate.design.read import find_study, load_study

    study = load_study(options.study, budget=options.budget, overrides=overrides(options))
    return make_plan(study, options.data_root, where=str(find_study(options.study)))


def train(options: argparse.Namespace) -> int:
    """The main job: trains what is missing, prints the verdicts, writes the report."""
    from ablate.campaign.choice import Wishes, choose
    from ablate.campaign.dispatch import run_campaign
    from ablate.campaign.joining import run_or_help
    from ablate.reporting.folders import publish
    from ablate.reporting.load import keep_in_mlflow
    from ablate.reporting.progress import progress
    from ablate.reporting.results import results_of
    from ablate.reporting.terminal import print_results
    from ablate.verdicts.power_analysis import out_of_reach

    plan = make(options)
    if shortfall := out_of_reach(plan):
        print(f"Note: {shortfall}")  # noqa: T201
    choice = choose(Wishes(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Wishes)}))
    check_limits(options)
    with progress(plan) as observer:

        def campaign() -> CampaignResult:
            return run_campaign(
                plan,
                runs=options.runs,
                tracking_uri=options.tracking_uri,
                data_root=options.data_root,
                jobs=options.jobs,
                threads=options.threads,
                device=choice.device,
                retries=options.retries,
                time_limit_s=options.time_limit,
                queue=options.queue,
                observer=observer,
                executor=choice.executor,
            )

        if options.join:
            name = plan.study.name
            result = run_or_help(campaign, runs=options.runs, study=name, executor=choice.helping, say=observer.said)
        else:
            result = campaign()
    results = results_of(result.plan, result.costs, result.records)
    print_results(results)
    waiting = options.runs / "trials" / plan.study.name
    if result.waiting:
        print(f"{result.waiting} records wait in {waiting} for MLflow; the next call hands them over")  # noqa: T201
    elif not options.no_report:
        page = publish(results, options.runs)
        keep_in_mlflow(results, page, runs=options.runs, tracking_uri=options.tracking_uri)
        print(f"Report:    {page}")  # noqa: T201
    print(f"MLflow UI: {ui_command(options)}")  # noqa: T201
    return EXIT_INCOMPLETE if result.missing else 0


def check_limits(options: argparse.Namespace) -> None:
    """Refuses numbers that would make every trial fail.

    Raises:
        AblateError: a negative number of retries, or no time at all.
    """
    if options.retries < 0:
        raise AblateError(f"--retries must be at least 0, got {options.retries}")
    if options.time_limit is not None and not options.time_limit > 0:
        raise AblateError(f"--time-limit must be above 0 seconds, got {options.time_limit:g}")


def ui_command(options: argparse.Namespace) -> str:
    """The line that opens the MLflow UI on the store that was written to."""
    where = "" if options.runs == Path("runs") else f" --runs {options.runs}"
    uri = f" --tracking-uri {options.tracking_uri}" if options.tracking_uri else ""
    return redact(f"python -m ablate.ui{where}{uri}")


def check(options: argparse.Namespace) -> int:
    """The doctor."""
    from ablate.campaign.doctor import check_campaign, repair_campaign
    from ablate.reporting.preview import print_checkup

    plan = make(options)
    doctor = repair_campaign if options.repair else check_campaign
    checkup = doctor(plan, runs=options.runs, tracking_uri=options.tracking_uri, queue=options.queue)
    print_checkup(checkup)
    return 0 if checkup.sound else EXIT_INCOMPLETE


def run(options: argparse.Namespace) -> int:
    """Does what the command line asks for."""
    from ablate.campaign.machine import choose_device, choose_jobs

    if options.list:
        from ablate.reporting.preview import print_studies

        print_studies(choose_jobs(options.jobs, "cpu", options.threads), options.budget, overrides(options))
        return 0
    if options.study is None:
        raise AblateError("name a study, or --list them: python -m ablate.study linear_bottleneck")
    if options.plan:
        from ablate.reporting.preview import print_plan

        jobs = choose_jobs(options.jobs, choose_device(options.device), options.threads)
        print_plan(make(options), jobs=jobs)
        return 0
    return check(options) if options.check or options.repair else train(options)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 wrong input, 3 trials are missing or failed, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(given)
    try:
        return run(options)
    except AblateError as error:
        print(f"ablate study: {error}", file=sys.stderr)  # noqa: T201
        if not error.resumable:
            return EXIT_WRONG_INPUT
    except KeyboardInterrupt:
        print("ablate study: interrupted", file=sys.stderr)  # noqa: T201
    print(f"To go on: {again(given)}", file=sys.stderr)  # noqa: T201
    return EXIT_INTERRUPTED


def again(arguments: list[str]) -> str:
    """The command line as it was given, without passwords."""
    import shlex

    return shlex.join(["python", "-m", "ablate.study", *map(redact, arguments)])


if __name__ == "__main__":
    sys.exit(main())
