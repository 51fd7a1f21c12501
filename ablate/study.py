"""`python -m ablate.study NAME`: train what is missing, judge, report."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import ablate
from ablate.command_line import add_fields, exit_status, overrides
from ablate.errors import AblateError
from ablate.paths import default_data_root, default_runs, redact

if TYPE_CHECKING:
    from ablate.campaign.options import CampaignResult, RunOptions
    from ablate.campaign.views import Conclusion
    from ablate.design.plan import CampaignPlan
    from ablate.reporting.results import Results

EXIT_UNEXPECTED = 1
EXIT_INCOMPLETE = 3
INSTEAD = ("--json", "--list", "--plan", "--check", "--repair")  # of a command line: without these it runs the study


def parser() -> argparse.ArgumentParser:
    """The command line of `ablate study`."""
    new = argparse.ArgumentParser(
        prog="ablate study",
        description="Answers an architecture question: trains what is missing, judges every arm, writes the report.",
        epilog="A second call resumes where the first one stopped. docs/studies.md lists every key of a study file.",
    )
    new.add_argument("--version", action="version", version=f"ablate {ablate.__version__}")
    new.add_argument("study", nargs="?", metavar="NAME", help="a study's name, or the path of its .toml file")
    _add_modes(new.add_argument_group("instead of training"))
    add_fields(new.add_argument_group("what is studied"))
    _add_run_options(new.add_argument_group("where and how it runs"))
    _add_cluster_options(new.add_argument_group("on a Ray cluster (docs/cluster.md)"))
    return new


def _add_modes(group: argparse._ArgumentGroup) -> None:
    do = group.add_mutually_exclusive_group()
    do.add_argument(
        "--list", action="store_true", help="list the studies, or those of a folder: question, arms, trials, minutes"
    )
    do.add_argument("--new", metavar="NAME", help="write a commented study file to start from, in ./studies or here")
    do.add_argument("--schema", action="store_true", help="print the JSON schema of a study file, for editors")
    do.add_argument("--plan", action="store_true", help="show the trials, what they cost and what they can detect")
    do.add_argument("--check", action="store_true", help="compare plan, records, MLflow and Optuna")
    do.add_argument("--repair", action="store_true", help="check, pull records from MLflow, and push to both views")
    group.add_argument(
        "--figure", type=Path, metavar="FILE", help="with --plan: draw the power of the seeds to a .svg or .png"
    )


def _add_run_options(where: argparse._ArgumentGroup) -> None:
    where.add_argument("--jobs", type=int, metavar="N", help="trials at a time (default: one for each processor)")
    where.add_argument("--threads", type=int, metavar="N", help="threads of a trial (default: 1)")
    where.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)")
    where.add_argument(
        "--retries", type=int, default=2, metavar="N", help="further attempts at a failed trial (%(default)s)"
    )
    where.add_argument(
        "--time-limit", type=float, metavar="SECONDS", dest="time_limit_s", help="stop and retry an attempt after this"
    )
    where.add_argument(
        "--data-root", type=Path, default=default_data_root(), metavar="DIR", help="folder of data sets (%(default)s)"
    )
    where.add_argument("--runs", type=Path, default=default_runs(), metavar="DIR", help="the runs folder (%(default)s)")
    where.add_argument(
        "--tracking-uri", metavar="URI", help="an MLflow store or server (default: sqlite in the runs folder)"
    )
    where.add_argument("--optuna-storage", metavar="URL", help="an Optuna storage (default: sqlite in the runs folder)")
    where.add_argument(
        "--forget",
        action="append",
        default=[],
        metavar="ARM[:SEED]",
        help="set these records aside and train their trials again",
    )
    where.add_argument("--no-report", action="store_true", help="judge only; `ablate report NAME` writes the report")
    where.add_argument("--json", action="store_true", help="print one JSON document (docs/json.md); text to stderr")
    where.add_argument(
        "--expect", choices=("held",), metavar="held", help="exit with 1 unless every expectation of the study held"
    )
    where.add_argument("--quiet", action="store_true", help="print the verdicts and nothing while it trains")


def _add_cluster_options(many: argparse._ArgumentGroup) -> None:
    many.add_argument(
        "--executor", default="local", metavar="NAME", help="local: processes here (default); ray: a Ray cluster"
    )
    many.add_argument(
        "--ray-address", metavar="ADDRESS", help="HOST:PORT or auto: a running cluster; local: one made here (default)"
    )
    many.add_argument("--cpus-per-trial", type=float, metavar="N", help="processors of a trial (default: 1)")
    many.add_argument("--gpus-per-trial", type=float, metavar="N", help="0.25: four trials share a GPU (default: 0)")


def run_options(options: argparse.Namespace) -> RunOptions:
    """How it runs, as the command line says.

    Raises:
        AblateError: an option holds a value that is not allowed.
    """
    from ablate.campaign.options import RunOptions

    return RunOptions(**{field.name: getattr(options, field.name) for field in dataclasses.fields(RunOptions)})


def make(options: argparse.Namespace) -> CampaignPlan:
    """The plan of the study that the command line names."""
    from ablate.campaign.planning import planned
    from ablate.design.plan import make_plan
    from ablate.design.read import find_study, load_study

    where = str(find_study(options.study))
    study = load_study(options.study, budget=options.budget, overrides=overrides(options))
    if options.plan:  # which runs no code of the user's own
        return make_plan(study, options.data_root, where=where)
    return planned(study, options.data_root, print, where=where)


def train(options: argparse.Namespace) -> int:
    """The main job: trains what is missing, prints the verdicts, writes the report."""
    from ablate.campaign.options import Silent
    from ablate.campaign.run import run_campaign
    from ablate.reporting.load import results_from
    from ablate.reporting.progress import progress
    from ablate.verdicts.power_analysis import out_of_reach

    how, plan = run_options(options), make(options)
    if shortfall := out_of_reach(plan):
        print(f"Note: {shortfall}")  # noqa: T201
    if options.forget:
        _forget(plan, how, options.forget)

    shown: list[Results] = []
    with contextlib.ExitStack() as bars:
        observer = Silent() if options.quiet else bars.enter_context(progress(plan))

        def conclude(result: CampaignResult) -> Conclusion:
            bars.close()
            shown.append(results_from(result, how.runs))
            return _conclude(shown[0], how, complete=not result.missing, report=not options.no_report)

        result = run_campaign(plan, how, observer=observer, conclude=conclude)
    for view, left in result.behind.items():
        print(f"{view} lacks {left} records; the next call pushes them, or --repair does")  # noqa: T201
    print(f"MLflow UI: {ui_command(options)}")  # noqa: T201
    if options.json:
        print_json(shown[0], options.out, [options.command] if result.missing else [])
    if result.missing:
        return EXIT_INCOMPLETE
    return EXIT_UNEXPECTED if options.expect and not _held(shown[0]) else 0


def _held(results: Results) -> bool:
    """Whether every expectation of the study came true."""
    judged = results.judgement
    verdicts = all(one.held for one in judged.verdicts if one.expected is not None)
    return verdicts and all(one.held for one in judged.effects if one.expected is not None)


def _forget(plan: CampaignPlan, how: RunOptions, which: list[str]) -> None:
    from ablate.campaign.check import forget

    for trial in forget(plan, how, which):
        print(f"forgotten: {trial.arm}, seed {trial.seed}")  # noqa: T201


def print_json(results: Results, out: TextIO, following: Sequence[str]) -> None:
    """The judgement as one JSON document, with the commands to run next."""
    from ablate.design.plan import CONTROL
    from ablate.reporting.json_output import judgement_json

    document = judgement_json(results.judgement, control=CONTROL, costs=results.costs, following=following)
    print(document, file=out)


def _conclude(results: Results, how: RunOptions, *, complete: bool, report: bool) -> Conclusion:
    """Prints the verdicts, writes the report where something in it changed, and says what the views show of it."""
    from ablate.reporting.conclusion import conclusion_of
    from ablate.reporting.folders import publish
    from ablate.reporting.terminal import print_results

    print_results(results)
    page = publish(results, how.runs) if report else None
    if page is not None:
        print(f"Report:    {page}")  # noqa: T201
    return conclusion_of(results, complete=complete, report=page and page.parent)


def ui_command(options: argparse.Namespace) -> str:
    """The line that opens the MLflow UI on the store that was written to."""
    where = "" if options.runs == Path("runs") else f" --runs {options.runs}"
    uri = f" --tracking-uri {options.tracking_uri}" if options.tracking_uri else ""
    return redact(f"python -m ablate.ui{where}{uri}")


def check(options: argparse.Namespace) -> int:
    """Compares plan, records and views, and repairs what can be repaired."""
    from ablate.campaign.check import check_campaign, repair_campaign
    from ablate.reporting.preview import print_check

    plan, how = make(options), run_options(options)
    found = repair_campaign(plan, how, print) if options.repair else check_campaign(plan, how)
    if options.json:
        from ablate.reporting.json_parts import written
        from ablate.reporting.json_plans import CheckJson

        print(written(CheckJson.of(found, plan, command=options.command)), file=options.out)
    else:
        print_check(found, plan.study.name)
    return 0 if found.sound else EXIT_INCOMPLETE


def show_list(options: argparse.Namespace) -> int:
    """Lists the studies."""
    from ablate.campaign.done import asked_of, done_of
    from ablate.campaign.resources import expected_jobs
    from ablate.reporting.listing import listing

    folder = Path(options.study) if options.study else None
    if folder and not folder.is_dir():
        raise AblateError(f"--list takes a folder of study files; {options.study!r} is none. --plan shows one study")
    how = run_options(options)
    tally = asked_of(how.runs)
    found = listing(
        expected_jobs(how),
        options.budget,
        overrides(options),
        lambda study: done_of(study, how),
        tally.sentence if tally else "",
        folder,
    )
    if options.json:
        from ablate.reporting.json_parts import written
        from ablate.reporting.json_plans import ListJson

        print(written(ListJson.of(found)), file=options.out)
    else:
        from ablate.reporting.preview import print_studies

        print_studies(found, options.budget)
    return 0


def show_plan(options: argparse.Namespace) -> int:
    """Shows what a study would run."""
    from ablate.campaign.done import progress_of, seen_of
    from ablate.campaign.prepare import known_costs
    from ablate.campaign.resources import expected_jobs

    how, made = run_options(options), make(options)
    plan, done, rates = progress_of(made, how.runs)
    costs, _ = known_costs(plan, how.cache / "costs", {})
    jobs, seen = expected_jobs(how), seen_of(made, how.runs) if done else ()
    if options.json:
        from ablate.reporting.json_parts import written
        from ablate.reporting.json_plans import PlanJson

        document = PlanJson.of(
            plan, costs, seen=seen, jobs=jobs, done=done, images_per_s=rates, command=options.command
        )
        print(written(document), file=options.out)
    else:
        from ablate.reporting.preview import print_plan

        print_plan(plan, costs, jobs=jobs, done=done, images_per_s=rates, seen=seen)
    if options.figure:
        from ablate.reporting.power_curve import write

        write(plan, options.figure, seen)
        print(f"Figure: {options.figure}")  # noqa: T201
    return 0


def start(name: str) -> int:
    """Writes a study file to start from, and says what to do next."""
    from ablate.design.template import write_template

    file = write_template(name)
    call = file.stem if file.parent.name else file
    print(f"{file}: a study to start from. Next: python -m ablate.study {call} --plan")  # noqa: T201
    return 0


def run(options: argparse.Namespace) -> int:
    """Does what the command line asks for."""
    if options.figure and not options.plan:
        raise AblateError("--figure FILE goes with --plan: it draws the power of the planned seeds")
    if options.schema:
        from ablate.design.schema import study_schema

        sys.stdout.write(json.dumps(study_schema(), indent=2) + "\n")
        return 0
    if options.new is not None:
        return start(options.new)
    if options.list:
        return show_list(options)
    if options.study is None:
        raise AblateError("name a study, or --list them: python -m ablate.study linear_bottleneck")
    if options.plan:
        return show_plan(options)
    return check(options) if options.check or options.repair else train(options)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 not as expected, 2 wrong input, 3 trials missing or failed, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(given)
    options.command = again([one for one in given if one not in INSTEAD])
    return exit_status("study", lambda: _run(options), resume=again(given))


def _run(options: argparse.Namespace) -> int:
    options.out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        return run(options)


def again(arguments: list[str]) -> str:
    """The command line as it was given, without passwords."""
    import shlex

    return shlex.join(["python", "-m", "ablate.study", *map(redact, arguments)])


if __name__ == "__main__":
    sys.exit(main())
