"""Live progress of a campaign: a bar for each running trial in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from ablate.campaign.options import Observer
from ablate.design.forecast import exploring_trials
from ablate.design.levels import moved_field
from ablate.design.own_training import OwnTraining, planned_epochs
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Point, Record, ReportedPoint
from ablate.design.search import search_trials
from ablate.design.study import Study
from ablate.design.tuning import tuned_by
from ablate.reporting.console import screen
from ablate.reporting.style import decimals, unit
from ablate.reporting.words import plain

REFRESH_S = 0.25
COUNTER = 11  # columns of "9999/10,000"


@contextlib.contextmanager
def progress(plan: CampaignPlan, file: TextIO | None = None) -> Iterator[Observer]:
    """An observer that draws on ``file`` (default: standard output) what the campaign is doing."""
    console = screen(file=file)
    if not console.is_terminal:
        yield Lines(plan, console)
        return
    bars = Bars(plan, console)
    with bars.drawn():
        yield bars


def duration(seconds: float) -> str:
    """``45 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class Tally:
    """Counts trials and epochs, and what is left of the time at the pace so far."""

    def __init__(self, plan: CampaignPlan) -> None:
        self.plan = plan
        every = [epochs_of(trial) for trial in (*plan.trials, *plan.level_trials)]
        self._counts_epochs = None not in every
        epochs = [one or 1 for one in every]
        epochs += [few for few, count in search_trials(plan.study) for _ in range(count)]
        self._mean = sum(epochs) / len(epochs)
        self.of = 0
        self.done = 0
        self._first: dict[str, int] = {}  # by trial: epochs that were done before this call
        self._reached: dict[str, int] = {}
        self._began = time.monotonic()

    def begin(self, trials: int) -> None:
        """The clock starts: so many trials are to be trained."""
        self.of = trials
        self._began = time.monotonic()

    def add(self, trials: int) -> None:
        """So many more are to be trained."""
        self.of += trials

    def epoch(self, key: str, epoch: int) -> None:
        """A trial has come so far; what it had done before this call is not counted as this call's pace."""
        if self._counts_epochs:
            self._first.setdefault(key, epoch - 1)
            self._reached[key] = epoch

    @property
    def _epochs_done(self) -> int:
        return sum(reached - self._first[key] for key, reached in self._reached.items())

    @property
    def _epochs_left(self) -> int:
        return max(0, round(self.of * self._mean) - sum(self._reached.values()))

    def left(self) -> str:
        """``about 3 min left``; empty until an epoch is done, and when less than a second is left."""
        if not self._epochs_done:
            return ""
        seconds = self._epochs_left * self.elapsed_s / self._epochs_done
        return f"about {duration(seconds)} left" if seconds >= 1 else ""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the clock started."""
        return time.monotonic() - self._began

    def name(self, trial: Trial) -> str:
        """``control, seed 3``; at another level than the study's own ``control, seed 3, recipe.epochs 8``."""
        at = self.plan.at(trial)
        return trial.title if at is None else f"{trial.title}, {moved_field(self.plan.study)} {at.level}"

    def skip_rest_of(self, trial: Trial, record: Record) -> None:
        """A trial that ended early leaves no epochs to wait for."""
        self._first.setdefault(record.key, len(record.curve) if self._counts_epochs else 0)
        self._reached[record.key] = epochs_of(trial) or 1


def epochs_of(trained: Trial) -> int | None:
    """How many epochs a trial has; None if the user's own training code does not say."""
    return planned_epochs(trained.spec) if isinstance(trained.spec, OwnTraining) else trained.recipe.epochs


def outcome(tally: Tally, trial: Trial, record: Record) -> str:
    """``control, seed 3: test accuracy 94.20 %``."""
    name, study = tally.name(trial), tally.plan.study
    if study.own_training and record.status != "failed":
        told = own_metric(study, trial, record.metrics) or f"diverged, {_first_line(record.reason)}"
        return f"{name}: {told}"
    if record.status == "finished" and trial.phase != "confirm":
        return f"{name}: validation accuracy {100 * record.metrics['val_accuracy']:.2f} %"
    if record.status == "finished":
        return f"{name}: test accuracy {100 * record.metrics['test_accuracy']:.2f} %"
    if record.status == "diverged":
        return f"{name}: diverged at step {record.diverged_step}"
    return f"{name}: failed after {record.measured.attempts} attempts, {_first_line(record.reason)}"


def own_metric(study: Study, trial: Trial, values: Mapping[str, float]) -> str:
    """``val bits 2.3121 bits per character``; of a point without the deciding metric the first that it has."""
    deciding = (trial.metrics[0], tuned_by(trial.metrics[0]))
    name = next((name for name in (*deciding, *values) if name in values), "")
    if not name:
        return ""
    told = unit(name, study.decision.unit if name in deciding else "", decimals(study.decision.margin))
    return f"{name.replace('_', ' ')} {told.value(values[name])} {told.symbol or told.short}".rstrip()


def _first_line(text: str) -> str:
    return plain(text.strip().splitlines()[0]) if text.strip() else "no reason given"


