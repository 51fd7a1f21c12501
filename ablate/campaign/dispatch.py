"""A campaign carried out: what is missing is trained, what is there stays, and nothing is lost on the way.

The dispatcher owns the queue and the order of things. Workers return records, which lie on disk before anything else
happens with them; the ledger's thread hands them to MLflow.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ablate.campaign.costs import ArmCosts
from ablate.campaign.disk import LEAST_FREE, disk_bytes, free_bytes, writable
from ablate.campaign.executors import Executor, Finished, Job, Lost, Progress
from ablate.campaign.inventory import Inventory
from ablate.campaign.kept import lack_of_weights
from ablate.campaign.ledger import Ledger
from ablate.campaign.local import LocalExecutor
from ablate.campaign.lock import held
from ablate.campaign.observer import Observer, Silent
from ablate.campaign.outbox import Outbox
from ablate.campaign.packer import Wanted, packed
from ablate.campaign.preparation import Prepare, Settings, prepare_in_subprocess
from ablate.campaign.queue import TrialQueue, open_queue
from ablate.campaign.result import CampaignInterrupted, CampaignResult, CampaignStopped
from ablate.campaign.sharing import SharedExecutor
from ablate.campaign.spool import desk
from ablate.campaign.tracking import Tracking
from ablate.design.plan import CampaignPlan
from ablate.design.record import Measured, Record
from ablate.design.study import HIGHER_IS_BETTER
from ablate.errors import AblateError
from ablate.paths import tracking_uri as resolve_uri

EVENTS_S = 0.5  # how long the loop waits for an event before it looks at the disk again
PATIENCE_S = 15.0  # for MLflow, at the end, when it does not answer
INTERRUPTED_PATIENCE_S = 5.0


def run_campaign(
    plan: CampaignPlan,
    *,
    runs: Path,
    tracking_uri: str | None = None,
    data_root: Path | None = None,
    jobs: int | None = 1,
    threads: int | None = 1,
    device: str = "cpu",
    retries: int = 2,
    time_limit_s: float | None = None,
    keep: bool = False,
    queue: str | None = None,
    observer: Observer | None = None,
    executor: Executor | None = None,
    prepare: Prepare = prepare_in_subprocess,
) -> CampaignResult:
    """Trains the trials of the plan that have no record yet, and returns the records of all.

    Args:
        plan: what should exist.
        runs: the runs folder.
        tracking_uri: the MLflow store; None: $MLFLOW_TRACKING_URI, else sqlite in ``runs``.
        data_root: where data sets lie; None: the default.
        jobs: trials at a time; None: as many as train fastest and fit into memory.
        threads: of each trial; None: as many as train fastest, or as the campaign began with.
        device: ``cpu`` or ``cuda``.
        retries: further attempts at a trial whose worker was lost.
        time_limit_s: of a trial; None: none.
        keep: whether finished trials' checkpoints and output stay.
        queue: the URL of a PostgreSQL database for the queue; None: sqlite in ``runs``.
        observer: told how it goes.
        executor: what runs the trials; None: processes of this machine. It is closed at the end.
        prepare: makes the data ready and returns the arms' costs.

    Raises:
        AblateError: the runs folder, the data, the queue or the disk will not do, or another dispatcher is at work.
        CampaignInterrupted: Ctrl-C; it holds the result so far.
    """
    settings = Settings(
        runs=runs.resolve(),
        data_root=data_root.resolve() if data_root else None,
        jobs=jobs or 1,
        threads=threads or 1,
        device=device,
        retries=retries,
        time_limit_s=time_limit_s,
        keep=keep,
        queue=queue,
    )
    uri = resolve_uri(settings.runs, tracking_uri)
    lock, what = settings.runs / "locks" / plan.study.name, f"the study {plan.study.name!r}"
    with writable(settings.runs), held(lock, what, "wait for it, end it first, or help it with --join"):
        dispatcher = _Dispatcher(plan, settings, Tracking(uri, settings.runs / "artifacts"), observer or Silent())
        return dispatcher.run(executor, prepare, Wanted(jobs, threads))


class _Dispatcher:
    """One call of ``run_campaign``."""

    def __init__(self, plan: CampaignPlan, settings: Settings, tracking: Tracking, observer: Observer) -> None:
        self.plan = plan
        self.settings = settings
        self.tracking = tracking
        self.observer = observer
        self.outbox = Outbox.of(settings.runs, plan.study.name)
        self.inventory = Inventory(plan, tracking, self.outbox, observer.said)
        self.attempts: dict[str, int] = {}
        self.costs: ArmCosts = self.inventory.costs
        self.unread: tuple[str, ...] = ()
        self.trained = 0

    def run(self, executor: Executor | None, prepare: Prepare, wanted: Wanted) -> CampaignResult:
        """Everything, from what exists to the parent run's end."""
        new = self.inventory.look()
        if lack := lack_of_weights(self.inventory.needs.plan, self.inventory.stored or ()):
            self.observer.said(lack)
        with contextlib.closing(self._open_queue()) as queue:
            return self._carry_out(queue, new, executor, prepare, wanted)

    def _carry_out(
        self, queue: TrialQueue, new: list[str], executor: Executor | None, prepare: Prepare, wanted: Wanted
    ) -> CampaignResult:
        inventory = self.inventory
        todo = self._enlist(queue, new)
        if not (todo or inventory.unsent or inventory.is_open) and self.costs:
            return self._result(0)
        if executor is None and (todo or inventory.needs.to_come):
            self.settings = packed(self.plan, self.settings, wanted, self.inventory, self.observer.said)
        ledger = Ledger(
            self.tracking,
            inventory.needs.plan,
            self.outbox,
            keep=self.settings.keep,
            say=self.observer.said,
            stored=inventory.stored,
        )
        self._send(ledger)
        todo += inventory.needs.to_come
        settings = self.settings
        executor = executor or LocalExecutor(settings.jobs, threads=settings.threads)
        executor = SharedExecutor(executor, desk(self.settings.runs, self.plan.study.name), self.observer.said)
        patience_s = PATIENCE_S
        try:
            if todo or not self.costs:
                self._check_disk(todo, executor.capacity if todo else 1)
                self.costs = prepare(self.plan, self.settings, self.observer.said)
                ledger.set_costs(self.costs)
            if todo:
                self._train(queue, ledger, executor, todo)
        except KeyboardInterrupt:
            patience_s = INTERRUPTED_PATIENCE_S
            raise CampaignInterrupted(self._result(0)) from None
        except BaseException:
            patience_s = INTERRUPTED_PATIENCE_S
            raise
        finally:
            executor.close()
            left = ledger.finish(complete=inventory.complete, patience_s=patience_s)
        return self._result(left)

    def _send(self, ledger: Ledger) -> None:
        for record in self.inventory.unsent.values():
            ledger.put(record)
        self.inventory.unsent = {}

    def _open_queue(self) -> TrialQueue:
        study = self.plan.study
        queue, trouble = open_queue(
            self.settings.queue or self.settings.runs / "queue.db",
            f"{study.name} {study.digest}",
            maximize=HIGHER_IS_BETTER[study.decision.metric],
            say=self.observer.said,
        )
        if trouble:
            self.observer.said(trouble)
        return queue

    def _enlist(self, queue: TrialQueue, keys: list[str]) -> int:
        """Queues the trials that have no outcome, tells the queue of those that have; how many are to be run."""
        inventory, missing = self.inventory, list[str]()
        for key in keys:
            if inventory.has_outcome(key):
                if key not in queue.done:
                    queue.learn(key, inventory.records[key].metrics.get(self.plan.study.decision.metric))
            elif inventory.store_is_away and key in queue.done:
                self.unread += (key,)
            else:
                missing.append(key)
        queue.add(missing)
        return len(missing)

    def _check_disk(self, trials: int, at_a_time: int) -> None:
        needed = disk_bytes(self.plan, trials, at_a_time)
        free = free_bytes(self.settings.runs)
        if free < needed:
            raise AblateError(
                f"{self.settings.runs}: {trials} trials need about {needed / 1e6:,.0f} MB of disk, "
                f"{free / 1e6:,.0f} MB are free; make space, or put the runs elsewhere with --runs"
            )

    def _train(self, queue: TrialQueue, ledger: Ledger, executor: Executor, todo: int) -> None:
        self.observer.began(self.plan, todo)
        running: set[str] = set()
        try:
            while True:
                while len(running) < executor.capacity and (key := self._next(queue, ledger)) is not None:
                    running.add(key)
                    self._submit(executor, key)
                if not running:
                    return
                queue.look_ahead()
                for event in executor.events(EVENTS_S):
                    if isinstance(event, Progress):
                        self.observer.progress(self.inventory.trials[event.key], event.point, event.images_per_s)
                    elif isinstance(event, Finished) or self._given_up(event, executor):
                        running.discard(event.key)
                        self._settle(event, queue, ledger)
                if free_bytes(self.settings.runs) < LEAST_FREE:
                    raise self._disk_full()
        finally:
            for key in running:
                with contextlib.suppress(AblateError):
                    queue.failed(key)

    def _next(self, queue: TrialQueue, ledger: Ledger) -> str | None:
        """The next trial to run; where all are handed out and one has ended since, the agenda is asked for more."""
        key, inventory = queue.next(), self.inventory
        if key is not None or not inventory.has_moved:
            return key
        expected, told = inventory.needs.to_come, len(inventory.needs.news)
        added = self._enlist(queue, inventory.look())
        if self.plan.study.tuned:
            ledger.set_plan(inventory.needs.plan)
        self._send(ledger)
        for sentence in inventory.needs.news[told:]:
            self.observer.said(sentence)
        if more := added + inventory.needs.to_come - expected:
            self.observer.added(more)
        return queue.next()

    def _submit(self, executor: Executor, key: str) -> None:
        attempt = self.attempts.get(key, 0) + 1
        self.attempts[key] = attempt
        settings, trial = self.settings, self.inventory.trials[key]
        self.outbox.forget(key)
        executor.submit(
            Job(
                trial=trial,
                folder=self.outbox.folder(key),
                data_root=settings.data_root,
                cache=settings.runs / "data",
                device=settings.device,
                threads=settings.threads,
                attempt=attempt,
                time_limit_s=settings.time_limit_s,
            )
        )
        self.observer.started(trial, attempt)

    def _given_up(self, lost: Lost, executor: Executor) -> bool:
        """Whether a lost attempt was the last; if not, another is under way."""
        if lost.disk_full:
            raise self._disk_full(lost.place)
        if lost.blameless:
            self.attempts[lost.key] -= 1
        if self.attempts[lost.key] > self.settings.retries:
            return True
        self.observer.retried(self.inventory.trials[lost.key], lost.reason)
        self._submit(executor, lost.key)
        return False

    def _settle(self, event: Finished | Lost, queue: TrialQueue, ledger: Ledger) -> None:
        key, trial = event.key, self.inventory.trials[event.key]
        record = event.record if isinstance(event, Finished) else self._failure(event)
        self.outbox.put(record)
        self.inventory.add(record)
        self.trained += 1
        if isinstance(event, Finished):
            queue.finished(key, record.metrics.get(self.plan.study.decision.metric))
            self.observer.finished(trial, record)
        else:
            queue.failed(key)
            self.observer.failed(trial, record)
        ledger.put(record)

    def _failure(self, lost: Lost) -> Record:
        trial = self.inventory.trials[lost.key]
        reason = f"{lost.reason}\n{lost.output}".rstrip()
        attempts = self.attempts[lost.key]
        measured = Measured(device=self.settings.device, threads=self.settings.threads, attempts=attempts)
        return Record.of(trial, "failed", reason=reason, measured=measured)

    def _disk_full(self, place: str = "") -> CampaignStopped:
        trials = self.inventory.trials
        done = sum(map(self.inventory.has_outcome, trials))
        return CampaignStopped(
            f"{place or self.settings.runs}: the disk is full; the campaign has stopped with {done} of {len(trials)} "
            f"trials finished and kept; make space and run the same command to go on"
        )

    def _result(self, waiting: int) -> CampaignResult:
        inventory = self.inventory
        return CampaignResult(
            plan=inventory.needs.plan,
            needed=tuple(inventory.trials),
            records={key: inventory.records[key] for key in inventory.trials if key in inventory.records},
            costs=self.costs,
            trained=self.trained,
            waiting=waiting,
            unread=self.unread,
        )
