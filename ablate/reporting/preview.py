"""What is seen before anything trains: the studies there are, and the plan of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from ablate.design.own_block import OFFERED, is_ours, residual_of, unread_by_block
from ablate.design.own_training import OwnTraining
from ablate.design.search import confirmed_names
from ablate.reporting import words
from ablate.reporting.console import screen, text
from ablate.reporting.listing import QUICK, Listing

if TYPE_CHECKING:
    from ablate.campaign.check import Check
    from ablate.campaign.options import ArmCosts
    from ablate.design.decision import Decision
    from ablate.design.forecast import Forecast
    from ablate.design.plan import CampaignPlan
    from ablate.design.sealed import SealedPlan
    from ablate.verdicts.verdict import Contrast

PLAIN_WIDTH = 100
FEW_ARMS = 3


def _table(*numeric: str, words_in: tuple[str, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for name in words_in:
        table.add_column(name, overflow="fold")
    for name in numeric:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def print_studies(found: Listing, budget: str) -> None:
    """A line a study and budget; then a line for each study that cannot be read with these fields.

    Args:
        found: the studies.
        budget: that was asked for; where it is ``quick``, all are listed.
    """
    table = _table("arms", "trials", "done", "time", words_in=("study", "budget", "question"))
    for row in found.rows:
        study, expected = row.study, row.expected
        first = study.budget in (QUICK, budget)
        told = (text(study.name, "bold"), text(study.budget), text(study.question))
        sizes = ("–", "–") if expected is None else (f"{expected.arms:,}", f"{expected.trials:,}")
        minutes = "–" if expected is None else _minutes(expected.minutes)
        table.add_row(*(told if first else ("", text(study.budget), "")), *sizes, f"{row.done:,}", minutes)
    console = screen(PLAIN_WIDTH)
    console.print(table)
    console.print(text(f"time: an estimate for {words.count(found.jobs, 'trial')} at a time on this machine", "dim"))
    if found.asked:
        console.print(text(found.asked))
    for message in found.problems:
        console.print(text(message, "yellow"))


def print_plan(
    plan: CampaignPlan,
    costs: ArmCosts,
    *,
    jobs: int,
    done: int = 0,
    images_per_s: Mapping[str, float] | None = None,
    seen: Sequence[Contrast] = (),
) -> None:
    """The trials, each arm's cost, what the seeds can detect, time and disk. Nothing is trained.

    Args:
        plan: of the campaign.
        costs: of its arms; what is missing is shown as unknown.
        jobs: trials at a time.
        done: how many of its trials have a record already.
        images_per_s: training images a second of one trial, for the arms that records exist of.
        seen: the contrasts of its records, whose spread replaces the prior one.
    """
    from ablate.campaign.resources import disk_bytes
    from ablate.design.forecast import forecast
    from ablate.verdicts.power_analysis import analyse_power

    study, data, console = plan.study, plan.data, screen(PLAIN_WIDTH)
    expected = forecast(plan, jobs=jobs, images_per_s=images_per_s)
    on = "" if study.own_training else f", data {data.name}"
    console.print(text(f"{study.title or study.name} (budget {study.budget}{on})", "bold"))
    if study.question:
        console.print(text(study.question))
    console.print()
    console.print(_own_arms(plan) if study.own_training else _arms(plan, costs))
    console.print()
    lines = [
        *_trained(plan),
        *([("tuning", _tuning(plan, expected.tuning))] if study.tuned else []),
        *([("search", words.search_text(study))] if study.searched else []),
        *([("co-primary", _co_primary(study.decision))] if study.decision.co_primary else []),
        ("trials", f"{_trials(plan)}; {_done(done, expected.trials)}"),
        *([("stability", _levels(plan))] if plan.levels else []),
        ("time", _time(expected, jobs, done)),
        ("disk", f"about {disk_bytes(plan, expected.trials, jobs) / 1e6:,.0f} MB"),
        ("seeds", "\n".join(analyse_power(plan, seen).sentences)),
        *([("costs", "those of an imported net are counted when the study is run")] if _uncounted(plan, costs) else []),
        *([("blocks", told)] if (told := own_blocks(plan)) else []),
        *([("maps", f"warning: {small}")] if (small := small_maps(plan)) else []),
        ("campaign", study.digest),
    ]
    grid = Table.grid(padding=(0, 2))
    for name, value in lines:
        grid.add_row(text(name, "bold"), text(value))
    console.print(grid)


def _co_primary(decision: Decision) -> str:
    return "; ".join(f"{name}, margin {one.margin:g}" for name, one in decision.co_primary.items())


def _trained(plan: CampaignPlan) -> list[tuple[str, str]]:
    """Data and recipe; with the user's own training code: what trains, and which metric decides."""
    study, data, recipe = plan.study, plan.data, plan.study.recipe
    if isinstance(plan.control.spec, OwnTraining):
        decision, way = study.decision, "higher" if study.decision.wants_high else "lower"
        unit = f" ({decision.unit})" if decision.unit else ""
        fields = ", ".join(f"{name} = {value}" for name, value in study.control.items())
        return [
            ("trainer" if study.trainer else "command", plan.control.spec.name),
            ("control", fields or "no fields"),
            ("metric", f"{decision.metric}{unit}, {way} is better; margin {decision.margin:g}"),
        ]
    size = f"{data.channels}×{data.height}×{data.width}"
    told = f"{words.count(recipe.epochs, 'epoch')}, batch {recipe.batch_size}, {recipe.optimizer}, lr {recipe.lr:g}"
    return [
        ("data", f"{data.name}: {data.num_train:,} training and {data.num_test:,} test images, {size}"),
        ("recipe", told),
    ]


