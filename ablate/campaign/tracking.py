"""MLflow: the record that people browse, and the truth about which trials are done.

An experiment a study, a parent run a campaign, a child run a trial. A trial's run carries the tag ``ablate.complete``,
written last; a run without it was cut off and is replaced.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.campaign.entries import (
    CAMPAIGN,
    COMPLETE,
    DIGEST,
    KEPT,
    KEY,
    KIND,
    STATUS,
    TRIAL,
    Costs,
    Entry,
    campaign_entry,
)
from ablate.campaign.kept import checksum
from ablate.campaign.stored import CampaignRun, TrialRun, best, is_server, local_folder, sqlite_file
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.errors import AblateError
from ablate.files import make_whole
from ablate.paths import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 1000
BATCH = 1000  # metrics in one call, MLflow's own limit
READERS = 8
RECORD, PLAN, COSTS, STUDY = "record.json", "plan.json", "costs.json", "study.json"
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# A server that is away is noticed in seconds; whoever calls tries again.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    RETRIES: "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class TrackingError(AblateError):
    """MLflow does not answer, or refuses; the message says which store and why."""


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign as MLflow holds it.

    Attributes:
        run_id: of its parent run.
        plan: what was to be done.
        costs: arm -> cost field -> number.
        records: trial key -> Record, of the trials that have one.
    """

    run_id: str
    plan: CampaignPlan
    costs: dict[str, dict[str, float | int | None]]
    records: dict[str, Record]


