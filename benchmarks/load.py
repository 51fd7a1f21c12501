"""Claim: a campaign of 100,000 trials, a report of 256 arms, and 64 workers at once are carried by one machine.

Goals: 100,000 trials (10 arms, 10,000 seeds, 1 epoch) planned, checked and reported in 60 s of processor time and 2 GB;
a report of 256 arms (the most of a study) with 30 seeds in 60 s, whose page a browser lays out in 10 s; 64 workers that
train nothing for 10 s a trial and report 20 epochs keep the dispatcher under half of a core.

Each load has a process of its own; records are invented, as of filling.py. Writes docs/load.md.

    python benchmarks/load.py [--only WORD]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import table
from interleaved import call_apart
from table import Row

if TYPE_CHECKING:
    from ablate.campaign.executor import TrialContext
    from ablate.design.plan import CampaignPlan, Trial
    from ablate.design.record import Record

PAGE = Path(__file__).parents[1] / "docs" / "load.md"
COMMAND = "python benchmarks/load.py"
LIMIT_S = 3600.0
GB = 1e9
WORKERS, TRIAL_S, EPOCHS = 64, 10.0, 20
WARM_UP_S, WATCHED_S = 60.0, 60.0


def plan_of(arms: int, seeds: int, epochs: int = 1) -> CampaignPlan:
    """A campaign of so many arms, the control among them."""
    from ablate.design.plan import make_plan
    from ablate.design.study import Plan, Recipe, Study

    changes = {f"t{number}": {"expand_ratio": 6 + number / 5} for number in range(1, arms)}
    return make_plan(Study(name="load", arms=changes, recipe=Recipe(epochs=epochs), plan=Plan(seeds=seeds)))


def fill(arms: int, seeds: int, runs: Path) -> None:
    """The records of a whole campaign, after its plan was sealed."""
    from filling import invented_record

    from ablate.campaign.records import RecordStore, seal

    plan = plan_of(arms, seeds)
    seal(plan, runs)
    store = RecordStore(runs, plan.study.name)
    store.records.mkdir(parents=True)
    for trial in plan.trials:
        store.path(trial.key).write_bytes(invented_record(trial, epochs=1).to_json().encode())


def planned(arms: int, seeds: int, runs: Path) -> tuple[float, float]:
    """Processor seconds to make the plan and to check it against the records, and the peak in GB."""
    from ablate.campaign.check import check_campaign
    from ablate.campaign.options import RunOptions

    began = time.process_time()
    found = check_campaign(plan_of(arms, seeds), RunOptions(runs=runs))
    assert found.records == arms * seeds
    return time.process_time() - began, _peak_gb()


def reported(runs: Path) -> tuple[float, float]:
    """Processor seconds to read and judge the records and to write the page, and the peak in GB."""
    from ablate.reporting.folders import publish
    from ablate.reporting.load import load_results

    began = time.process_time()
    publish(load_results("load", runs=runs), runs)
    return time.process_time() - began, _peak_gb()


def idle(trial: Trial, context: TrialContext) -> Record:
    """Trains nothing for ``TRIAL_S``, and reports an epoch now and then."""
    from filling import invented_record

    record = invented_record(trial, EPOCHS)
    for point in record.curve:
        time.sleep(TRIAL_S / EPOCHS)
        context.on_epoch(point, 1000.0)
    return record


def dispatched(runs: Path) -> float:
    """Share of a core that the dispatcher takes with its views, once all workers are up."""
    import load

    from ablate.campaign.local import LocalExecutor
    from ablate.campaign.options import CampaignInterrupted, RunOptions
    from ablate.campaign.run import run_campaign

    spent: list[float] = []

    def watch() -> None:
        time.sleep(WARM_UP_S)
        spent.append(time.process_time())
        time.sleep(WATCHED_S)
        spent.append(time.process_time())
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()
    executor = LocalExecutor(WORKERS, train=load.idle, preload=())
    plan, options = plan_of(10, 1000, EPOCHS), RunOptions(runs=runs, jobs=WORKERS)
    with contextlib.suppress(CampaignInterrupted):
        run_campaign(plan, options, executor=executor, prepare=_no_costs)
    return (spent[1] - spent[0]) / WATCHED_S


def _no_costs(*_: object) -> dict[str, dict[str, float | int | None]]:
    return {}


def laid_out(page: Path, chromium: str) -> float:
    """Seconds in which a browser has loaded, laid out and drawn a page, its own start included."""
    with tempfile.TemporaryDirectory() as folder:
        words = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        words += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}/user"]
        words += ["--window-size=1280,2000", f"--screenshot={folder}/page.png", page.as_uri()]
        began = time.monotonic()
        subprocess.run(words, check=True, capture_output=True)
        return time.monotonic() - began


def _peak_gb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / GB


def many_trials(runs: Path) -> list[Row]:
    """100,000 trials."""
    call_apart("load:fill", arms=10, seeds=10_000, runs=runs, limit_s=LIMIT_S)
    check_s, check_gb = call_apart("load:planned", arms=10, seeds=10_000, runs=runs, limit_s=LIMIT_S)
    report_s, report_gb = call_apart("load:reported", runs=runs, limit_s=LIMIT_S)
    gb = max(check_gb, report_gb)
    return [
        _row("100,000 trials planned and checked, s of processor", check_s, 60.0),
        _row("100,000 trials read, judged and reported, s of processor", report_s, 60.0),
        _row("100,000 trials, memory, GB", gb, 2.0),
    ]


def many_arms(runs: Path) -> list[Row]:
    """The most arms that a study may have."""
    call_apart("load:fill", arms=257, seeds=30, runs=runs, limit_s=LIMIT_S)
    report_s, _ = call_apart("load:reported", runs=runs, limit_s=LIMIT_S)
    (page,) = runs.glob("reports/load/*/report.html")
    rows = [
        _row("256 arms with 30 seeds read, judged and reported, s of processor", report_s, 60.0),
        _row("256 arms: the page, MB", page.stat().st_size / 1e6, 20.0),
    ]
    if chromium := shutil.which("chromium"):
        seconds = laid_out(page.resolve(), chromium)
        rows.append(_row("256 arms: the page loaded and drawn by Chromium, s", seconds, 10.0))
    return rows


def many_workers(runs: Path) -> list[Row]:
    """64 workers."""
    share = call_apart("load:dispatched", runs=runs, limit_s=LIMIT_S)
    return [_row(f"{WORKERS} workers, trials of {TRIAL_S:g} s: the dispatcher's share of a core", share, 0.5)]


def _row(claim: str, value: float, goal: float) -> Row:
    return Row(part="load", claim=claim, value=value, shown=f"{value:.2f}", relation="<=", goal=goal)


def main() -> None:
    parser = argparse.ArgumentParser(description="100,000 trials, 256 arms, 64 workers.")
    parser.add_argument("--only", default="", metavar="WORD", help="trials, arms or workers; writes no page")
    only = parser.parse_args().only
    rows: list[Row] = []
    busy = os.getloadavg()[0] / table.cores()
    for part in (many_workers, many_arms, many_trials):
        if only in part.__name__:
            table.note(part.__name__)
            with tempfile.TemporaryDirectory(prefix="load-") as folder:
                rows += part(Path(folder) / "runs")
            print(table.as_text(rows), flush=True)
    if not only:
        told = f"Written by `{COMMAND}` on {table.machine()}; {busy:.1f} processes a core were waiting when it began."
        PAGE.write_text(f"# Load\n\n{told}\n\n{table.as_markdown(rows)}\n")


if __name__ == "__main__":
    main()