def own_blocks(plan: CampaignPlan) -> str:
    """A sentence on each block of the user's own: which fields of blocks it does not read."""
    paths = dict.fromkeys(path for arm in plan.arms if (path := residual_of(arm.spec)))
    idle = {path: [name for name in OFFERED if unread_by_block(path, name)] for path in paths}
    return "\n".join(f"{path} does not read {', '.join(names)}" for path, names in idle.items() if names)


def small_maps(plan: CampaignPlan) -> str:
    """A sentence on the arms with 3x3 convolutions on maps of 1x1 or 2x2 pixels; empty where there are none."""
    from ablate.model.layers import layers, tiny_maps

    ours = [(arm.name, arm.spec) for arm in plan.arms if is_ours(arm.spec)]
    counts = {name: len(tiny_maps(layers(spec, plan.data.height, plan.data.width))) for name, spec in ours}
    small = [f"{count} in {name}" for name, count in counts.items() if count]
    if not small:
        return ""
    named = ", ".join(small[:FEW_ARMS]) + (f" and in {len(small) - FEW_ARMS} more arms" * (len(small) > FEW_ARMS))
    return f"convolutions on maps of 2×2 pixels or fewer see mostly padding: {named}"


def _tuning(plan: CampaignPlan, trials: int) -> str:
    """``12 trials first: 2 arms × 6 settings (quasi_random) of lr 0.001 to 0.03 (log)``."""
    tuning, arms = plan.study.tuning, len(plan.arms)
    seeds = f" × {tuning.blocks} blocks" if tuning.blocks > 1 else ""
    seeds += f" × {tuning.seeds} seeds" if tuning.seeds > 1 else ""
    space = ", ".join(
        f"{name} {span.low:g} to {span.high:g}{' (log)' * span.log}" for name, span in tuning.space.items()
    )
    return f"{trials} trials first: {arms} arms × {tuning.trials} settings{seeds} ({tuning.sampler}) of {space}"


def _trials(plan: CampaignPlan) -> str:
    """``16: 2 arms × 8 seeds``; the range of seeds where they are added until all is settled."""
    seeds, arms = plan.study.plan, len(plan.arms) + plan.to_find
    if seeds.until == "settled":
        most = arms * seeds.most_seeds
        return f"{arms * seeds.seeds} to {most}: {arms} arms × {seeds.seeds} to {seeds.max_seeds} seeds"
    return f"{arms * seeds.seeds}: {words.count(arms, 'arm')} × {words.count(seeds.seeds, 'seed')}"


def _levels(plan: CampaignPlan) -> str:
    """``32 trials more, after these: recipe.epochs = 2, 8``."""
    from ablate.design.levels import moved_field

    levels = ", ".join(str(at.level) for at in plan.levels)
    return f"{len(plan.level_trials)} trials more, after these: {moved_field(plan.study)} = {levels}"


