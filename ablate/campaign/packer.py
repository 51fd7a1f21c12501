"""How a campaign is spread over the processors: asked for, kept from before, measured once, or by default."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path

from ablate.campaign.inventory import Inventory
from ablate.campaign.machine import available_bytes, cores
from ablate.campaign.packing import (
    Packing,
    candidates,
    fitting,
    measurement_s,
    quickest,
    worker_bytes,
    worth_measuring,
)
from ablate.campaign.preparation import Settings
from ablate.campaign.subprocesses import run_in_subprocesses
from ablate.design.forecast import forecast
from ablate.design.identity import digest
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record
from ablate.errors import AblateError
from ablate.files import write_whole
from ablate.model.compiled import library

FORMAT = 2
STEPS = 5  # as training/pace.py takes at least, warm-up included
STEPS_S = 1.0
START_S = 0.5
READY_S = 300.0  # how long processes wait for one another before they compute

Say = Callable[[str], None]
Rates = dict[Packing, float]
Measure = Callable[[CampaignPlan, Sequence[Packing], Say], Rates]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What there is to be shared out.

    Attributes:
        cores: processors.
        memory: bytes that can still be taken; None: not known.
        name: of the kind of machine, under which measurements are kept.
    """

    cores: int
    memory: int | None
    name: str


def this_machine() -> Machine:
    """The one in front of you, as it is now."""
    from ablate.cpu import cpu_facts

    return Machine(cores=cores(), memory=available_bytes(), name=f"{cpu_facts()[0]}, torch {metadata.version('torch')}")


def measure_aside(plan: CampaignPlan, packings: Sequence[Packing], say: Say) -> Rates:
    """Training images a second of each packing of the control's net, all its processes at work at once."""
    return {packing: sum(run_in_subprocesses(_paces(plan, packing), say=say)) for packing in packings}


def _paces(plan: CampaignPlan, packing: Packing) -> list[Callable[[Say], float]]:
    barrier = get_context("forkserver").Barrier(packing.jobs, timeout=READY_S)
    return [_Apart(plan, packing.threads, barrier.wait) for _ in range(packing.jobs)]


@dataclass(frozen=True)
class _Apart:
    """Called in a process of its own, which alone loads torch."""

    plan: CampaignPlan
    threads: int
    ready: Callable[[], object]

    def __call__(self, _: Say) -> float:
        from ablate.training.pace import Pace

        data = self.plan.data
        return Pace(
            spec=self.plan.control.spec,
            shape=(data.channels, data.height, data.width),
            recipe=self.plan.study.recipe,
            threads=self.threads,
            ready=self.ready,
        )()


@dataclass(frozen=True)
class Wanted:
    """What was asked for; None: nothing.

    Raises:
        AblateError: fewer than one.
    """

    jobs: int | None
    threads: int | None

    def __post_init__(self) -> None:
        for name, number in dataclasses.asdict(self).items():
            if number is not None and number < 1:
                raise AblateError(f"--{name} must be at least 1, got {number}")


def packed(plan: CampaignPlan, settings: Settings, wanted: Wanted, inventory: Inventory, say: Say) -> Settings:
    """The settings with the jobs and threads that were asked for, and what was not asked for chosen for this machine.

    On a GPU nothing is chosen: one trial at a time, fed by one thread, where nothing else is asked for.
    """
    if settings.device != "cpu":
        return settings
    packer = Packer(plan=plan, folder=settings.runs / "packing", wanted=wanted, say=say, machine=this_machine())
    missing = [trial for key, trial in inventory.trials.items() if not inventory.has_outcome(key)]
    chosen = packer.choose(missing or plan.trials, inventory.records)
    return dataclasses.replace(settings, jobs=chosen.jobs, threads=chosen.threads)


