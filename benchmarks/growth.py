"""Claim: a campaign's ten-thousandth trial costs the dispatcher what its first did, and a report over all comes soon.

Goals: dispatcher's time a trial with 10,000 trials in the stores / with 100: at most 1.3; under 1 GB in the dispatcher;
a report over 10,000 trials of 20 epochs in under 60 s and 2 GB.

Measured: the dispatcher with its queue, outbox and MLflow store, and an executor that trains nothing, on 100 trials in
new stores, and on the last 100 of 10,000, the others put into the same stores beforehand (filling.py). Both campaigns
have 20 arms. The time runs from the first trial handed out to the return of the call, when MLflow has every record.
Reports are those of the two campaigns, rendered by `render_report`; memory is the highest of the dispatcher or of the
report and its kernel together. The long form, every trial in a process of its own, is dispatcher.py.

    python benchmarks/growth.py [--quick]
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import table
from interleaved import call_apart
from table import Row

if TYPE_CHECKING:
    from ablate.campaign.preparation import Settings
    from ablate.design.plan import CampaignPlan

PART = "growth"
BUDGET_S = 150
FEW, MANY, ARMS, EPOCHS = 100, 10_000, 20, 20
RATIO_GOAL, REPORT_GOAL_S = 1.3, 60.0
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


def _no_costs(plan: CampaignPlan, settings: Settings, say: object) -> dict[str, dict[str, float | int | None]]:
    del settings, say
    from ablate.measure.cost import estimate

    shape = (plan.data.channels, plan.data.height, plan.data.width)
    return {arm.name: dataclasses.asdict(estimate(arm.spec, shape)) for arm in plan.arms}


def dispatch(name: str, trials: int, runs: Path, stop_after: int | None) -> tuple[Cost, float]:
    """Runs what is missing of a campaign of ``trials``; cost a trial, and the seconds before the first."""
    from filling import NullExecutor

    from ablate.campaign.dispatch import run_campaign
    from ablate.campaign.observer import Silent
    from ablate.campaign.result import CampaignInterrupted

    class Watch(Silent):
        def began(self, plan: CampaignPlan, todo: int) -> None:
            del plan
            self.at, self.todo = time.perf_counter(), todo

    watch = Watch()
    plan = plan_of(name, trials)
    called = time.perf_counter()
    try:
        run_campaign(
            plan,
            runs=runs,
            tracking_uri=f"sqlite:///{runs / 'mlflow.db'}",
            observer=watch,
            executor=NullExecutor(EPOCHS, stop_after),
            prepare=_no_costs,
        )
    except CampaignInterrupted:
        if stop_after is None:
            raise
    done = watch.todo if stop_after is None else stop_after
    return Cost((time.perf_counter() - watch.at) / done, _peak()), watch.at - called


def fill_store(name: str, trials: int, runs: Path, leave: int) -> None:
    """Puts all but the last ``leave`` trials into the stores."""
    from filling import fill

    fill(plan_of(name, trials), runs, EPOCHS, leave)


def report(name: str, runs: Path) -> Cost:
    """Renders the campaign's report; the memory of this process and its kernel together."""
    from ablate.reporting.render import render_report

    began = time.perf_counter()
    render_report(name, runs=runs, tracking_uri=f"sqlite:///{runs / 'mlflow.db'}", log=False)
    kernel = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return Cost(time.perf_counter() - began, _peak() + kernel)


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
        few_cost, few_before = call_apart("growth:dispatch", name="few", trials=FEW, runs=runs, stop_after=None)
        few_report = call_apart("growth:report", name="few", runs=runs)
        call_apart("growth:dispatch", name="many", trials=many, runs=runs, stop_after=2 * ARMS)  # the patterns
        table.note("    filling the stores")
        call_apart("growth:fill_store", name="many", trials=many, runs=runs, leave=FEW)
        many_cost, many_before = call_apart("growth:dispatch", name="many", trials=many, runs=runs, stop_after=None)
        table.note("    the report")
        many_report = call_apart("growth:report", name="many", runs=runs)
    ratio = many_cost.seconds / few_cost.seconds
    reports = many_report.seconds / few_report.seconds
    table.write_profile(
        PART,
        f"Before its first trial the dispatcher reads what is there: with {many:,} trials it takes "
        f"{many_before / few_before:.1f} times as long as with none "
        f"({many_before / many_cost.seconds:.0f} trials' worth). Its memory is "
        f"{many_cost.peak_bytes / GB:.2f} GB against {few_cost.peak_bytes / GB:.2f} GB for {FEW}. The report over "
        f"{many:,} trials takes {reports:.1f} times as long as over {FEW}, and {many_report.peak_bytes / GB:.2f} GB "
        f"against {few_report.peak_bytes / GB:.2f} GB.",
    )
    trials = f"{many:,} trials"
    share = many_report.seconds / REPORT_GOAL_S
    memory = many_cost.peak_bytes / GB
    report_memory = many_report.peak_bytes / GB
    return [
        _row(f"dispatcher's time a trial: {trials} / {FEW}", ratio, f"{ratio:.2f}", RATIO_GOAL),
        _row(f"dispatcher's memory at {trials}, GB", memory, f"{memory:.2f}", 1.0),
        _row(
            f"report over {trials} of {EPOCHS} epochs: time / goal of {REPORT_GOAL_S:g} s", share, f"{share:.2f}", 1.0
        ),
        _row(f"report over {trials}: memory, GB", report_memory, f"{report_memory:.2f}", 2.0),
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
