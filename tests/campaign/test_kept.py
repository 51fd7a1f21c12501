from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import Notes, no_costs, outcome, plan_of
from instant import Instant

from ablate.campaign.dispatch import run_campaign
from ablate.campaign.doctor import check_campaign, repair_campaign
from ablate.campaign.kept import REMEDY
from ablate.campaign.outbox import Outbox
from ablate.campaign.stored import TrialRun
from ablate.campaign.tracking import Tracking
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record

PLAN = plan_of("control", "diverges", seeds=2)
KEEPING = replace(PLAN, study=PLAN.study.model_copy(update={"keep_weights": True}))
FINISHED = [trial.key for trial in PLAN.trials if trial.arm == "control"]


def run(plan: CampaignPlan, runs: Path, notes: Notes) -> int:
    def train(trial: Trial) -> Record:
        if plan.study.keep_weights:
            folder = Outbox.of(runs, trial.study).folder(trial.key)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "weights.pt").write_bytes(trial.key.encode())
        return outcome(trial)

    return run_campaign(plan, runs=runs, prepare=no_costs, executor=Instant(train), observer=notes).trained


def stored(runs: Path) -> dict[str, TrialRun]:
    return {run.key: run for run in store(runs).trial_runs("faults")}


def store(runs: Path) -> Tracking:
    return Tracking(f"sqlite:///{runs}/mlflow.db", runs / "artifacts")


def test_keep_weights_set_after_the_training_is_answered_with_how_many_trials_have_none(tmp_path: Path) -> None:
    assert run(PLAN, tmp_path, Notes()) == 4
    notes = Notes()
    assert run(KEEPING, tmp_path, notes) == 0
    assert [message[:40] for message in notes.messages] == ["2 finished trials have no weights, since"]
    checkup = check_campaign(KEEPING, runs=tmp_path)
    assert [finding.remedy for finding in checkup.findings] == [REMEDY] * 2
    assert all("before keep_weights was set" in finding.message for finding in checkup.findings)
    assert check_campaign(PLAN, runs=tmp_path).sound

    for key in FINISHED:  # the remedy
        store(tmp_path).delete(stored(tmp_path)[key].run_id)
    notes = Notes()
    assert run(KEEPING, tmp_path, notes) == 2
    assert check_campaign(KEEPING, runs=tmp_path).sound


@pytest.mark.parametrize("harm", ["lost", "changed"])
def test_kept_weights_that_do_not_match_their_checksum_are_found_and_the_record_stays(
    tmp_path: Path, harm: str
) -> None:
    notes = Notes()
    assert run(KEEPING, tmp_path, notes) == 4
    assert not notes.messages
    assert check_campaign(KEEPING, runs=tmp_path).sound
    found = stored(tmp_path)[FINISHED[0]]
    assert found.weights == hashlib.sha256(FINISHED[0].encode()).hexdigest()
    weights = Path(found.artifacts.removeprefix("file://")) / "weights.pt"
    assert weights.read_bytes() == FINISHED[0].encode()
    weights.unlink() if harm == "lost" else weights.write_bytes(b"other")
    for look in (check_campaign, repair_campaign):
        (finding,) = look(KEEPING, runs=tmp_path).findings
        assert "no weights.pt that matches its checksum" in finding.message
        assert finding.remedy == REMEDY
    assert stored(tmp_path)[FINISHED[0]] == found