class Tracking:
    """One MLflow store.

    Args:
        uri: of the store: ``sqlite:///...``, another database, or the address of a server.
        artifacts: where files are kept if the store is a database; a server has its own place.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri = uri
        self._artifacts = artifacts
        self._connected: MlflowClient | None = None
        self._lock = threading.Lock()
        self._experiments: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The store as a message names it."""
        return redact(self.uri)

    @property
    def exists(self) -> bool:
        """False for an sqlite file that is not there yet, so that nothing can be in it."""
        file = sqlite_file(self.uri)
        return file is None or file.exists()

    @property
    def is_file(self) -> bool:
        """Whether the store is an sqlite file of this machine."""
        return sqlite_file(self.uri) is not None

    # Reading

    def trial_runs(self, study: str) -> list[TrialRun]:
        """Every run of a trial in the study's experiment, oldest first."""
        with self._answers():
            experiment = self._experiment(study)
            runs = self._search(experiment, f"tags.`{KIND}` = '{TRIAL}'") if experiment else []
            return [_trial_run(run) for run in runs]

    def read(self, runs: Sequence[TrialRun]) -> dict[str, Record]:
        """The records of these runs; one that is missing or damaged is left out."""
        with self._answers(), ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(self._read_record, runs))
        return {record.key: record for record in found if record is not None}

    def records(self, study: str, keys: Iterable[str]) -> dict[str, Record]:
        """The records of these trials, from whichever campaign of the study."""
        return self.read(list(best(self.trial_runs(study), keys).values()))

    def load_campaign(self, study: str, digest: str | None = None) -> Campaign:
        """A campaign read back, the newest of the study if ``digest`` is None.

        Raises:
            AblateError: there is none, or it cannot be read.
        """
        found = self.find_campaign(study, digest) if self.exists else None
        if found is None:
            which = f" {digest}" if digest else ""
            raise AblateError(f"{self.name}: holds no campaign{which} of the study {study!r}; run the study first")
        plan = self.plan(found)
        records = self.records(study, [trial.key for trial in (*plan.trials, *plan.tuning_trials)])
        return Campaign(run_id=found.run_id, plan=plan, costs=self.costs(found), records=records)

    def plan(self, campaign: CampaignRun) -> CampaignPlan:
        """The plan that a campaign's run holds."""
        return CampaignPlan.from_json(self._text(campaign, PLAN))

    def find_campaign(self, study: str, digest: str | None) -> CampaignRun | None:
        """The run of a campaign, the newest where several fit, or None."""
        with self._answers():
            experiment = self._experiment(study)
            if experiment is None:
                return None
            which = f" AND tags.`{DIGEST}` = '{digest}'" if digest else ""
            runs = self._search(experiment, f"tags.`{KIND}` = '{CAMPAIGN}'{which}")
            if not runs:
                return None
            newest = runs[-1].info
            return CampaignRun(newest.run_id, newest.artifact_uri, newest.status == "RUNNING")

    def costs(self, campaign: CampaignRun) -> dict[str, dict[str, float | int | None]]:
        """The costs that the campaign holds, by arm; empty if it holds none."""
        costs: dict[str, dict[str, float | int | None]] = json.loads(self._text(campaign, COSTS, missing="{}"))
        return costs

    # Writing: by one thread alone

    def begin_campaign(self, plan: CampaignPlan) -> str:
        """The id of the campaign's parent run, which is made if it is not there, and is running from now on."""
        study = plan.study
        self._experiments.clear()  # a server that was away may have come back another
        found = self.find_campaign(study.name, study.digest)
        with self._answers():
            if found is None:
                run_id = self._create(self._experiment(study.name, create=True), campaign_entry(plan), "")
            else:
                run_id = found.run_id
                self._client.update_run(run_id, status="RUNNING")
            self._client.log_text(run_id, plan.to_json(), PLAN)
            self._client.log_text(run_id, study.model_dump_json(indent=2), STUDY)
        return run_id

    def save_plan(self, campaign: str, plan: CampaignPlan) -> None:
        """Keeps the plan as it has grown with the campaign."""
        with self._answers():
            self._client.log_text(campaign, plan.to_json(), PLAN)

    def save_costs(self, campaign: str, costs: Mapping[str, Costs]) -> None:
        """Keeps the arms' costs with the campaign."""
        with self._answers():
            self._client.log_text(campaign, json.dumps({arm: dict(cost) for arm, cost in costs.items()}), COSTS)

    def end_campaign(self, campaign: str, *, complete: bool) -> None:
        """Closes the parent run: finished, or killed where trials are missing still."""
        with self._answers():
            self._client.set_terminated(campaign, "FINISHED" if complete else "KILLED")

    def write(self, study: str, campaign: str, entry: Entry, record: str, weights: Path | None = None) -> str:
        """Writes a trial's run and returns its id. Cut off at any point, it leaves a run that is not complete."""
        if weights is not None:
            entry = replace(entry, tags={**entry.tags, KEPT: checksum(weights)})
        with self._answers():
            run_id = self._create(self._experiment(study, create=True), entry, campaign)
            self._client.log_text(run_id, record, RECORD)
            if weights is not None:
                self._client.log_artifact(run_id, str(weights))
            self._client.set_terminated(run_id, "FINISHED" if entry.ok else "FAILED", entry.end_ms or None)
            self._log(run_id, entry)
        return run_id

    def delete(self, run_id: str) -> None:
        """Takes a run out of sight."""
        with self._answers():
            self._client.delete_run(run_id)

    def log_report(self, campaign: str, folder: Path, note: str = "") -> None:
        """Keeps a report's files under ``report/`` of the campaign's run, and the verdicts (markdown) as its note."""
        with self._answers():
            self._client.log_artifacts(campaign, str(folder), "report")
            if note:
                self._client.set_tag(campaign, "mlflow.note.content", note)

    # MLflow itself

    @property
    def _client(self) -> MlflowClient:
        with self._lock:
            if self._connected is None:
                self._connected = _connect(self.uri)
            return self._connected

    def _answers(self) -> _Answers:
        return _Answers(self.uri)

    def _experiment(self, study: str, *, create: bool = False) -> str | None:
        if study in self._experiments:
            return self._experiments[study]
        found = self._find_experiment(study, create)
        if found is not None:
            self._experiments[study] = found
        return found

    def _find_experiment(self, study: str, create: bool) -> str | None:
        experiment = self._client.get_experiment_by_name(study)
        if experiment is not None and experiment.lifecycle_stage == "deleted":
            raise TrackingError(
                f"{self.name}: the experiment {study!r} was deleted in MLflow; "
                f"restore it there, or give the study another name"
            )
        if experiment is not None:
            return str(experiment.experiment_id)
        if not create:
            return None
        place = None if is_server(self.uri) else (self._artifacts.resolve() / study).as_uri()
        return str(self._client.create_experiment(study, artifact_location=place))

    def _search(self, experiment: str, which: str) -> list[Run]:
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [experiment], which, max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _create(self, experiment: str | None, entry: Entry, parent: str) -> str:
        tags = dict(entry.tags) | ({"mlflow.parentRunId": parent} if parent else {})
        client = self._client
        with _once():
            run = client.create_run(str(experiment), entry.start_ms or None, tags, entry.name)
        if not parent and entry.params:
            self._log(run.info.run_id, entry)
        return str(run.info.run_id)

    def _log(self, run_id: str, entry: Entry) -> None:
        from mlflow.entities import Metric, Param, RunTag

        when = entry.end_ms or entry.start_ms
        metrics = [Metric(name, value, when, step) for name, value, step in entry.metrics]
        while len(metrics) > BATCH:
            self._client.log_batch(run_id, metrics=metrics[:BATCH])
            metrics = metrics[BATCH:]
        params = [Param(name, value) for name, value in entry.params.items()]
        self._client.log_batch(run_id, metrics=metrics, params=params, tags=[RunTag(COMPLETE, "yes")])  # tags go last

    def _read_record(self, run: TrialRun) -> Record | None:
        try:
            record = Record.from_json(self._text(run, RECORD))
        except TrackingError:
            raise
        except AblateError:
            return None
        return record if record.key == run.key else None

    def _text(self, run: TrialRun | CampaignRun, name: str, missing: str | None = None) -> str:
        """An artifact's text; ``missing``, or an AblateError, where it is not there."""
        folder = local_folder(run.artifacts)
        try:
            if folder is not None:
                return (folder / name).read_text()
            with self._answers():
                if all(file.path != name for file in self._client.list_artifacts(run.run_id)):
                    raise FileNotFoundError(name)
                with tempfile.TemporaryDirectory() as place:
                    return Path(self._client.download_artifacts(run.run_id, name, place)).read_text()
        except (FileNotFoundError, UnicodeDecodeError) as error:
            if missing is not None:
                return missing
            raise AblateError(f"{self.name}: run {run.run_id} has no readable {name}") from error


