"""The one writer to MLflow: a thread that hands records over, and waits where MLflow is away, while training goes on.

Every record is on disk before it comes here, and leaves the disk when MLflow has it; so nothing is lost if the thread,
MLflow or both end at any instant, and the next call hands over what is left.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from ablate.campaign.entries import Costs, trial_entry
from ablate.campaign.outbox import Outbox
from ablate.campaign.stored import TrialRun, best
from ablate.campaign.tracking import Tracking
from ablate.design.plan import Arm, CampaignPlan, Trial
from ablate.design.record import Record

# A store that has not refused anything is only slow, as a new sqlite store is on a busy machine.
PATIENCE_WITH_THE_SLOW = 8
BACK_OFF_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class Ledger:
    """Writes one campaign's records, each exactly once.

    Args:
        tracking: the store; used by this thread alone from now on.
        plan: the campaign.
        outbox: where records wait; a record that MLflow has is settled there.
        keep: whether a trial's folder stays all the same.
        say: told once when MLflow goes away, and once when it is back.
        stored: the trials' runs that MLflow holds, where they were just read; None: they are read here.
    """

    def __init__(
        self,
        tracking: Tracking,
        plan: CampaignPlan,
        outbox: Outbox,
        *,
        keep: bool,
        say: Callable[[str], None],
        stored: Sequence[TrialRun] | None = None,
    ) -> None:
        self._tracking = tracking
        self._plan = plan
        self._save_plan = False
        self._outbox = outbox
        self._keep = keep
        self._say = say
        self._stored = stored
        self._trials: dict[str, Trial] = {}
        self._arms: dict[str, Arm] = {}
        self._index()
        self._costs: Mapping[str, Costs] = {}
        self._save_costs = False
        self._complete: bool | None = None
        self._campaign = ""
        self._known: dict[str, list[TrialRun]] | None = None
        self._records: deque[Record] = deque()
        self._wake = threading.Condition()
        self._busy = True
        self._closing = False
        self._moved = time.monotonic()
        self._stumbling = False
        self._doubtful = False
        self.problem = ""
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def put(self, record: Record) -> None:
        """Hands a record over; returns at once."""
        with self._wake:
            self._records.append(record)
            self._wake.notify_all()

    def set_plan(self, plan: CampaignPlan) -> None:
        """The plan as it has grown, for the campaign and for every record from now on."""
        with self._wake:
            self._plan, self._save_plan = plan, True
            self._index()
            self._wake.notify_all()

    def _index(self) -> None:
        self._trials = {trial.key: trial for trial in reversed((*self._plan.trials, *self._plan.tuning_trials))}
        self._arms = {arm.name: arm for arm in self._plan.arms}

    def set_costs(self, costs: Mapping[str, Costs]) -> None:
        """The arms' costs, for the campaign and for every record from now on."""
        with self._wake:
            self._costs, self._save_costs = costs, True
            self._wake.notify_all()

    def finish(self, *, complete: bool, patience_s: float) -> int:
        """Closes the campaign's run when all is written; how many records still wait.

        Waits as long as MLflow gets on, and ``patience_s`` where it does not answer as it should.
        """
        with self._wake:
            self._complete = complete
            self._moved = time.monotonic()
            self._wake.notify_all()
            while self._pending() and time.monotonic() < self._moved + self._patience(patience_s):
                self._wake.wait(0.1)
            left = len(self._records)
            self._closing = True
            self._wake.notify_all()
        self._thread.join(timeout=5)  # in the middle of a call that does not return, it ends with the process
        return left

    def _patience(self, patience_s: float) -> float:
        return patience_s if self._stumbling else patience_s * PATIENCE_WITH_THE_SLOW

    def _pending(self) -> bool:
        return self._busy or bool(self._records) or self._save_plan or self._save_costs or self._complete is not None

    def _work(self) -> None:
        failures = 0
        while True:
            with self._wake:
                self._busy = self._known is None
                while not self._pending() and not self._closing:
                    self._wake.wait()
                if self._closing:
                    return
                self._busy = True
            try:
                written = self._step()
            except Exception as error:  # noqa: BLE001 - a thread that ended here would hold every record back
                failures += 1
                self._stumble(error, BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1], failures)
            else:
                if written:
                    failures = 0
                    self._recover()

    def _step(self) -> bool:
        """The next thing that is to be done; whether something was written that waited."""
        if self._known is None:
            self._begin()
            return False
        if self._save_plan:
            self._save_plan = False  # one that follows is saved too
            self._tracking.save_plan(self._campaign, self._plan)
        elif self._save_costs:
            self._tracking.save_costs(self._campaign, self._costs)
            self._save_costs = False
        elif self._records:
            record = self._records[0]
            self._records.rotate(-1)  # one that MLflow refuses does not hold up the others
            self._write(record)
            self._records.remove(record)
        elif self._complete is not None:
            if self._doubtful:
                self._sweep()
            self._tracking.end_campaign(self._campaign, complete=self._complete)
            self._complete = None
        return True

    def _begin(self) -> None:
        """Finds or makes the campaign's run, and learns afresh which trials' runs there are."""
        self._campaign = self._tracking.begin_campaign(self._plan)
        known: dict[str, list[TrialRun]] = {}
        # thousands of runs take seconds to list; what fails here or later is listed afresh
        stored, self._stored = self._stored, None
        for run in self._tracking.trial_runs(self._plan.study.name) if stored is None else stored:
            known.setdefault(run.key, []).append(run)
        self._known = known

    def _write(self, record: Record) -> None:
        """Exactly once: what is there of this trial is either this very record, or goes when the new run stands."""
        assert self._known is not None
        runs = self._known.get(record.key, [])
        held = best(runs, [record.key]).get(record.key)
        # a run whose record is damaged counts for nothing
        if held is None or held.status == "failed" or not self._tracking.read([held]):
            trial = self._trials[record.key]
            entry = trial_entry(record, trial, self._arms[trial.arm], self._costs.get(trial.arm, {}))
            weights = self._outbox.weights(record.key)
            name = self._plan.study.name
            run_id = self._tracking.write(name, self._campaign, entry, record.to_json(), weights)
            held = TrialRun(run_id, record.key, record.status, True, "", entry.start_ms)
        for run in runs:
            if run.run_id != held.run_id:
                self._tracking.delete(run.run_id)
        self._known[record.key] = [held]
        if record.status == "failed":
            self._outbox.forget(record.key)  # it is run again, and goes on from its checkpoint
        elif not self._keep:
            self._outbox.settle(record.key)

    def _sweep(self) -> None:
        """Removes runs that a server made so long after a call had broken off that nobody has seen them."""
        runs = self._tracking.trial_runs(self._plan.study.name)
        counting = best(runs, self._trials)
        for run in runs:
            if run.key in counting and run != counting[run.key]:
                self._tracking.delete(run.run_id)
        self._doubtful = False

    def _stumble(self, error: Exception, wait_s: float, failures: int) -> None:
        self._stumbling = self._doubtful = True
        self._stored = self._known = (
            None  # a call that failed may have been carried out all the same, so what is there is read again
        )
        if failures == 2 and not self.problem:
            self._say(f"{error} Training goes on; records wait in {self._outbox.trials}.")
        with self._wake:
            self.problem = str(error) if failures > 1 else self.problem
            if not self._closing:
                self._wake.wait_for(lambda: self._closing, timeout=wait_s)

    def _recover(self) -> None:
        with self._wake:
            self._moved = time.monotonic()
            self._stumbling = False
            self._wake.notify_all()
        if self.problem:
            self.problem = ""
            self._say(f"MLflow at {self._tracking.name} answers again.")
