"""What is seen before anything trains: the studies there are, and the plan of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.errors import StudyError
from ablate.reporting import words

if TYPE_CHECKING:
    from ablate.campaign.check import Check
    from ablate.design.plan import CampaignPlan

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


def print_studies(jobs: int, budget: str, overrides: Mapping[str, object]) -> None:
    """Every study that a name reaches, with a line for each that cannot be read, or not with these fields."""
    from ablate.design.forecast import rough_forecast
    from ablate.design.read import list_studies, load_study

    table = _table("arms", "trials", "minutes", text=("study", "question"))
    broken: list[str] = []
    for path in list_studies():
        try:
            study = load_study(path, budget=budget, overrides=overrides)
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
    from ablate.campaign.resources import disk_bytes
    from ablate.design.forecast import forecast
    from ablate.verdicts.power_analysis import foresee

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
        *([("tuning", _tuning(plan, expected.tuning))] if study.tuned else []),
        ("trials", _trials(plan)),
        ("time", f"about {_minutes(expected.minutes)} for {jobs} trials at a time (estimated from FLOPs)"),
        ("disk", f"about {disk_bytes(plan, expected.trials, jobs) / 1e6:,.0f} MB"),
        ("seeds", "\n".join(foresee(plan).sentences)),
        ("campaign", study.digest),
    ]
    grid = Table.grid(padding=(0, 2))
    for name, value in lines:
        grid.add_row(Text(name, "bold"), Text(value))
    console.print(grid)


def _tuning(plan: CampaignPlan, trials: int) -> str:
    """``12 trials first: 2 arms × 6 settings (quasi_random) of lr 0.001 to 0.03 (log)``."""
    from ablate.design.plan import tuned_arms

    tuning, arms = plan.study.tuning, len(tuned_arms(plan.arms))
    seeds = f" × {tuning.seeds} seeds" if tuning.seeds > 1 else ""
    space = ", ".join(
        f"{name} {span.low:g} to {span.high:g}{' (log)' * span.log}" for name, span in tuning.space.items()
    )
    return f"{trials} trials first: {arms} arms × {tuning.trials} settings{seeds} ({tuning.sampler}) of {space}"


def _trials(plan: CampaignPlan) -> str:
    """``16: 2 arms × 8 seeds``; the range of seeds where they are added until all is settled."""
    seeds, arms = plan.study.plan, len(plan.arms)
    if seeds.until == "settled":
        return f"{arms * seeds.seeds} to {len(plan.trials)}: {arms} arms × {seeds.seeds} to {seeds.max_seeds} seeds"
    return f"{len(plan.trials)}: {arms} arms × {seeds.seeds} seeds"


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
            Text(words.change(arm, plan.study)),
            f"{cost.params:,}",
            f"{cost.macs:,}",
            f"{cost.macs / base:.2f}",
            f"{cost.train_peak_bytes / 1e6:.0f}",
            str(len(plan.arm_trials(arm.name))),
        )
    return table


def print_check(check: Check, study: str) -> None:
    """What a check found, a line a fault with its remedy, and what was repaired."""
    console = screen()
    for done in check.repaired:
        console.print(Text(f"repaired: {words.plain(done)}"))
    if check.never_run:
        console.print(Text(f"{study} was never run here: 0 of {check.trials} trials have a record"))
        return
    for fault in check.faults:
        console.print(Text(f"{fault.where}: {words.plain(fault.message)} (remedy: {fault.remedy})", "yellow"))
    console.print(Text(f"{check.records} of {check.trials} planned trials have a sound record"))
    console.print(Text("nothing is wrong", "green") if check.sound else Text("something is wrong", "bold red"))
