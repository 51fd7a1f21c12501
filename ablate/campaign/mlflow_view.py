"""The view that people browse, and the way to other machines: MLflow. Each record is an artifact of its trial's run.

An experiment a study; below it a run a campaign, a run an arm, and a run a trial. A trial's run carries the tag
``ablate.complete``, written last; a run of this writer without it was cut off and is replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.campaign.mlflow_inputs import data_input
from ablate.campaign.mlflow_model import MODEL, model_folder
from ablate.campaign.mlflow_page import experiment_tags
from ablate.campaign.mlflow_payload import (
    ARM,
    CAMPAIGN,
    COMPLETE,
    DIGEST,
    KEY,
    KIND,
    MODEL_TAG,
    RECORD,
    SEARCH,
    STATUS,
    TRIAL,
    WRITER,
    Metrics,
    Payload,
    arm_metrics,
    arm_payload,
    campaign_payload,
    search_payload,
    shown,
    trial_payload,
)
from ablate.campaign.mlflow_store import MlflowStore, local_folder, sent_once
from ablate.campaign.options import ArmCosts
from ablate.campaign.views import Conclusion, Item, ViewError, file_state
from ablate.design.plan import Arm, CampaignPlan, Trial

if TYPE_CHECKING:
    from mlflow.entities import Run, RunInfo

PAGE = 1000
BATCH = 1000  # metrics in one call, MLflow's own limit
READERS = 8
RECORD_FILE, PLAN_FILE = "record.json", "plan.json"


@dataclass(frozen=True)
class TrialRun:
    """A trial's run in MLflow; ``digest`` is empty in one that was written by ablate 0.1."""

    run_id: str
    key: str
    digest: str
    status: str
    complete: bool
    writer: str
    start_ms: int
    artifacts: str
    has_model: bool = False

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Of the runs of one trial the one of highest rank counts: an outcome before a failure, then the newest."""
        return self.status != "failed", self.start_ms, self.run_id


class MlflowView:
    """One MLflow store as a view of the records.

    Args:
        uri: of the store; see ``MlflowStore``.
        runs: the runs folder.
        sealed: the text of the sealed plan, which the campaign's run keeps so that other machines can report.
    """

    def __init__(self, uri: str, runs: Path, sealed: str = "") -> None:
        self.store = MlflowStore(uri, runs / "artifacts")
        self._sealed = sealed
        self._folder = runs
        place = f"{socket.gethostname()}:{runs}".encode(errors="surrogateescape")
        self._writer = hashlib.sha256(place).hexdigest()[:16]
        self._campaign = ""
        self._arms: dict[str, str] = {}
        self._runs: dict[str, TrialRun] = {}

    @property
    def name(self) -> str:
        """See ``View.name``."""
        return self.store.name

    @property
    def exists(self) -> bool:
        """False for an sqlite file that is not there yet."""
        return self.store.exists

    def load(self) -> None:
        """See ``View.load``."""
        self.store.load()

    def state(self) -> list[Any] | None:
        """See ``View.state``; a server has to be asked."""
        return None if self.store.file is None else file_state(self.store.file)

    def close(self) -> None:
        """See ``View.close``."""
        self.store.disconnect()

    # Reading

    def trial_runs(self, study: str) -> list[TrialRun]:
        """Every run of a trial in the study's experiment."""
        with self.store.answers():
            experiment = self._experiment(study)
            runs = self._search(experiment, f"tags.`{KIND}` = '{TRIAL}'") if experiment else []
            return [_trial_run(run) for run in runs]

    def held(self, plan: CampaignPlan) -> dict[str, str]:
        """Digest by key of the records of the study that the store holds. Changes nothing.

        Raises:
            ViewError: the store does not answer, or its file is damaged.
        """
        if damage := self.store.damage:
            raise ViewError(f"{self.name} {damage}")
        return {key: run.digest for key, run in counting(self.trial_runs(plan.study.name)).items()}

    def pull(self, study: str, keys: Iterable[str]) -> dict[str, str]:
        """The records of these trials as text, by key, from whichever campaign of the study; failures are left out."""
        wanted = set(keys)
        if not wanted or not self.store.exists:
            return {}
        runs = counting(run for run in self.trial_runs(study) if run.key in wanted and run.status != "failed")
        with self.store.answers(), ThreadPoolExecutor(READERS) as pool:
            texts = pool.map(lambda run: self._text(run.run_id, run.artifacts, RECORD_FILE), runs.values())
            return {key: text for key, text in zip(runs, texts, strict=True) if text}

    def pull_plan(self, study: str, digest: str | None) -> str:
        """The sealed plan of the newest campaign whose digest begins so, as text; empty where there is none."""
        with self.store.answers():
            experiment = self._experiment(study) if self.store.exists else None
            which = f" AND tags.`{DIGEST}` LIKE '{digest}%'" if digest else ""
            runs = self._search(experiment, f"tags.`{KIND}` = '{CAMPAIGN}'{which}") if experiment else []
            texts = (self._text(run.info.run_id, run.info.artifact_uri, PLAN_FILE) for run in reversed(runs))
            return next((text for text in texts if text), "")

    # Writing: by one thread alone

    def known(self, plan: CampaignPlan, costs: ArmCosts) -> dict[str, str]:
        """See ``View.known``; of several runs of one trial all but one are deleted."""
        with self.store.answers():
            self._begin(plan, costs)
        runs = self.trial_runs(plan.study.name)
        self._runs = counting(runs)
        with self.store.answers():
            for run in runs:
                of_another = not run.complete and run.writer != self._writer
                if run is not self._runs.get(run.key) and not of_another:
                    self._delete(run.run_id)
        return {key: run.digest for key, run in self._runs.items()}

    def push(self, plan: CampaignPlan, item: Item, costs: ArmCosts) -> str:
        """See ``View.push``. Another machine's record of the same trial that is newer stays."""
        held = self._runs.get(item.record.key)
        payload = trial_payload(plan, item, costs.get(item.trial.arm, {}))
        if held is not None and not held.digest and held.status != "failed":
            return held.digest  # of ablate 0.1, which kept no digest
        if held is not None and held.rank[:2] > (payload.ok, payload.start_ms):
            return held.digest
        with self.store.answers():
            run_id = self._write(plan, item, payload, self._parent(plan, item.trial, costs))
            if held is not None:
                self._delete(held.run_id)
        status = item.record.status
        self._runs[item.record.key] = TrialRun(
            run_id, item.record.key, item.digest, status, True, self._writer, payload.start_ms, ""
        )
        return item.digest

    def finish(self, plan: CampaignPlan, items: Sequence[Item], conclusion: Conclusion, costs: ArmCosts) -> None:
        """See ``View.finish``: mean and interval of every arm; verdicts, report and state of the campaign."""
        records = {item.record.key: item.record for item in items}
        with self.store.answers():
            client = self.store.client
            self._add_models(records)
            status = "FINISHED" if conclusion.complete else "KILLED"
            for arm in plan.arms:
                mine = [records[trial.key] for trial in plan.arm_trials(arm.name) if trial.key in records]
                run_id = self._arm_run(plan, arm, costs)
                self._log(run_id, Payload(name="", tags={}, metrics=arm_metrics(plan, mine)))
                client.set_terminated(run_id, status)
            if SEARCH in self._arms and plan.search:
                client.set_terminated(self._arms[SEARCH], status)
            metrics: Metrics = tuple((name, shown(value), 0) for name, value in conclusion.metrics.items())
            self._log(self._campaign, Payload(name="", tags={}, metrics=metrics))
            if conclusion.note:
                client.set_tag(self._campaign, "mlflow.note.content", conclusion.note)
            if conclusion.report is not None and conclusion.report.is_dir():
                client.log_artifacts(self._campaign, str(conclusion.report), "report")
            client.set_terminated(self._campaign, status)

    def _add_models(self, keys: Iterable[str]) -> None:
        """Trained nets that MLflow can load, to the runs that lack them."""
        for run in [self._runs[key] for key in keys if key in self._runs and not self._runs[key].has_model]:
            if (folder := model_folder(self._folder, run.key)).is_dir():
                self.store.client.log_artifacts(run.run_id, str(folder), MODEL)
                self.store.client.set_tag(run.run_id, MODEL_TAG, MODEL)

    def _begin(self, plan: CampaignPlan, costs: ArmCosts) -> None:
        """Finds or makes the campaign's run and those of its arms."""
        study = plan.study
        experiment = self._experiment(study.name, create=True)
        found = self._search(experiment, f"tags.`{DIGEST}` = '{study.digest}'")
        campaigns = [run.info.run_id for run in found if run.data.tags.get(KIND) == CAMPAIGN]
        self._arms = {run.data.tags["arm"]: run.info.run_id for run in found if run.data.tags.get(KIND) == ARM}
        if campaigns:
            self._campaign = campaigns[0]
            self.store.client.update_run(self._campaign, status="RUNNING")
        else:
            self._campaign = str(self._create(experiment, campaign_payload(plan), "").run_id)
        for name, value in experiment_tags(plan).items():
            self.store.client.set_experiment_tag(str(experiment), name, value)
        if self._sealed:
            self.store.client.log_text(self._campaign, self._sealed, PLAN_FILE)
        for arm in plan.arms:
            self._arm_run(plan, arm, costs)

    def _parent(self, plan: CampaignPlan, trial: Trial, costs: ArmCosts) -> str:
        """The run that a trial's run is below: its arm's, the search's or the campaign's."""
        if trial.phase in ("search", "timed"):
            return self._arm_run(plan, None, costs)
        arm = next((arm for arm in plan.arms if arm.name == trial.arm), None)  # none: another name at another level
        return self._campaign if arm is None else self._arm_run(plan, arm, costs)

    def _arm_run(self, plan: CampaignPlan, arm: Arm | None, costs: ArmCosts) -> str:
        """The run of an arm, or, for None, of a search; made where it is not there yet."""
        name = SEARCH if arm is None else arm.name
        if name not in self._arms:
            payload = search_payload(plan) if arm is None else arm_payload(plan, arm, costs.get(name, {}))
            experiment = self._experiment(plan.study.name, create=True)
            self._arms[name] = str(self._create(experiment, payload, self._campaign).run_id)
        return self._arms[name]

    def _write(self, plan: CampaignPlan, item: Item, payload: Payload, parent: str) -> str:
        """Writes a trial's run. Cut off at any point, it leaves a run that is not complete."""
        client = self.store.client
        info = self._create(self._experiment(plan.study.name, create=True), payload, parent, log=False)
        run_id = str(info.run_id)
        at = plan.at(item.trial)
        client.log_inputs(run_id, datasets=[data_input((at.plan if at else plan).data, item.trial.data)])
        self._attach(info, item.text, RECORD_FILE)
        if item.weights is not None:
            client.log_artifact(run_id, str(item.weights))
        client.set_terminated(run_id, "FINISHED" if payload.ok else "FAILED", payload.end_ms or None)
        self._log(run_id, payload, complete=True)
        return run_id

    def _delete(self, run_id: str) -> None:
        with contextlib.suppress(Exception):  # another dispatcher may have deleted it already
            self.store.client.delete_run(run_id)

    def _experiment(self, study: str, *, create: bool = False) -> str | None:
        client = self.store.client
        experiment = client.get_experiment_by_name(study)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise ViewError(
                f"{self.name}: the experiment {study!r} was deleted in MLflow; restore it there, or rename the study"
            )
        if experiment is not None:
            if self.store.is_server and local_folder(experiment.artifact_location) is not None:
                raise ViewError(
                    f"{self.name}: keeps artifacts in {experiment.artifact_location}, a folder of this machine that "
                    f"the server has chosen; start the server with --artifacts-destination"
                )
            return str(experiment.experiment_id)
        if not create:
            return None
        place = None if self.store.is_server else (self.store.artifacts / study).as_uri()
        client.create_experiment(study, artifact_location=place)
        return self._experiment(study)

    def _search(self, experiment: str | None, which: str) -> list[Run]:
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.store.client.search_runs(
                [str(experiment)], which, max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _create(self, experiment: str | None, payload: Payload, parent: str, *, log: bool = True) -> RunInfo:
        tags = payload.tags | {WRITER: self._writer} | ({"mlflow.parentRunId": parent} if parent else {})
        with sent_once():
            run = self.store.client.create_run(str(experiment), payload.start_ms or None, tags, payload.name)
        if log:
            self._log(run.info.run_id, payload)
        info: RunInfo = run.info
        return info

    def _log(self, run_id: str, payload: Payload, *, complete: bool = False) -> None:
        from mlflow.entities import Metric, Param, RunTag

        when = payload.end_ms or payload.start_ms
        metrics = [Metric(name, value, when, step) for name, value, step in payload.metrics]
        while len(metrics) > BATCH:
            self.store.client.log_batch(run_id, metrics=metrics[:BATCH])
            metrics = metrics[BATCH:]
        params = [Param(name, value) for name, value in payload.params.items()]
        tags = [RunTag(COMPLETE, "yes")] if complete else []  # MLflow writes tags last
        self.store.client.log_batch(run_id, metrics=metrics, params=params, tags=tags)

    def _attach(self, run: RunInfo, text: str, name: str) -> None:
        """A text as an artifact of a run; MLflow's client would ask the store for the run again."""
        folder = None if self.store.is_server else local_folder(run.artifact_uri)
        if folder is None:
            self.store.client.log_text(run.run_id, text, name)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")

    def _text(self, run_id: str, artifacts: str, name: str) -> str:
        """An artifact's text; empty where it is not there or no text."""
        folder = None if self.store.is_server else local_folder(artifacts)
        try:
            if folder is not None:
                return (folder / name).read_text(encoding="utf-8")
            if all(file.path != name for file in self.store.client.list_artifacts(run_id)):
                return ""
            with tempfile.TemporaryDirectory() as place:
                return Path(self.store.client.download_artifacts(run_id, name, place)).read_text(encoding="utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return ""


def counting(runs: Iterable[TrialRun]) -> dict[str, TrialRun]:
    """The complete run that counts for each trial."""
    found: dict[str, TrialRun] = {}
    for run in runs:
        if run.complete and (run.key not in found or run.rank > found[run.key].rank):
            found[run.key] = run
    return found


def _trial_run(run: Run) -> TrialRun:
    tags = run.data.tags
    return TrialRun(
        run_id=run.info.run_id,
        key=tags.get(KEY, ""),
        digest=tags.get(RECORD, ""),
        status=tags.get(STATUS, ""),
        complete=COMPLETE in tags,
        writer=tags.get(WRITER, ""),
        start_ms=run.info.start_time or 0,
        artifacts=run.info.artifact_uri,
        has_model=MODEL_TAG in tags,
    )
