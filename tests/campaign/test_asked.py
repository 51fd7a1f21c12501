"""What a runs folder's campaigns asked and found: each sealed plan counts, however often one study was asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ablate.campaign.done import asked_of
from ablate.campaign.records import RecordStore, seal
from ablate.design.plan import make_plan
from ablate.design.record import Measured, Record
from ablate.design.study import Study

SHIFTED = {"control": 0.90, "relu": 0.95}
ALIKE = {"control": 0.90, "relu": 0.90}


def carry_out(runs: Path, accuracies: dict[str, float], **plan: Any) -> None:
    """Seals a plan and writes the records of its trials as if they had been trained after that."""
    made = make_plan(Study.model_validate({"name": "mine", "arms": {"relu": {"bottleneck": "relu"}}, "plan": plan}))
    sealed = seal(made, runs)
    generator = np.random.default_rng(made.study.plan.first_seed)
    measured = dataclasses.replace(Measured(), started_at=sealed.sealed_at + 1)
    for trial in made.trials:
        accuracy = accuracies[trial.arm] + generator.normal(0, 0.002)
        record = Record(
            key=trial.key, study="mine", arm=trial.arm, seed=trial.seed, status="finished",
            metrics={"test_accuracy": accuracy, "test_loss": 1 - accuracy}, measured=measured,
        )  # fmt: skip
        RecordStore(runs, "mine").put(record)


def test_an_empty_folder_asked_nothing(tmp_path: Path) -> None:
    assert asked_of(tmp_path) is None


def test_a_study_that_was_asked_again_with_other_seeds_counts_again(tmp_path: Path) -> None:
    carry_out(tmp_path, ALIKE, seeds=6)
    carry_out(tmp_path, SHIFTED, seeds=6, first_seed=100)
    carry_out(tmp_path, ALIKE, seeds=6, first_seed=200)
    found = asked_of(tmp_path)
    assert found is not None
    assert (found.campaigns, found.contrasts, found.sealed, found.different, found.not_judged) == (3, 3, 3, 1, 0)
    assert found.survive == ()  # p = 2 / 2^6, times 3
    assert "3 campaigns asked 3 contrasts, 3 of them sealed beforehand; 1 came out different." in found.sentence


def test_a_contrast_without_all_its_records_is_asked_and_not_judged(tmp_path: Path) -> None:
    carry_out(tmp_path, SHIFTED, seeds=6)
    next((tmp_path / "records" / "mine").glob("*.json")).unlink()
    found = asked_of(tmp_path)
    assert found is not None
    assert (found.different, found.not_judged) == (0, 1)
    assert "0 came out different and 1 is not judged." in found.sentence