class _Answers:
    """Turns whatever MLflow raises into a TrackingError of one sentence; FileNotFoundError and our own pass."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, AblateError | FileNotFoundError):
            lines = str(error).strip().splitlines() or [type(error).__name__]
            said = f"MLflow at {self._uri} does not answer as it should: {lines[0]}"  # which may repeat the address
            raise TrackingError(redact(said)[:400]) from error


@contextlib.contextmanager
def _once() -> Iterator[None]:
    """Has the client send a request once: it repeats even those that make a run, and nobody would know of the first."""
    before = os.environ[RETRIES]
    os.environ[RETRIES] = "0"  # the client looks there at every request
    try:
        yield
    finally:
        os.environ[RETRIES] = before


def _trial_run(run: Run) -> TrialRun:
    tags = run.data.tags
    return TrialRun(
        run.info.run_id,
        tags.get(KEY, ""),
        tags.get(STATUS, ""),
        COMPLETE in tags,
        run.info.artifact_uri,
        run.info.start_time or 0,
        tags.get(KEPT, ""),
    )


def _connect(uri: str) -> MlflowClient:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        # half of its tables would be a store that MLflow can neither use nor mend
        make_whole(file, lambda new: MlflowClient(tracking_uri=f"sqlite:///{new}").search_experiments(max_results=1))
    return MlflowClient(tracking_uri=uri)