class Lines:
    """Plain lines: one a finished trial."""

    def __init__(self, plan: CampaignPlan, console: Console) -> None:
        self._tally = Tally(plan)
        self._console = console

    def _print(self, text: str) -> None:
        self._console.print(plain(text), markup=False, soft_wrap=True)

    def said(self, message: str) -> None:
        self._print(message)

    def began(self, plan: CampaignPlan, todo: int) -> None:
        self._tally.begin(todo)
        tuning = exploring_trials(plan.study, len(plan.arms)) + plan.to_find * plan.study.plan.most_seeds
        most = "at most " * (plan.study.plan.until == "settled")
        self._print(
            f"{plan.study.name}: {todo} of {most}{len(plan.trials) + len(plan.level_trials) + tuning} trials to train"
        )

    def added(self, trials: int) -> None:
        self._tally.add(trials)

    def started(self, trial: Trial, attempt: int) -> None:
        """The end of a trial is told, its start is not."""

    def progress(self, trial: Trial, point: Point, images_per_s: float) -> None:  # noqa: ARG002 - of the protocol
        self._tally.epoch(trial.key, point.epoch)

    def finished(self, trial: Trial, record: Record) -> None:
        self._end(trial, record)

    def failed(self, trial: Trial, record: Record) -> None:
        self._end(trial, record)

    def retried(self, trial: Trial, reason: str) -> None:
        self._print(f"{self._tally.name(trial)}: {_first_line(reason)}; trying again")

    def _end(self, trial: Trial, record: Record) -> None:
        tally = self._tally
        tally.done += 1
        tally.skip_rest_of(trial, record)
        left = f", {tally.left()}" if tally.done < tally.of and tally.left() else ""
        width = len(str(tally.of))
        self._print(f"[{tally.done:{width}}/{tally.of}] {outcome(tally, trial, record)}{left}")


class Bars:
    """Live bars: one for the campaign, one a running trial.

    Rich's own refresh thread moves the cursor by the height of the bars as they were when a line was printed, and
    writes over the line if a bar has come or gone meanwhile. So the bars are refreshed here, and whatever is drawn or
    printed is done under one lock.
    """

    def __init__(self, plan: CampaignPlan, console: Console) -> None:
        self._tally = Tally(plan)
        self._bars: dict[str, TaskID] = {}
        self._lock = threading.RLock()
        self._all: TaskID | None = None
        self._over = False
        bar, name = (18, 36) if console.width >= 100 else (6, console.width * 3 // 10)
        rest = max(8, console.width - bar - name - COUNTER - 4)
        self._live = Progress(
            TextColumn("{task.description}", markup=False, table_column=_column(name)),
            BarColumn(bar_width=bar),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[said]}", markup=False, table_column=_column(rest)),
            console=console,
            auto_refresh=False,
        )

    @contextlib.contextmanager
    def drawn(self) -> Iterator[None]:
        """Draws the bars; at the end only the campaign's stays."""
        stop = threading.Event()
        ticking = threading.Thread(target=self._tick, args=(stop,), name="progress", daemon=True)
        self._live.start()
        ticking.start()
        try:
            yield
        finally:
            stop.set()
            ticking.join()
            with self._lock:
                self._over = True
                for bar in self._bars.values():
                    self._live.remove_task(bar)
                self._refresh()
                self._live.stop()

    def _tick(self, stop: threading.Event) -> None:
        while not stop.wait(REFRESH_S):
            with self._lock:
                self._refresh()

    def _refresh(self) -> None:
        if self._all is not None:
            self._live.update(self._all, completed=self._tally.done, said=self._clock())
        self._live.refresh()

    def _clock(self) -> str:
        """``1 min, about 3 min left``; ``took 4 min`` when it is over."""
        elapsed = duration(self._tally.elapsed_s)
        if self._over:
            return f"took {elapsed}"
        return ", ".join(filter(None, [elapsed, self._tally.left()]))

    def said(self, message: str) -> None:
        with self._lock:
            self._live.console.print(plain(message), markup=False)

    def began(self, plan: CampaignPlan, todo: int) -> None:
        with self._lock:
            self._tally.begin(todo)
            self._all = self._live.add_task(f"{plan.study.name}, trials", total=todo, said="")

    def added(self, trials: int) -> None:
        with self._lock:
            self._tally.add(trials)
            if self._all is not None:
                self._live.update(self._all, total=self._tally.of)

    def started(self, trial: Trial, attempt: int) -> None:
        again = f" (attempt {attempt})" if attempt > 1 else ""
        with self._lock:
            if trial.key not in self._bars:
                name = f"  {self._tally.name(trial)}{again}"
                self._bars[trial.key] = self._live.add_task(name, total=epochs_of(trial), said="starting")

    def progress(self, trial: Trial, point: Point, images_per_s: float) -> None:
        told = self._told(trial, point, images_per_s)
        with self._lock:
            self._tally.epoch(trial.key, point.epoch)
            self._live.update(self._bars[trial.key], completed=point.epoch, said=", ".join(told))

    def _told(self, trial: Trial, point: Point, images_per_s: float) -> list[str]:
        plan = self._tally.plan
        if isinstance(point, ReportedPoint):
            return [own_metric(plan.study, trial, point.metrics)]
        at = plan.at(trial)
        trained, _ = (at.plan if at else plan).data.split(trial.data)
        left = (trial.recipe.epochs - point.epoch) * trained / images_per_s if images_per_s else 0
        told = [f"{100 * point.val_accuracy:.1f} % val.", f"{images_per_s:,.0f} images/s"]
        return [*told, duration(left)] if left >= 1 else told

    def finished(self, trial: Trial, record: Record) -> None:
        self._end(trial, record)

    def failed(self, trial: Trial, record: Record) -> None:
        self._end(trial, record)

    def retried(self, trial: Trial, reason: str) -> None:
        self.said(f"{self._tally.name(trial)}: {_first_line(reason)}; trying again")

    def _end(self, trial: Trial, record: Record) -> None:
        with self._lock:
            self._tally.done += 1
            self._tally.skip_rest_of(trial, record)
            if trial.key in self._bars:
                self._live.remove_task(self._bars.pop(trial.key))
            self.said(outcome(self._tally, trial, record))
            self._refresh()


def _column(width: int) -> Column:
    return Column(no_wrap=True, overflow="ellipsis", max_width=width)