@dataclass(frozen=True, kw_only=True)
class Packer:
    """Chooses the packing of one campaign on this machine's processors.

    Attributes:
        plan: of the campaign.
        folder: where measurements, and the thread counts of campaigns, are kept.
        wanted: what was asked for.
        say: told what a user should know.
        machine: what there is to be shared out.
        measure: gives the rates of packings.
    """

    plan: CampaignPlan
    folder: Path
    wanted: Wanted
    say: Say
    machine: Machine
    measure: Measure = measure_aside

    def choose(self, missing: Sequence[Trial], records: Mapping[str, Record]) -> Packing:
        """The packing for the trials that are missing, given the records there are."""
        worker = worker_bytes(self.plan, missing, records.values())
        most = fitting(self.machine.memory, worker) or self.machine.cores
        kept = self._kept(records)
        threads = self.wanted.threads or kept
        if self.wanted.jobs is not None:
            chosen = Packing(self.wanted.jobs, threads or 1)
        elif threads is not None:
            chosen = Packing(min(most, max(1, self.machine.cores // threads)), threads)
        else:
            chosen = self._best(missing, most)
        self._tell_threads(chosen, kept)
        self._tell_memory(chosen, self.wanted.jobs or max(1, self.machine.cores // (threads or 1)), most, worker)
        self._remember(chosen.threads)
        return chosen

    def _best(self, missing: Sequence[Trial], most: int) -> Packing:
        possible = candidates(self.machine.cores, most)
        rates = {packing: rate for packing, rate in self._measured().items() if packing in possible}
        if not rates and len(possible) > 1 and self._is_worth_it(missing, possible):
            self.say("measuring how many trials at a time, with how many threads each, train fastest")
            rates = self.measure(self.plan, possible, self.say)
            self._keep(rates)
            best = quickest(rates, len(missing))
            self.say(
                f"{best}: {', '.join(f'{p.jobs} × {p.threads} {rate:,.0f}' for p, rate in rates.items())} images/s"
            )
        return quickest(rates, len(missing)) if rates else possible[0]

    def _is_worth_it(self, missing: Sequence[Trial], possible: Sequence[Packing]) -> bool:
        rest = dataclasses.replace(self.plan, trials=tuple(missing))
        campaign_s = 60 * forecast(rest, jobs=possible[0].jobs).minutes
        cost_s = measurement_s(self.plan, possible, steps=STEPS, least_s=STEPS_S, start_s=START_S)
        return worth_measuring(campaign_s, cost_s)

    def _tell_threads(self, chosen: Packing, kept: int | None) -> None:
        if kept is not None and kept != chosen.threads:
            self.say(
                f"The first trials of this campaign ran with {kept} thread{'s' * (kept > 1)}, these run with "
                f"{chosen.threads}: only at the same count does a trial give the same numbers to the last bit."
            )
        elif kept is not None and kept > 1 and self.wanted.threads is None:
            self.say(f"{kept} threads a trial, as this campaign began.")

    def _tell_memory(self, chosen: Packing, usual: int, most: int, worker: int) -> None:
        """Says it where memory cuts the number of jobs from what would be usual, or may not last."""
        if self.machine.memory is None or usual <= most or chosen.jobs < most:
            return
        room = f"A trial takes about {worker / 1e6:,.0f} MB of memory, {self.machine.memory / 1e6:,.0f} MB are free"
        if self.wanted.jobs is None:
            self.say(f"{room}: {chosen.jobs} run at a time, not {usual}. --jobs N runs N all the same.")
        else:
            self.say(f"{room}: {usual} at a time may run out of it.")

    # What is kept: a measurement by machine and net, a thread count by campaign

    @property
    def _measurement(self) -> Path:
        plan = self.plan
        asked = [
            FORMAT,
            self.machine.name,
            self.machine.cores,
            "compiled kernels" if library() else "torch's kernels",
            plan.control.spec.to_dict(),
            dataclasses.asdict(plan.data),
        ]
        recipe = plan.study.recipe
        return self.folder / f"{digest([*asked, recipe.batch_size, recipe.optimizer, recipe.precision])}.json"

    @property
    def _campaign(self) -> Path:
        return self.folder / f"{self.plan.study.name}.{self.plan.study.digest}.json"

    def _measured(self) -> Rates:
        try:
            rows = json.loads(self._measurement.read_text())["rates"]
            return {Packing(int(jobs), int(threads)): float(rate) for jobs, threads, rate in rows if rate > 0}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _keep(self, rates: Rates) -> None:
        rows = [[packing.jobs, packing.threads, rate] for packing, rate in rates.items()]
        text = json.dumps({"machine": self.machine.name, "cores": self.machine.cores, "rates": rows})
        write_whole(self._measurement, text.encode())

    def _kept(self, records: Mapping[str, Record]) -> int | None:
        """The thread count that this campaign's first trials ran with, where some have run."""
        done = [r.measured for r in records.values() if r.status != "failed" and r.measured.device == "cpu"]
        if done:
            return min(done, key=lambda measured: measured.started_at).threads
        try:
            return max(1, int(json.loads(self._campaign.read_text())["threads"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remember(self, threads: int) -> None:
        write_whole(self._campaign, json.dumps({"threads": threads}).encode())
