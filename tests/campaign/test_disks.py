"""Disks that fill up and databases that can no longer be written, in mid-campaign."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import Notes, outcome, plan_of, until
from fire import ENVIRONMENT
from instant import Instant, go

from ablate.campaign.check import check_campaign
from ablate.campaign.executor import Job
from ablate.campaign.options import CampaignInterrupted, RunOptions

ROOT = os.getuid() == 0
TRAINER = """
import time

def train(trial):
    time.sleep(0.1)
    return {"error": trial.fields.lr + trial.seed}
"""
STUDY = """
trainer = "slowly:train"
control = { lr = 0.1 }
arms.other = { lr = 0.2 }
plan.seeds = 12
decision = { metric = "error", higher_is_better = false, margin = 0.01 }
"""


class Acting(Instant):
    """Does something once, when so many trials were submitted."""

    def __init__(self, after: int, act: Callable[[], object]) -> None:
        super().__init__(outcome, jobs=1)
        self.after, self.act = after, act

    def submit(self, job: Job) -> None:
        if len(self.submitted) == self.after:
            self.act()
        super().submit(job)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "ablate", str(folder)]
    if not ROOT or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_ctrl_c_on_a_full_disk_ends_in_a_sentence_and_loses_no_record(
    disk: Path, new_runs: Callable[[Path], Path]
) -> None:
    def fill_and_interrupt() -> None:
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**12))
        signal.raise_signal(signal.SIGINT)

    plan, runs, notes = plan_of("control", seeds=6), new_runs(disk / "runs"), Notes()
    with pytest.raises(CampaignInterrupted, match="interrupted; 3 of 6 trials are finished and kept"):
        go(plan, runs, Acting(3, fill_and_interrupt))
    (disk / "ballast").unlink()
    assert not go(plan, runs, notes=notes).missing
    assert notes.todo == 3
    assert check_campaign(plan, RunOptions(runs=runs)).sound


@pytest.mark.slow
@pytest.mark.skipif(ROOT and not shutil.which("setpriv"), reason="root writes wherever it likes")
def test_databases_made_read_only_in_mid_campaign_are_told_of_and_get_every_record_later(
    tmp_path: Path, new_runs: Callable[[Path], Path]
) -> None:
    runs = new_runs(tmp_path / "runs")
    (tmp_path / "slowly.py").write_text(TRAINER)
    (tmp_path / "slow.toml").write_text(STUDY)
    powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if ROOT else ()
    command = [*powerless, sys.executable, "-m", "ablate.study", "./slow.toml", "--jobs", "1", "--no-report"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        assert until(lambda: bool(list(runs.glob("records/*/*.json"))), 120)
        for path in (runs, *runs.glob("*.db*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        out, errors = started.communicate(timeout=400)
    runs.chmod(0o755)
    assert "Traceback" not in out + errors
    assert "MLflow lacks" in out, out
    assert "Optuna lacks" in out, out
    assert (started.returncode, len(list(runs.glob("records/*/*.json")))) == (0, 24), errors
    for path in runs.glob("*.db*"):
        path.chmod(0o644)
    repair = [*command, "--repair"]
    done = subprocess.run(repair, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
