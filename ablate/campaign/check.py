"""The doctor: whether a campaign at rest is whole, and how to make it so from what is there."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ablate.campaign.agenda import unfold
from ablate.campaign.disk import writable
from ablate.campaign.kept import REMEDY, weights_faults
from ablate.campaign.ledger import Ledger
from ablate.campaign.lock import held
from ablate.campaign.outbox import Outbox
from ablate.campaign.queue import open_queue, queue_states
from ablate.campaign.salvage import Wreck, look, rescue
from ablate.campaign.server import check_free
from ablate.campaign.stored import TrialRun, best
from ablate.campaign.tracking import Tracking
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.design.study import HIGHER_IS_BETTER
from ablate.errors import AblateError
from ablate.paths import redact
from ablate.paths import tracking_uri as resolve_uri

PATIENCE_S = 15.0
RUN_AGAIN = "run the study"
REPAIR = "--repair"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        what: where it stands: ``store``, ``trial``, ``run``, ``artifact``, ``disk``, ``campaign`` or ``queue``.
        message: a sentence.
        remedy: ``--repair``, ``run the study``, or what else helps.
    """

    what: str
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """What the doctor saw.

    Attributes:
        trials: how many are needed; under ``until = "settled"``, as far as the records tell.
        records: how many of them have a sound record.
        findings: what is wrong; after a repair, what is still wrong.
        repaired: what was wrong before the repair, and is not any more.
    """

    trials: int
    records: int
    findings: tuple[Finding, ...]
    repaired: tuple[Finding, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@dataclass(frozen=True, kw_only=True)
class _Examination:
    findings: tuple[Finding, ...]
    records: dict[str, Record]  # what is sound, from MLflow and from the disk
    waiting: dict[str, Record]  # of these, what MLflow does not have
    useless: tuple[TrialRun, ...]  # runs that count for nothing: cut off, damaged, or one too many


def check_campaign(
    plan: CampaignPlan, *, runs: Path, tracking_uri: str | None = None, queue: str | None = None
) -> Checkup:
    """Looks at a campaign at rest and changes nothing.

    Every planned trial should have exactly one record, every record its run in MLflow with a sound artifact, and the
    queue should know what is done.

    Raises:
        AblateError: the campaign is being run, or MLflow does not answer.
    """
    return _Doctor(plan, runs.resolve(), tracking_uri, queue).checkup(repair=False)


def repair_campaign(
    plan: CampaignPlan, *, runs: Path, tracking_uri: str | None = None, queue: str | None = None
) -> Checkup:
    """Rebuilds MLflow's entries and the queue from what is there, and looks again.

    Raises:
        AblateError: as ``check_campaign``.
    """
    return _Doctor(plan, runs.resolve(), tracking_uri, queue).checkup(repair=True)


class _Doctor:
    def __init__(self, plan: CampaignPlan, runs: Path, tracking_uri: str | None, queue: str | None) -> None:
        self.plan = plan
        self.runs = runs
        self.tracking = Tracking(resolve_uri(runs, tracking_uri), runs / "artifacts")
        self.outbox = Outbox.of(runs, plan.study.name)
        self.wreck = Wreck()
        self.keys: list[str] = []
        self.names: dict[str, str] = {}
        self.queue = queue or runs / "queue.db"
        self.queue_name = f"{plan.study.name} {plan.study.digest}"

    def checkup(self, *, repair: bool) -> Checkup:
        name = self.plan.study.name
        with writable(self.runs), held(self.runs / "locks" / name, f"the study {name!r}"):
            if isinstance(self.queue, str):
                check_free(self.queue, self.queue_name)
            first = last = self._examine()
            if repair and any(finding.remedy == REPAIR for finding in first.findings):
                self._repair(first)
                last = self._examine()
        return Checkup(
            trials=len(self.keys),
            records=len(last.records),
            findings=last.findings,
            repaired=tuple(finding for finding in first.findings if finding not in last.findings),
        )

    def _take_in(self) -> None:
        """Learns which trials the campaign needs, as far as its records tell."""
        self.wreck = look(self.tracking, self.runs, self.plan.study)
        runs = self._stored()

        def read(keys: list[str]) -> dict[str, Record]:
            found = self.tracking.read(list(best(runs, keys).values()))
            on_disk = self._outbox(keys)[0]
            return found | {key: record for key, record in on_disk.items() if _is_better(record, found.get(key))}

        needs, _ = unfold(self.plan, read)
        self.plan = needs.plan
        self.names = {trial.key: f"{trial.arm}, seed {trial.seed} ({trial.key})" for trial in reversed(needs.trials)}
        self.keys = list(dict.fromkeys(trial.key for trial in needs.trials))

    def _examine(self) -> _Examination:
        self._take_in()
        stored = self._trial_runs()
        counting = best(stored, self.keys)
        in_mlflow = self.tracking.read(list(counting.values())) if counting else {}
        on_disk, findings = self._outbox(self.keys)
        damaged = [run for key, run in counting.items() if key not in in_mlflow]
        cut_off = [run for run in stored if not run.complete]
        chosen = {run.run_id for run in counting.values()}
        surplus = [run for run in stored if run.complete and run.run_id not in chosen]
        waiting = {key: record for key, record in on_disk.items() if _is_better(record, in_mlflow.get(key))}
        records = {**in_mlflow, **waiting}

        def describe(runs: list[TrialRun], message: str, what: str = "run") -> list[Finding]:
            return [Finding(what, f"{self.names[run.key]}: run {run.run_id} {message}", REPAIR) for run in runs]

        findings += [Finding("store", self.wreck.loss, REPAIR)] if self.wreck.loss else []
        findings += describe(damaged, "has no record.json that matches its checksum", "artifact")
        findings += self._weights(counting.values())
        findings += describe(cut_off, "was cut off while it was written")
        findings += describe(surplus, "is one run too many for its trial")
        findings += [Finding("disk", f"{self.names[key]}: its record is not in MLflow yet", REPAIR) for key in waiting]
        findings += self._trials(records) + self._campaign(bool(records)) + self._queue(records)
        return _Examination(
            findings=tuple(findings),
            records=records,
            waiting=waiting,
            useless=(*damaged, *cut_off, *surplus),
        )

    def _trial_runs(self) -> list[TrialRun]:
        """The runs of this plan's trials; the experiment may hold other campaigns' too."""
        return [run for run in self._stored() if run.key in self.names]

    def _stored(self) -> list[TrialRun]:
        readable = self.tracking.exists and not self.wreck.unreadable
        return self.tracking.trial_runs(self.plan.study.name) if readable else []

    def _outbox(self, keys: list[str]) -> tuple[dict[str, Record], list[Finding]]:
        found = {key: self.wreck.records[key] for key in keys if key in self.wreck.records}
        findings = []
        for key in self.outbox.here(keys):
            try:
                record = self.outbox.read(key)
            except AblateError as error:
                findings.append(Finding("disk", f"{self.names.get(key, key)}: {error}", REPAIR))
            else:
                found |= {key: record} if record is not None and _is_better(record, found.get(key)) else {}
        return found, findings

    def _weights(self, runs: Iterable[TrialRun]) -> list[Finding]:
        faults = weights_faults(self.plan, runs)
        return [Finding("artifact", f"{self.names[key]}: {fault}", REMEDY) for key, fault in faults.items()]

    def _trials(self, records: dict[str, Record]) -> list[Finding]:
        findings = []
        for key in self.keys:
            if key not in records:
                findings.append(Finding("trial", f"{self.names[key]}: has no record", RUN_AGAIN))
            elif records[key].status == "failed":
                reason = records[key].reason.splitlines()[:1]
                findings.append(Finding("trial", f"{self.names[key]}: failed: {''.join(reason)}", RUN_AGAIN))
        return findings

    def _campaign(self, begun: bool) -> list[Finding]:
        study = self.plan.study
        if not begun or self.wreck.loss:
            return []
        try:
            found = self.tracking.exists and self.tracking.find_campaign(study.name, study.digest)
            if not found:
                return [Finding("campaign", "MLflow has no run of the campaign", REPAIR)]
            self.tracking.plan(found)
        except AblateError as error:
            return [Finding("campaign", str(error), REPAIR)]
        return [Finding("campaign", "MLflow shows it as running, and nobody runs it", REPAIR)] if found.running else []

    def _queue(self, records: dict[str, Record]) -> list[Finding]:
        try:
            states = queue_states(self.queue, self.queue_name)
        except AblateError as error:
            return [Finding("queue", str(error), REPAIR)]
        done = {key for key, state in states if state in ("COMPLETE", "PRUNED")}
        unknown = sum(record.status != "failed" and key not in done for key, record in records.items())
        running = Counter(state for _, state in states)["RUNNING"]
        findings = [f"does not know that {unknown} trials are done"] if unknown else []
        findings += [f"has {running} trials as running that nobody runs"] if running else []
        return [Finding("queue", f"{redact(self.queue)}: {finding}", REPAIR) for finding in findings]

    def _repair(self, seen: _Examination) -> None:
        if self.wreck.loss:
            rescue(self.tracking, self.runs, self.plan.study.name)
        for key in self.outbox.here(self.keys):
            self.outbox.get(key)  # sets a damaged one aside
        for path in self.outbox.damaged(self.keys):
            path.unlink()
        for run in seen.useless:
            self.tracking.delete(run.run_id)
        if seen.records:
            self._write(list(seen.waiting.values()), complete=len(seen.records) == len(self.keys))
        self._rebuild_queue(seen.records)

    def _write(self, waiting: list[Record], *, complete: bool) -> None:
        study = self.plan.study
        found = self.tracking.find_campaign(study.name, study.digest) if self.tracking.exists else None
        costs = self.tracking.costs(found) if found else self.wreck.costs
        messages: list[str] = []
        tell: Callable[[str], None] = messages.append
        ledger = Ledger(self.tracking, self.plan, self.outbox, keep=False, say=tell)
        if costs:
            ledger.set_costs(costs)
        for record in waiting:
            ledger.put(record)
        if ledger.finish(complete=complete, patience_s=PATIENCE_S) or ledger.problem:
            raise AblateError(ledger.problem or f"{self.tracking.name}: MLflow does not take the records")

    def _rebuild_queue(self, records: dict[str, Record]) -> None:
        decision = self.plan.study.decision
        queue, _ = open_queue(self.queue, self.queue_name, maximize=HIGHER_IS_BETTER[decision.metric])
        with contextlib.closing(queue):
            for key, record in records.items():
                if record.status != "failed" and key not in queue.done:
                    queue.learn(key, record.metrics.get(decision.metric))


def _is_better(record: Record, than: Record | None) -> bool:
    """Whether a record on the disk is still to be written, given MLflow's."""
    return than is None or (than.status == "failed" and record.status != "failed")
