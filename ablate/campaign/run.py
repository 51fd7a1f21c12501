"""A campaign carried out: ask, submit, record, tell. What has a record is never trained again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping

from ablate.campaign.executor import Executor, Finished, Job, Lost, Progress
from ablate.campaign.local import LocalExecutor
from ablate.campaign.mlflow_model import export_models
from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.options import (
    ArmCosts,
    CampaignInterrupted,
    CampaignResult,
    Observer,
    RunOptions,
    Silent,
)
from ablate.campaign.optuna_driver import DesignStudy
from ablate.campaign.optuna_view import OptunaView
from ablate.campaign.prepare import Prepare, known_costs, prepare_campaign, reported_costs
from ablate.campaign.records import RecordStore, adopt, seal, writable
from ablate.campaign.resources import LEAST_FREE, Layout, check_disk, choose_layout, disk_full, free_bytes
from ablate.campaign.schedule import Scheduler
from ablate.campaign.views import DEADLINE_S, Conclusion, Item, Pusher
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Measured, Record
from ablate.errors import AblateError

EVENTS_S = 0.5  # how long the loop waits for an event before it looks at the disk again
PULL_S = 20.0  # how long MLflow may take to say what it holds of the trials that have no record here
INTERRUPTED_S = 5.0  # what the views get after Ctrl-C

Conclude = Callable[[CampaignResult], Conclusion]


def run_campaign(
    plan: CampaignPlan,
    options: RunOptions,
    *,
    observer: Observer | None = None,
    executor: Executor | None = None,
    prepare: Prepare = prepare_campaign,
    conclude: Conclude | None = None,
    only: Collection[str] | None = None,
) -> CampaignResult:
    """Trains the trials of the plan that have no record yet, and returns the records of all.

    Args:
        plan: what should exist.
        options: how it is run.
        observer: told how it goes.
        executor: what runs the trials; None: what ``options`` say. It is closed at the end.
        prepare: makes the data ready and returns the arms' costs.
        conclude: judges and reports when all trials are through, before the views are closed.
        only: keys of the trials to train; the others are left for another call. None: all.

    Raises:
        AblateError: the runs folder, the data or the disk cannot be used, or another dispatcher is at work.
        CampaignInterrupted: Ctrl-C; it holds the result so far.
    """
    store = RecordStore(options.runs, plan.study.name)
    with writable(options.runs), store.locked():
        campaign = _Campaign(plan, options, store, observer or Silent(), only)
        return campaign.run(executor, prepare, conclude)


class _Campaign:
    """One call of ``run_campaign``.

    Attributes:
        plan: as it has grown with the records.
        trials: what is needed so far, by key, in the order to run them.
        records: of these, failures included.
    """

    def __init__(
        self,
        plan: CampaignPlan,
        options: RunOptions,
        store: RecordStore,
        observer: Observer,
        only: Collection[str] | None = None,
    ) -> None:
        self.plan = plan
        self._only = only
        self.options = options
        self.store = store
        self.observer = observer
        self.trials: dict[str, Trial] = {}
        self.records: dict[str, Record] = {}
        self.costs: ArmCosts = {}
        self.trained = 0
        self.layout = Layout(1, 1)
        self._scheduler = Scheduler(plan)
        self._to_come = 0
        self._told = 0
        self._again: set[str] = set()  # failed in an earlier call, and not run again yet
        self._moved = False  # whether a record came since the schedule was asked
        self._todo: deque[Trial] = deque()
        self._attempts: dict[str, int] = {}
        self._design: DesignStudy | None = None
        self._can_pull = True
        self._cost_of_arms: Prepare = prepare_campaign
        sealed = seal(plan, options.runs)
        self._mlflow = MlflowView(options.mlflow_uri, options.runs, sealed.to_json())
        stamps = options.cache / "views" / f"{plan.study.name}.{plan.study.digest}"
        self._pushers = {
            name: Pusher(view, plan, stamps.with_name(f"{stamps.name}.{name}.json"), observer.said)
            for name, view in (
                ("MLflow", self._mlflow),
                ("Optuna", OptunaView(options.runs, options.optuna_storage)),
            )
        }

    def run(self, executor: Executor | None, prepare: Prepare, conclude: Conclude | None) -> CampaignResult:
        """Everything, from what exists to the end of the views."""
        adopt(self.store, [trial.key for trial in (*self.plan.trials, *self.plan.level_trials)])
        self._follow()
        self.store.clear_finished(self.records.values())
        todo = len(self._todo) + self._to_come
        if todo:
            self.layout, said = choose_layout(self.plan, self.options, self._todo, self.records)
            for sentence in said:
                self.observer.said(sentence)
            executor = executor or executor_for(self.options, self.layout)
        deadline_s = DEADLINE_S
        try:
            self._prepare(todo, executor, prepare)
            if todo:
                assert executor is not None
                self._train(executor, todo)
        except KeyboardInterrupt:
            deadline_s = INTERRUPTED_S
            raise CampaignInterrupted(self._result()) from None
        except BaseException:
            deadline_s = INTERRUPTED_S
            raise
        finally:
            if executor is not None:
                executor.close()
            if deadline_s == INTERRUPTED_S:
                self._close_views(Conclusion(complete=False), deadline_s)
        if self.plan.study.own_training:
            self.costs = reported_costs(self.plan, self.records)
        result = self._result()
        conclusion = conclude(result) if conclude else Conclusion(complete=not result.missing)
        done = [trial for key, trial in self.trials.items() if self._has_outcome(key)]
        export_models(done, self.store, self.options, self.observer.said)
        return self._result(self._close_views(conclusion, deadline_s))

    # What is needed, and what there is of it

    def _follow(self) -> int:
        """Follows the schedule as far as the records go; how many trials without an outcome are new in it."""
        known, before = len(self.trials), len(self._todo)
        self._moved = False
        while True:
            schedule = self._scheduler.schedule(
                {key: record for key, record in self.records.items() if key not in self._again}
            )
            self.plan, self._to_come = schedule.plan, schedule.to_come
            for pusher in self._pushers.values():
                pusher.update(self.plan, self.costs)  # before it is handed a trial that only this plan knows
            new = {trial.key: trial for trial in reversed(schedule.trials) if trial.key not in self.trials}
            if not new:
                break
            ordered = {trial.key: trial for trial in schedule.trials if trial.key in new}
            self.trials |= ordered
            self._load(ordered)
        new_keys = [key for key in list(self.trials)[known:] if self._only is None or key in self._only]
        self._todo.extend(self.trials[key] for key in new_keys if not self._has_outcome(key))
        for sentence in schedule.news[self._told :]:
            if self._told or self.trained:
                self.observer.said(sentence)
        self._told = len(schedule.news)
        return len(self._todo) - before

    def _load(self, trials: Mapping[str, Trial]) -> None:
        """Records of these trials: from the disk, else from MLflow."""
        here = self.store.keys()
        for key in trials:
            if key in here:
                record, damage = self.store.take(key)
                if record is not None:
                    self.records[key] = record
                else:
                    self.observer.said(f"{damage}. Its trial is trained again, unless MLflow has the record.")
        self._pull([key for key in trials if key not in self.records])
        for key in trials:
            if self._has_outcome(key):
                self._hand_over(key)
            elif key in self.records:  # run again, so that its file is about to go
                self._again.add(key)

    def _pull(self, keys: list[str]) -> None:
        if not (keys and self._can_pull and self._mlflow.store.may_hold(keys)):
            return
        texts = self._answer_of(lambda: self._mlflow.pull(self.plan.study.name, keys))
        for key, text in texts.items():
            if (record := self.store.accept(key, text)) is not None:
                self.records[key] = record
        if found := sum(key in self.records for key in keys):
            self.observer.said(f"{found} record{'s' * (found > 1)} taken from {self._mlflow.name}")

    def _answer_of(self, ask: Callable[[], dict[str, str]]) -> dict[str, str]:
        """What MLflow answers in time, else nothing and a sentence: a view never decides whether training starts."""
        answer: dict[str, str] = {}
        problem: list[Exception] = []

        def asking() -> None:
            try:
                answer.update(ask())
            except Exception as error:  # noqa: BLE001 - whatever it is, training continues without it
                problem.append(error)

        thread = threading.Thread(target=asking, daemon=True)
        thread.start()
        thread.join(PULL_S)
        if thread.is_alive() or problem:
            self._can_pull = False
            why = problem[0] if problem else f"{self._mlflow.name} has not answered for {PULL_S:g} s."
            self.observer.said(f"{why} Trials without a record on disk are trained.")
            return {}
        return answer

    def _has_outcome(self, key: str) -> bool:
        return key in self.records and self.records[key].status != "failed"

    def _hand_over(self, key: str) -> None:
        item = Item.of(self.store, self.trials[key], self.records[key])
        for pusher in self._pushers.values():
            pusher.put(item)

    # Training

    def _prepare(self, todo: int, executor: Executor | None, prepare: Prepare) -> None:
        self._cost_of_arms = prepare
        self.costs, whole = known_costs(self.plan, self.options.cache / "costs", self.records)
        if todo:
            assert executor is not None
            check_disk(self.plan, self.options.runs, todo, executor.capacity)
        if todo or not whole:
            self.costs = prepare(self.plan, self.options, self.layout, self.observer.said)
        for pusher in self._pushers.values():
            pusher.update(self.plan, self.costs)

    def _train(self, executor: Executor, todo: int) -> None:
        self.observer.began(self.plan, todo)
        running: set[str] = set()
        while True:
            while len(running) < executor.capacity and (trial := self._next()) is not None:
                running.add(trial.key)
                if trial.phase == "confirm":  # others were asked for when they were scheduled
                    self._design_study().ask(trial)
                self._submit(executor, trial)
            if not running:
                return
            for pusher in self._pushers.values():
                pusher.start()  # once; the first trials train while it imports
            for event in executor.events(EVENTS_S):
                if isinstance(event, Progress):
                    self.observer.progress(self.trials[event.key], event.point, event.images_per_s)
                elif isinstance(event, Finished) or self._given_up(event, executor):
                    running.discard(event.key)
                    self._record(event)
            if free_bytes(self.options.runs) < LEAST_FREE:
                raise self._disk_full()

    def _next(self) -> Trial | None:
        """The next trial to run; where all are handed out and one has ended since, the schedule is asked for more."""
        if not self._todo and self._moved:
            expected = self._to_come
            arms = len(self.plan.arms)
            if more := self._follow() + self._to_come - expected:
                self.observer.added(more)
            if len(self.plan.arms) > arms:  # a search has found them
                self.costs = self._cost_of_arms(self.plan, self.options, self.layout, self.observer.said)
            for pusher in self._pushers.values():
                pusher.update(self.plan, self.costs)
        return self._todo.popleft() if self._todo else None

    def _design_study(self) -> DesignStudy:
        if self._design is None:
            self._design = DesignStudy(self.plan, self.records)
        return self._design

    def _submit(self, executor: Executor, trial: Trial) -> None:
        attempt = self._attempts[trial.key] = self._attempts.get(trial.key, 0) + 1
        self.store.remove(trial.key)
        executor.submit(
            Job(
                trial=trial,
                store=self.store,
                data_root=self.options.data_root,
                cache=self.options.cache / "data",
                device=self.layout.device,
                threads=self.layout.threads,
                attempt=attempt,
                time_limit_s=self.options.time_limit_s,
            )
        )
        self.observer.started(trial, attempt)

    def _given_up(self, lost: Lost, executor: Executor) -> bool:
        """Whether a lost attempt was the last; if not, another is under way."""
        if lost.disk_full:
            raise self._disk_full(lost.place)
        if lost.blameless:
            self._attempts[lost.key] -= 1
        if self._attempts[lost.key] > self.options.retries:
            return True
        self.observer.retried(self.trials[lost.key], lost.reason)
        self._submit(executor, self.trials[lost.key])
        return False

    def _record(self, event: Finished | Lost) -> None:
        key, trial = event.key, self.trials[event.key]
        record = event.record if isinstance(event, Finished) else self._failure(event)
        if isinstance(event, Lost):
            self.store.put(record)
        else:
            self.store.clear(key)
        self.records[key] = record
        self._again.discard(key)
        self._moved = True
        self.trained += 1
        if trial.phase == "confirm":
            self._design_study().tell(trial, record)
        (self.observer.finished if isinstance(event, Finished) else self.observer.failed)(trial, record)
        self._hand_over(key)

    def _failure(self, lost: Lost) -> Record:
        reason = f"{lost.reason}\n{lost.output}".rstrip()
        measured = Measured(
            device=self.layout.device,
            threads=self.layout.threads,
            attempts=self._attempts[lost.key],
            started_at=time.time(),
        )
        return Record.of(self.trials[lost.key], "failed", reason=reason, measured=measured)

    def _disk_full(self, place: str = "") -> AblateError:
        done = sum(map(self._has_outcome, self.trials))
        return disk_full(place or str(self.options.runs), done, len(self.trials))

    def _close_views(self, conclusion: Conclusion, deadline_s: float) -> dict[str, int]:
        """Name of a view -> how many records it lacks, where it does not show everything."""
        found: dict[str, int] = {}
        for name, pusher in self._pushers.items():
            if deadline_s == INTERRUPTED_S and not pusher.started:
                continue  # Ctrl-C does not wait for the imports of a view
            pusher.update(self.plan, self.costs)
            left = pusher.finish(conclusion, deadline_s=deadline_s)
            if left or pusher.behind:
                found[name] = left
        return found

    def _result(self, behind: Mapping[str, int] | None = None) -> CampaignResult:
        return CampaignResult(
            plan=self.plan,
            needed=tuple(self.trials),
            records={key: self.records[key] for key in self.trials if key in self.records},
            costs=self.costs,
            trained=self.trained,
            behind=behind or {},
        )


def executor_for(options: RunOptions, layout: Layout) -> Executor:
    """What runs the trials, not yet connected to anything."""
    if options.executor == "local":
        return LocalExecutor(layout.jobs, threads=layout.threads)
    from ablate.campaign.ray_executor import LOCAL, RayExecutor

    gpus = options.gpus_per_trial
    return RayExecutor(
        address=options.ray_address or LOCAL,
        jobs=options.jobs,
        cpus_per_trial=1.0 if options.cpus_per_trial is None else options.cpus_per_trial,
        gpus_per_trial=(1.0 if layout.device == "cuda" else 0.0) if gpus is None else gpus,
    )