def _done(done: int, trials: int) -> str:
    """``16 of 16 done, 0 to train``."""
    return f"{done:,} of {trials:,} done, {max(0, trials - done):,} to train"


def _time(expected: Forecast, jobs: int, done: int) -> str:
    """``about 3 min for 2 trials at a time (estimated from FLOPs)``; of what is still to be trained."""
    left = max(0, expected.trials - done)
    if not left:
        return "none: every trial is done"
    source = "estimated from FLOPs" if not expected.measured else "measured speeds"
    if 0 < expected.measured < expected.arms:
        source = f"measured speeds of {expected.measured} of {words.count(expected.arms, 'arm')}"
    if expected.minutes is None:
        return "not known: the first trials measure how long your own code takes"
    minutes = expected.minutes * left / expected.trials
    return f"about {_minutes(minutes)} for {words.count(jobs, 'trial')} at a time ({source})"


def _minutes(minutes: float | None) -> str:
    if minutes is None:
        return "–"
    return f"{max(1, minutes):.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _own_arms(plan: CampaignPlan) -> Table:
    table = _table("seeds", words_in=("arm", "change"))
    for arm in plan.arms:
        change = words.change(arm, plan.study)
        table.add_row(text(arm.name, "bold"), text(change), str(len(plan.arm_trials(arm.name))))
    return table


def _arms(plan: CampaignPlan, costs: ArmCosts) -> Table:
    table = _table("params", "MACs", "×", "train MB", "seeds", words_in=("arm", "change"))
    base = costs.get(plan.control.name, {}).get("macs")
    for arm in plan.arms:
        cost = costs.get(arm.name, {})
        macs, peak = cost.get("macs"), cost.get("train_peak_bytes")
        table.add_row(
            text(arm.name, "bold"),
            text(words.change(arm, plan.study)),
            _number(cost.get("params"), ",.0f"),
            _number(macs, ",.0f"),
            _number(macs / base if macs and base else None, ".2f"),
            _number(peak / 1e6 if peak and not arm.recipe.freeze else None, ".0f"),
            str(len(plan.arm_trials(arm.name))),
        )
    for name in confirmed_names(plan.study)[: plan.to_find]:
        told = ("found by the search", "–", "–", "–", "–", str(plan.study.plan.most_seeds))
        table.add_row(text(name, "bold"), *map(text, told))
    return table


def _uncounted(plan: CampaignPlan, costs: ArmCosts) -> bool:
    return any(arm.name not in costs for arm in plan.arms)


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def print_check(check: Check, study: str) -> None:
    """What a check found, a line a fault with its remedy, and what was repaired."""
    console = screen(PLAIN_WIDTH)
    for done in check.repaired:
        console.print(text(f"repaired: {done}"))
    if check.never_run:
        console.print(text(f"{study}, as it is planned here, was never run: 0 of {check.trials} trials have a record"))
        return
    for fault in check.faults:
        console.print(text(f"{fault.where}: {fault.message} (remedy: {fault.remedy})", "yellow"))
    console.print(text(f"{check.records} of {check.trials} planned trials have a sound record"))
    console.print(text("nothing is wrong", "green") if check.sound else text("something is wrong", "bold red"))


def print_campaigns(campaigns: Sequence[SealedPlan], runs: Path) -> None:
    """The campaigns of a runs folder, a line each."""
    from datetime import datetime

    from ablate.campaign.records import RecordStore

    table = _table("seeds", "records", words_in=("study", "budget", "data", "campaign", "sealed"))
    for one in campaigns:
        study = one.plan.study
        here = RecordStore(runs, study.name).keys()
        done = sum(trial.key in here for trial in one.plan.trials)
        when = datetime.fromtimestamp(one.sealed_at).strftime("%Y-%m-%d %H:%M")
        names = (text(study.name, "bold"), text(study.budget), text(one.plan.data.name))
        counts = (str(study.plan.most_seeds), f"{done} of {len(one.plan.trials)}")
        table.add_row(*names, text(study.digest), text(when), *counts)
    screen().print(table)
