"""What is seen before anything trains: the studies there are, and the plan of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.errors import StudyError

if TYPE_CHECKING:
    from ablate.campaign.doctor import Checkup
    from ablate.design.plan import Arm, CampaignPlan
    from ablate.design.study import Study

PLAIN_WIDTH = 100


def screen() -> Console:
    """Standard output; a fixed width where it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def _table(*numeric: str, text: tuple[str, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for name in text:
        table.add_column(name, overflow="fold")
    for name in numeric:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def print_studies(jobs: int) -> None:
    """Every study that a name reaches, with a line for each file that cannot be read."""
    from ablate.design.forecast import rough_forecast
    from ablate.design.read import list_studies, load_study

    table = _table("arms", "trials", "minutes", text=("study", "question"))
    broken: list[str] = []
    for path in list_studies():
        try:
            study = load_study(path)
        except StudyError as error:
            broken.append(str(error))
            continue
        expected = rough_forecast(study, jobs=jobs)
        sizes = (str(expected.arms), str(expected.trials), f"{expected.minutes:.0f}") if expected else ("–", "–", "–")
        table.add_row(Text(study.name, "bold"), Text(study.question), *sizes)
    console = screen()
    console.print(table)
    console.print(Text(f"minutes: an estimate for {jobs} trials at a time on this machine's processors", "dim"))
    for message in broken:
        console.print(Text(message, "yellow"))


def print_plan(plan: CampaignPlan, *, jobs: int) -> None:
    """The trials, each arm's cost, what the seeds can detect, time and disk. Nothing is trained."""
    from ablate.campaign.disk import disk_bytes
    from ablate.design.forecast import forecast

    study, console = plan.study, screen()
    expected = forecast(plan, jobs=jobs)
    console.print(Text(study.title or study.name, "bold"))
    if study.question:
        console.print(Text(study.question))
    console.print()
    console.print(_arms(plan))
    console.print()
    recipe, data = study.recipe, plan.data
    size = f"{data.channels}×{data.height}×{data.width}"
    lines = [
        ("data", f"{data.name}: {data.num_train:,} training and {data.num_test:,} test images, {size}"),
        ("recipe", f"{recipe.epochs} epochs, batch {recipe.batch_size}, {recipe.optimizer}, lr {recipe.lr:g}"),
        ("trials", f"{len(plan.trials)}: {len(plan.arms)} arms × {study.plan.seeds} seeds"),
        ("time", f"about {_minutes(expected.minutes)} for {jobs} trials at a time (estimated from FLOPs)"),
        ("disk", f"about {disk_bytes(plan, len(plan.trials), jobs) / 1e6:,.0f} MB"),
        ("seeds", power_line(study, contrasts=num_contrasts(plan))),
        ("campaign", study.digest),
    ]
    grid = Table.grid(padding=(0, 2))
    for name, value in lines:
        grid.add_row(Text(name, "bold"), Text(value))
    console.print(grid)


def _minutes(minutes: float) -> str:
    return f"{max(1, minutes):.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _arms(plan: CampaignPlan) -> Table:
    from ablate.measure.cost import estimate

    data, recipe = plan.data, plan.study.recipe
    table = _table("params", "MACs", "×", "train MB", "seeds", text=("arm", "change"))
    base = None
    for arm in plan.arms:
        shape = (data.channels, data.height, data.width)
        cost = estimate(arm.spec, shape, batch_size=recipe.batch_size, optimizer=recipe.optimizer)
        base = base or cost.macs
        table.add_row(
            Text(arm.name, "bold"),
            Text(change(arm)),
            f"{cost.params:,}",
            f"{cost.macs:,}",
            f"{cost.macs / base:.2f}",
            f"{cost.train_peak_bytes / 1e6:.0f}",
            str(len(plan.arm_trials(arm.name))),
        )
    return table


def change(arm: Arm) -> str:
    """What the arm changes, in a line; the width that was solved for stands for itself."""
    if not arm.changes:
        return "–"
    if arm.match is None or arm.match.identity:
        return ", ".join(map(str, arm.changes))
    moved = [str(change) for change in arm.changes if change.field != "width_mult"]
    return ", ".join([*moved, f"width × {arm.match.width_mult:g} ({arm.match.quantity} {arm.match.remainder:+.1%})"])


def num_contrasts(plan: CampaignPlan) -> int:
    """How many arms are compared with the control: the family that Holm's correction is for."""
    from ablate.design.plan import NOISE_FLOOR

    return sum(arm.name != NOISE_FLOOR for arm in plan.arms[1:])


def power_line(study: Study, *, contrasts: int) -> str:
    """What the planned seeds can detect, from the stated prior of the noise; or that they can decide nothing."""
    from ablate.verdicts.power import PRIOR_SD, PRIOR_SOURCE, detectable, reachable, seeds_needed, seeds_to_reach

    n, alpha, margin = study.plan.seeds, study.decision.alpha, study.decision.margin
    if not reachable(n, alpha, contrasts):
        return (
            f"{n} seeds can decide nothing: with {contrasts} comparison{'s' * (contrasts > 1)} the exact test needs at "
            f"least {seeds_to_reach(alpha, contrasts)}"
        )
    if not study.decision.metric.endswith("accuracy"):
        effect = detectable(n, 1.0, alpha=alpha, num_contrasts=contrasts)
        return f"{n} seeds find a difference of {effect:.2f} standard deviations with 80 % power after Holm"
    smallest = detectable(n, PRIOR_SD, alpha=alpha, num_contrasts=contrasts)
    assert smallest is not None
    needed = seeds_needed(margin, PRIOR_SD, alpha=alpha, num_contrasts=contrasts)
    settle = f"; {needed} would find the margin of {100 * margin:g}" if needed and needed > n else ""
    return (
        f"{n} seeds find a difference of {100 * smallest:.2f} points with 80 % power after Holm{settle} "
        f"(if paired differences vary by {PRIOR_SOURCE})"
    )


def print_checkup(checkup: Checkup) -> None:
    """What the doctor saw, a line a finding with its remedy, and what was repaired."""
    console = screen()
    for finding in checkup.repaired:
        console.print(Text(f"repaired ({finding.what}): {finding.message}"))
    for finding in checkup.findings:
        console.print(Text(f"{finding.what}: {finding.message} {finding.remedy}", "yellow"))
    console.print(Text(f"{checkup.records} of {checkup.trials} planned trials have a sound record"))
    console.print(Text("nothing is wrong", "green") if checkup.sound else Text("something is wrong", "bold red"))
