"""Claim: a campaign's ten-thousandth trial costs the dispatcher what its first did, and a report over all comes soon.

Goals: dispatcher's time a trial with 10,000 trials in the stores / with 100: at most 1.1; what a call
does once in 3 s; under 0.5 GB in the dispatcher; a report over 10,000 trials of 20 epochs in under 20 s and 1 GB.

Measured: the dispatcher with its records and both views, and an executor that trains nothing, early in a campaign and
on the last trials of 10,000, the others put into the stores beforehand (filling.py). All campaigns have 20 arms. Its
time is processor time, all threads, until both views have every record; a call for 300 trials less a call for 150, so
that what a call does once is in neither. That share is in the profile.
Reports are those of the two campaigns, made by `publish`; memory is the highest of the dispatcher or of the
report and its kernel together.

    python benchmarks/growth.py [--quick]
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import table
from interleaved import call_apart
from table import Row

if TYPE_CHECKING:
    from ablate.design.plan import CampaignPlan

PART = "growth"
BUDGET_S = 210
FEW, MANY, ARMS, EPOCHS = 100, 10_000, 20, 20
STEP = 150
EARLY = 500  # START + 3 * STEP: whole seeds of 20 arms
START = 50  # trials run in the ordinary way before any comparison: two patterns of each arm and more
RATIO_GOAL, START_GOAL_S, REPORT_GOAL_S = 1.1, 3.0, 20.0
GB = 1e9


@dataclass(frozen=True)
class Cost:
    """Seconds, and the highest resident memory in bytes."""

    seconds: float
    peak_bytes: int


def plan_of(name: str, trials: int) -> CampaignPlan:
    """A campaign of 20 arms."""
    from ablate.design.plan import make_plan
    from ablate.design.study import Plan, Recipe, Study

    arms = {f"t{number}": {"expand_ratio": 6 + number / 4} for number in range(1, ARMS)}
    return make_plan(Study(name=name, arms=arms, recipe=Recipe(epochs=EPOCHS), plan=Plan(seeds=trials // ARMS)))


def _no_costs(plan: CampaignPlan, *rest: object) -> dict[str, dict[str, float | int | None]]:
    del rest
    from ablate.measure.cost import estimate

    shape = (plan.data.channels, plan.data.height, plan.data.width)
    return {arm.name: dataclasses.asdict(estimate(arm.spec, shape)) for arm in plan.arms}


def dispatch(name: str, trials: int, runs: Path, stop_after: int | None) -> Cost:
    """Runs what is missing of a campaign of ``trials``, or ``stop_after`` of it; processor time of the whole call."""
    from filling import NullExecutor

    from ablate.campaign.check import repair_campaign
    from ablate.campaign.options import CampaignInterrupted, RunOptions
    from ablate.campaign.run import run_campaign

    plan = plan_of(name, trials)
    executor = NullExecutor(EPOCHS, stop_after)
    began = time.process_time()
    try:
        run_campaign(plan, RunOptions(runs=runs), executor=executor, prepare=_no_costs)
    except CampaignInterrupted:
        if stop_after is None:
            raise
        repair_campaign(plan, RunOptions(runs=runs), print)  # an interrupted call leaves its views
    return Cost(time.process_time() - began, _peak())


def dispatcher(name: str, trials: int, runs: Path) -> tuple[float, float, int]:
    """The last trials of a campaign: seconds a trial, seconds a call does once, and the peak in bytes."""
    call = {"name": name, "trials": trials, "runs": runs}
    short: Cost = call_apart("growth:dispatch", **call, stop_after=STEP)
    long: Cost = call_apart("growth:dispatch", **call, stop_after=None)  # the 2 * STEP that are left
    each = (long.seconds - short.seconds) / STEP
    return each, short.seconds - STEP * each, long.peak_bytes


def fill_store(name: str, trials: int, runs: Path, leave: int) -> None:
    """Puts all but the last ``leave`` trials into the stores."""
    from filling import fill

    fill(plan_of(name, trials), runs, EPOCHS, leave)


def report(name: str, runs: Path) -> Cost:
    """Reads the campaign back and makes its report."""
    from ablate.reporting.folders import publish
    from ablate.reporting.load import load_results

    began = time.perf_counter()
    publish(load_results(name, runs=runs), runs)
    return Cost(time.perf_counter() - began, _peak())


def _peak() -> int:
    """The highest resident memory of this process, without what it was forked from."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def measure(*, quick: bool = False) -> list[Row]:
    """The rows of this part; ``quick`` means 1,000 trials for 10,000."""
    many = MANY // 10 if quick else MANY
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        runs = Path(name) / "runs"
        for campaign, trials in (("few", FEW), ("begun", EARLY), ("many", many)):
            stop_after = None if campaign == "few" else START
            call_apart("growth:dispatch", name=campaign, trials=trials, runs=runs, stop_after=stop_after)
        few_report: Cost = call_apart("growth:report", name="few", runs=runs)
        early, early_once, early_peak = dispatcher("begun", EARLY, runs)
        table.note("    filling the stores")
        call_apart("growth:fill_store", name="many", trials=many, runs=runs, leave=3 * STEP)
        late, late_once, late_peak = dispatcher("many", many, runs)
        table.note("    the report")
        many_report: Cost = call_apart("growth:report", name="many", runs=runs)
    ratio = late / early
    reports = many_report.seconds / few_report.seconds
    table.write_profile(
        PART,
        f"What a call does once (reading what is there, opening the stores) takes {late_once / early_once:.1f} times "
        f"as long with {many:,} trials as at the start of a campaign, as much as {late_once / late:.0f} trials. Its "
        f"memory is {late_peak / GB:.2f} GB against {early_peak / GB:.2f} GB. The report over "
        f"{many:,} trials takes {reports:.1f} times as long as over {FEW}, and {many_report.peak_bytes / GB:.2f} GB "
        f"against {few_report.peak_bytes / GB:.2f} GB.",
    )
    trials = f"{many:,} trials"
    share = many_report.seconds / REPORT_GOAL_S
    once = late_once / START_GOAL_S
    memory = late_peak / GB
    report_memory = many_report.peak_bytes / GB
    return [
        _row(f"dispatcher's time a trial: with {trials} / at the start", ratio, f"{ratio:.2f}", RATIO_GOAL),
        _row(f"what a call does once, {trials}: processor time / goal of {START_GOAL_S:g} s", once, f"{once:.2f}", 1.0),
        _row(f"dispatcher's memory at {trials}, GB", memory, f"{memory:.2f}", 0.5),
        _row(
            f"report over {trials} of {EPOCHS} epochs: time / goal of {REPORT_GOAL_S:g} s", share, f"{share:.2f}", 1.0
        ),
        _row(f"report over {trials}: memory, GB", report_memory, f"{report_memory:.2f}", 1.0),
        Row(part=PART, claim=f"report over {trials} / over {FEW}, time", value=reports, shown=f"{reports:.1f}"),
    ]


def _row(claim: str, value: float, shown: str, goal: float) -> Row:
    return Row(part=PART, claim=claim, value=value, shown=shown, relation="<=", goal=goal)


def main() -> None:
    parser = argparse.ArgumentParser(description="Dispatcher and report from 100 to 10,000 trials.")
    parser.add_argument("--quick", action="store_true", help="1,000 trials for 10,000")
    print(table.as_text(measure(quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
