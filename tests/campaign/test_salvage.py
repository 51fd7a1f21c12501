from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from fakes import no_costs, outcome, plan_of
from instant import Instant

from ablate.campaign.dispatch import run_campaign
from ablate.campaign.doctor import REPAIR, check_campaign, repair_campaign
from ablate.campaign.lock import held
from ablate.campaign.salvage import damage
from ablate.campaign.tracking import Tracking
from ablate.design.plan import CampaignPlan
from ablate.errors import AblateError

ONE, OTHER = (plan_of("control", "other", seeds=3, name=name) for name in ("one", "other"))


def run(plan: CampaignPlan, runs: Path) -> int:
    return run_campaign(plan, runs=runs, prepare=no_costs, executor=Instant(outcome)).trained


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two campaigns in one file; the first trial of the first has weights."""
    runs = tmp_path_factory.mktemp("finished") / "runs"
    assert [run(plan, runs) for plan in (ONE, OTHER)] == [6, 6]
    (artifacts_of(runs, ONE.trials[0].key) / "weights.pt").write_bytes(b"heavy")
    return runs


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    """A copy, whose file MLflow has not yet opened in this process."""
    return shutil.copytree(finished, tmp_path / "runs")


def store(runs: Path) -> Tracking:
    return Tracking(f"sqlite:///{runs}/mlflow.db", runs / "artifacts")


def artifacts_of(runs: Path, key: str) -> Path:
    (found,) = [run for run in store(runs).trial_runs("one") if run.key == key]
    return Path(found.artifacts.removeprefix("file://"))


def lose(runs: Path) -> None:
    (runs / "mlflow.db").unlink()


def overwrite(runs: Path) -> None:
    (runs / "mlflow.db").write_bytes(b"no database at all, only words " * 50)


def cut_off(runs: Path) -> None:
    file = runs / "mlflow.db"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])


def make_anew(runs: Path) -> None:
    """The file of a call that found none: it holds nothing."""
    lose(runs)
    assert store(runs).trial_runs("none") == []


@pytest.mark.parametrize("harm", [lose, overwrite, cut_off, make_anew])
def test_a_store_that_was_lost_is_made_again_with_the_very_records_costs_plan_and_weights(
    finished: Path, runs: Path, harm: object
) -> None:
    before = store(finished).load_campaign("one")
    harm(runs)  # type: ignore[operator]
    checkup = check_campaign(ONE, runs=runs)
    assert ("store", REPAIR) in [(finding.what, finding.remedy) for finding in checkup.findings]
    assert (checkup.records, checkup.trials) == (6, 6)
    assert {finding.remedy for finding in checkup.findings} == {REPAIR}
    checkup = repair_campaign(ONE, runs=runs)
    assert checkup.sound, checkup.findings
    assert checkup.records == 6
    after = store(runs).load_campaign("one")
    assert len(before.records) == 6
    assert {key: record.to_json() for key, record in after.records.items()} == {
        key: record.to_json() for key, record in before.records.items()
    }
    assert (after.plan, after.costs) == (before.plan, before.costs)
    assert (artifacts_of(runs, ONE.trials[0].key) / "weights.pt").read_bytes() == b"heavy"
    assert run(ONE, runs) == 0


def test_a_damaged_store_is_looked_at_without_change_and_kept_by_the_repair(runs: Path) -> None:
    overwrite(runs)
    damaged = (runs / "mlflow.db").read_bytes()
    check_campaign(ONE, runs=runs)
    assert (runs / "mlflow.db").read_bytes() == damaged
    repair_campaign(ONE, runs=runs)
    (kept,) = runs.glob("mlflow.db.damaged-*")
    assert kept.read_bytes() == damaged


def test_the_repair_of_one_study_loses_no_record_of_another(runs: Path) -> None:
    overwrite(runs)
    repair_campaign(ONE, runs=runs)
    assert run(OTHER, runs) == 0
    assert store(runs).records("other", [trial.key for trial in OTHER.trials]).keys() == {t.key for t in OTHER.trials}


def test_a_store_is_not_set_aside_while_another_of_its_studies_is_being_run(runs: Path) -> None:
    overwrite(runs)
    with held(runs / "locks" / "other", "it"), pytest.raises(AblateError, match="the study 'other' is being run"):
        repair_campaign(ONE, runs=runs)
    assert not list(runs.glob("mlflow.db.damaged-*"))


def test_a_record_that_does_not_match_its_checksum_is_not_taken_from_the_artifacts(finished: Path, runs: Path) -> None:
    lose(runs)
    spoilt = artifacts_of(finished, ONE.trials[0].key).relative_to(finished) / "record.json"
    text = (runs / spoilt).read_text()
    (runs / spoilt).write_text(text.replace('"seed": ', '"seed": 4'))
    checkup = repair_campaign(ONE, runs=runs)
    assert [finding.what for finding in checkup.findings] == ["trial"]
    assert run(ONE, runs) == 1


def test_a_store_that_another_program_has_locked_is_not_called_damaged(runs: Path) -> None:
    with sqlite3.connect(runs / "mlflow.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        assert damage(runs / "mlflow.db") == ""
