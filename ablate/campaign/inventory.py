"""What a campaign needs and what there is of it: the agenda, followed as far as records on disk and in MLflow go."""

from __future__ import annotations

from collections.abc import Callable

from ablate.campaign.agenda import Agenda
from ablate.campaign.costs import ArmCosts
from ablate.campaign.outbox import Outbox
from ablate.campaign.stored import TrialRun, best
from ablate.campaign.tracking import Tracking, TrackingError
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record


class Inventory:
    """The needs of one campaign, and its records.

    Args:
        plan: as made from the study.
        tracking: the store; read here before anything is written to it.
        outbox: where records wait.
        say: told what is wrong with the store or a record.

    Attributes:
        trials: what is needed so far, by key, in the order to run them.
        records: of these, failures included.
        unsent: records that lie on disk and were not yet handed to MLflow.
        store_is_away: whether MLflow cannot be read, so that what it holds is not known.
        stored: the runs of the study's trials in MLflow; None where it cannot be read.
        is_open: whether an earlier call was cut off before it could close the campaign's run in MLflow.
        costs: of the arms, as MLflow has them.
    """

    def __init__(self, plan: CampaignPlan, tracking: Tracking, outbox: Outbox, say: Callable[[str], None]) -> None:
        self._study = plan.study
        self._tracking = tracking
        self._outbox = outbox
        self._say = say
        self._agenda = Agenda(plan)
        self._again: set[str] = set()  # failed in an earlier call, and not yet run again
        self._moved = False
        self.needs = self._agenda.needs({})
        self.trials: dict[str, Trial] = {}
        self.records: dict[str, Record] = {}
        self.unsent: dict[str, Record] = {}
        self.store_is_away = False
        self.stored: list[TrialRun] | None = []
        self.is_open = False
        self.costs: ArmCosts = {}
        if tracking.exists:
            self._open_store()

    def _open_store(self) -> None:
        try:
            found = self._tracking.find_campaign(self._study.name, self._study.digest)
            self.costs, self.is_open = (self._tracking.costs(found), found.running) if found else ({}, False)
            self.stored = self._tracking.trial_runs(self._study.name)
        except TrackingError as error:
            self._lose_store(error)

    def _lose_store(self, error: TrackingError) -> None:
        if self._tracking.is_file and self._tracking.exists:
            raise error
        self._say(f"{error} What is already done is taken from the queue alone.")
        self.store_is_away, self.stored = True, None

    @property
    def has_moved(self) -> bool:
        """Whether a record came since the last look."""
        return self._moved

    @property
    def complete(self) -> bool:
        """Whether everything that is needed, given the records, has one."""
        outcomes = self._outcomes()
        return all(trial.key in outcomes for trial in self._agenda.needs(outcomes).trials)

    def look(self) -> list[str]:
        """Follows the agenda as far as the records go; the keys of the trials that are new in it.

        Raises:
            TrackingError: the store is a file, and cannot be read.
        """
        known = len(self.trials)
        self._moved = False
        while True:
            self.needs = self._agenda.needs(self._outcomes())
            new: dict[str, Trial] = {}
            for trial in self.needs.trials:
                if trial.key not in self.trials:
                    new.setdefault(trial.key, trial)
            if not new:
                return list(self.trials)[known:]
            self.trials |= new
            self._take_up(list(new))

    def has_outcome(self, key: str) -> bool:
        """Whether a trial need not be run: it has finished or diverged."""
        return key in self.records and self.records[key].status != "failed"

    def add(self, record: Record) -> None:
        """What came of a trial that was run."""
        self.records[record.key] = record
        self._again.discard(record.key)
        self._moved = True

    def _outcomes(self) -> dict[str, Record]:
        return {key: record for key, record in self.records.items() if key not in self._again}

    def _take_up(self, keys: list[str]) -> None:
        # a failure that waits is not worth writing: its trial is run again now
        waiting = {key: r for key, r in self._outbox.waiting(keys).items() if r.status != "failed"}
        stored = self._read(keys)
        waiting |= self._mended(keys, stored)
        self.records |= {**stored, **waiting}
        self.unsent |= waiting
        self._again |= {key for key in keys if key in self.records and not self.has_outcome(key)}

    def _mended(self, keys: list[str], stored: dict[str, Record]) -> dict[str, Record]:
        """MLflow's records in place of those that are damaged on disk."""
        found = {}
        for path in self._outbox.damaged(keys):
            record = stored.get(path.parent.name)
            if record is None or record.status == "failed":
                self._say(f"{path}: a damaged record was set aside; its trial is run again unless MLflow has it.")
                continue
            self._outbox.put(record)
            path.unlink()
            found[record.key] = record
            self._say(f"{path}: a damaged record was replaced by the one that MLflow has.")
        return found

    def _read(self, keys: list[str]) -> dict[str, Record]:
        runs = best(self.stored or [], keys)
        try:
            found = self._tracking.read(list(runs.values())) if runs else {}
        except TrackingError as error:
            self._lose_store(error)
            return {}
        for key in [key for key in runs if key not in found]:
            trial, where = self.trials[key], f"{self._tracking.uri}: run {runs[key].run_id}"
            self._say(f"{where} of {trial.arm}, seed {trial.seed} has no sound record.json; another run replaces it.")
        return found
