from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import Notes, no_costs, null, outcome, plan_of

from ablate.campaign.dispatch import run_campaign
from ablate.campaign.doctor import REPAIR, RUN_AGAIN, Checkup, Finding, check_campaign, repair_campaign
from ablate.campaign.entries import trial_entry
from ablate.campaign.local import LocalExecutor
from ablate.campaign.lock import held
from ablate.campaign.outbox import Outbox
from ablate.campaign.stored import TrialRun
from ablate.campaign.tracking import Tracking
from ablate.errors import AblateError
from ablate.reporting.preview import print_checkup

PLAN = plan_of("control", seeds=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("finished") / "runs"
    run_campaign(PLAN, runs=runs, prepare=no_costs, executor=LocalExecutor(2, train=null, preload=()))
    return runs


@pytest.fixture
def runs(finished: Path) -> Path:
    """A campaign at rest; where it lies is written in its store, so each test mends what it breaks."""
    return finished


def store(runs: Path) -> Tracking:
    return Tracking(f"sqlite:///{runs}/mlflow.db", runs / "artifacts")


def stored(runs: Path) -> list[TrialRun]:
    return store(runs).trial_runs("faults")


def messages(checkup: Checkup) -> list[tuple[str, str]]:
    return [(finding.what, finding.remedy) for finding in checkup.findings]


def repaired(runs: Path) -> Checkup:
    checkup = repair_campaign(PLAN, runs=runs)
    assert checkup.repaired
    return checkup


def write_again(runs: Path, *, complete: bool) -> None:
    """A second run of the first trial."""
    trial, tracking = PLAN.trials[0], store(runs)
    entry = trial_entry(outcome(trial), trial, PLAN.arms[0], {})
    found = tracking.find_campaign("faults", None)
    assert found is not None
    if complete:
        tracking.write("faults", found.run_id, entry, outcome(trial).to_json())
    else:
        tracking._create(tracking._experiment("faults"), entry, found.run_id)


def test_a_finished_campaign_is_sound_and_repair_changes_nothing(runs: Path) -> None:
    before = stored(runs)
    checkup = check_campaign(PLAN, runs=runs)
    assert (checkup.sound, checkup.trials, checkup.records, checkup.repaired) == (True, 3, 3, ())
    assert repair_campaign(PLAN, runs=runs) == checkup
    assert stored(runs) == before


@pytest.mark.parametrize("complete", [True, False])
def test_a_run_too_many_or_cut_off_is_found_and_removed(runs: Path, complete: bool) -> None:
    write_again(runs, complete=complete)
    checkup = check_campaign(PLAN, runs=runs)
    assert messages(checkup) == [("run", REPAIR)]
    assert ("one run too many" if complete else "cut off") in checkup.findings[0].message
    assert "control, seed 0" in checkup.findings[0].message
    assert repaired(runs).sound
    assert len(stored(runs)) == 3


def damage_artifact(runs: Path, damage: str) -> None:
    artifact = Path(stored(runs)[0].artifacts.removeprefix("file://")) / "record.json"
    text = artifact.read_text()
    if damage == "missing":
        artifact.unlink()
    else:
        artifact.write_text(text.replace('"seed": ', '"seed": 4'))


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_an_artifact_that_does_not_match_its_checksum_is_found_and_its_trial_is_to_be_run_again(
    runs: Path, damage: str
) -> None:
    damage_artifact(runs, damage)
    assert messages(check_campaign(PLAN, runs=runs)) == [("artifact", REPAIR), ("trial", RUN_AGAIN)]
    assert messages(repaired(runs)) == [("trial", RUN_AGAIN)]
    result = run_campaign(PLAN, runs=runs, prepare=no_costs, executor=LocalExecutor(1, train=null, preload=()))
    assert result.trained == 1
    assert check_campaign(PLAN, runs=runs).sound


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_the_next_call_replaces_a_run_whose_artifact_is_damaged_and_says_so(runs: Path, damage: str) -> None:
    damaged, notes = stored(runs)[0], Notes()
    damage_artifact(runs, damage)
    executor = LocalExecutor(1, train=null, preload=())
    result = run_campaign(PLAN, runs=runs, prepare=no_costs, executor=executor, observer=notes)
    assert result.trained == 1
    assert len(notes.messages) == 1
    assert f"run {damaged.run_id} of control, seed" in notes.messages[0]
    assert damaged not in stored(runs)
    assert check_campaign(PLAN, runs=runs).sound


def test_a_record_on_disk_is_found_and_written(runs: Path) -> None:
    for run in stored(runs):
        store(runs).delete(run.run_id)
    for trial in PLAN.trials:
        Outbox.of(runs, PLAN.study.name).put(outcome(trial))
    assert messages(check_campaign(PLAN, runs=runs)) == [("disk", REPAIR)] * 3
    assert repaired(runs).sound
    assert len(stored(runs)) == 3
    assert not list((runs / "trials" / PLAN.study.name).iterdir())


def test_a_damaged_record_on_disk_is_found_and_removed(runs: Path) -> None:
    folder = Outbox.of(runs, PLAN.study.name).folder(PLAN.trials[0].key)
    folder.mkdir(parents=True)
    (folder / "record.json").write_bytes(b"\xff half a rec")
    assert messages(check_campaign(PLAN, runs=runs)) == [("disk", REPAIR)]
    assert (folder / "record.json").exists()
    assert repaired(runs).sound


def test_a_lost_queue_is_found_and_rebuilt(runs: Path) -> None:
    (runs / "queue.db").write_bytes(b"no database at all, only words " * 50)
    assert messages(check_campaign(PLAN, runs=runs)) == [("queue", REPAIR)]
    assert repaired(runs).sound
    (runs / "queue.db").unlink()
    checkup = check_campaign(PLAN, runs=runs)
    assert "does not know that 3 trials are done" in checkup.findings[0].message
    assert repaired(runs).sound


def test_a_lost_campaign_run_is_found_and_made_again(runs: Path) -> None:
    tracking = store(runs)
    found = tracking.find_campaign("faults", None)
    assert found is not None
    tracking.delete(found.run_id)
    assert messages(check_campaign(PLAN, runs=runs)) == [("campaign", REPAIR)]
    assert repaired(runs).sound
    assert store(runs).load_campaign("faults").plan == PLAN


@pytest.mark.parametrize("by", ["repair", "the next call"])
def test_a_campaign_cut_off_before_its_run_was_closed_is_found_and_closed(runs: Path, by: str) -> None:
    store(runs).begin_campaign(PLAN)
    assert messages(check_campaign(PLAN, runs=runs)) == [("campaign", REPAIR)]
    if by == "repair":
        assert repaired(runs).sound
    else:
        result = run_campaign(PLAN, runs=runs, prepare=no_costs, executor=LocalExecutor(1, train=null, preload=()))
        assert (result.trained, result.missing) == (0, ())
    assert check_campaign(PLAN, runs=runs).sound
    found = store(runs).find_campaign("faults", None)
    assert found is not None
    assert not found.running


def test_failures_and_missing_trials_are_named(tmp_path: Path) -> None:
    plan = plan_of("control", "other", seeds=1)
    failure = replace(outcome(plan.trials[0]), status="failed", reason="killed by SIGKILL\nlast words")
    Outbox.of(tmp_path, plan.study.name).put(failure)
    checkup = check_campaign(plan, runs=tmp_path)
    texts = [finding.message for finding in checkup.findings if finding.what == "trial"]
    assert [text.split(": ", 1)[1] for text in texts] == ["failed: killed by SIGKILL", "has no record"]
    assert not (tmp_path / "mlflow.db").exists()


def test_a_campaign_that_is_being_run_is_left_alone(runs: Path) -> None:
    for look in (check_campaign, repair_campaign):
        with held(runs / "locks" / "faults", "it"), pytest.raises(AblateError, match="is being run by process") as told:
            look(PLAN, runs=runs)
        assert "--join" not in str(told.value)  # the doctor helps nobody


def test_what_the_doctor_saw_is_printed_with_what_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    findings = (Finding("disk", "control, seed 0: its record is not in MLflow yet", REPAIR),)
    print_checkup(Checkup(trials=2, records=1, findings=findings))
    assert capsys.readouterr().out.splitlines() == [
        "disk: control, seed 0: its record is not in MLflow yet (to mend it: --repair)",
        "1 of 2 planned trials have a sound record",
        "something is wrong",
    ]
