from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.training.data import Images
from ablate.training.fit import fit
from ablate.training.state import CHECKPOINT

Make = Callable[..., Trial]
EVERYTHING = {
    "ema": 0.9, "crop_padding": 1, "flip": True, "weight_decay": 1e-3, "weight_decay_on": "weights", "rand_augment": 5,
    "random_erasing": 0.2, "mixup": 0.2, "cutmix": 1.0, "grad_clip": 1.0, "bn_momentum": 0.05,
}  # fmt: skip


class KilledError(Exception):
    pass


def fit_with_kills(trial: Trial, images: Images, folder: Path, epochs: set[int]) -> Record:
    """Trains, dies right after each of these epochs was kept, and goes on."""

    def die(point: EpochPoint, _rate: float) -> None:
        if point.epoch in epochs:
            epochs.remove(point.epoch)
            raise KilledError

    while True:
        try:
            return fit(trial, images, folder=folder, on_epoch=die)
        except KilledError:
            torch.rand(7)  # a new process has another global state


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_a_trial_killed_after_any_epoch_gives_the_same_record_to_the_last_bit(
    images: Images, make_trial: Make, tmp_path: Path, optimizer: str
) -> None:
    trial = make_trial(optimizer=optimizer, lr=0.005, epochs=3, **EVERYTHING)
    whole = fit(trial, images)
    pieces = fit_with_kills(trial, images, tmp_path, {1, 2, 3})
    assert pieces.same_result(whole)
    assert pieces.measured.resumed > 0
    assert pieces.measured.started_at > 0


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "step", "constant"])
def test_a_trial_killed_within_an_epoch_goes_on_from_the_one_before(
    images: Images, make_trial: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str
) -> None:
    trial = make_trial(schedule=schedule, **EVERYTHING)
    whole = fit(trial, images)
    steps = iter(range(1000))
    true_step = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *arguments: Any) -> Any:
        if next(steps) == 9:  # the fourth of the second epoch's six
            raise KilledError
        return true_step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(KilledError):
        fit(trial, images, folder=tmp_path)
    assert fit(trial, images, folder=tmp_path).same_result(whole)


def test_a_process_killed_from_outside_gives_the_same_record(make_trial: Make, images: Images, tmp_path: Path) -> None:
    trial = make_trial(epochs=3, **EVERYTHING)
    code = f"""
import json, os, signal, sys
from pathlib import Path
from ablate.design.plan import Trial
from ablate.design.study import DataSpec, Recipe
from ablate.model.spec import NetSpec
from ablate.training.data import load_images
from ablate.training.fit import fit
folder = Path({str(tmp_path)!r})
images = load_images(DataSpec(name="synthetic"), folder, folder)
spec = NetSpec.from_dict(json.loads({__import__("json").dumps(trial.spec.to_dict())!r}))
recipe = Recipe.model_validate_json({trial.recipe.model_dump_json()!r})
trial = Trial(study="study", arm="arm", seed=0, spec=spec, recipe=recipe, data=DataSpec(name="synthetic"))
kill = lambda point, rate: os.kill(os.getpid(), signal.SIGKILL) if point.epoch == 2 else None
fit(trial, images, folder=folder, on_epoch=kill)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, timeout=60, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == -signal.SIGKILL
    record = fit(trial, images, folder=tmp_path)
    assert record.measured.resumed == 1
    assert record.same_result(fit(trial, images))


def test_a_trial_that_diverges_after_a_kill_says_the_same_step(
    images: Images, make_trial: Make, tmp_path: Path
) -> None:
    # float32 ends at 3e38: this rate and decay multiply the weights by about -1e4 a step
    recipe = {"optimizer": "sgd", "lr": 100.0, "weight_decay": 10.0, "schedule": "constant", "warmup_epochs": 1.0}
    trial = make_trial(epochs=4, **recipe)
    trial = replace(trial, recipe=trial.recipe.model_copy(update={"batch_size": 288}))
    whole = fit(trial, images)
    assert whole.status == "diverged"
    assert whole.diverged_step is not None
    kept = {point.epoch for point in whole.curve}
    assert fit_with_kills(trial, images, tmp_path, set(kept)).same_result(whole)


def test_a_damaged_checkpoint_is_set_aside_and_said_and_the_trial_starts_again(
    images: Images, make_trial: Make, tmp_path: Path
) -> None:
    trial = make_trial(**EVERYTHING)
    whole = fit(trial, images, folder=tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-50])
    record = fit(trial, images, folder=tmp_path)
    assert len(record.notes) == 1
    assert "started again from the first epoch" in record.notes[0]
    assert "does not match its checksum" in record.notes[0]
    assert (tmp_path / f"{CHECKPOINT}.damaged").exists()
    assert replace(record, notes=()).same_result(whole)
    assert record.measured.resumed == 0


def test_a_trial_that_ends_before_its_record_is_kept_repeats_its_last_epoch_only(
    images: Images, make_trial: Make, tmp_path: Path
) -> None:
    trial = make_trial(epochs=3)
    first = fit(trial, images, folder=tmp_path)
    points: list[EpochPoint] = []
    again = fit(trial, images, folder=tmp_path, on_epoch=lambda point, _: points.append(point))
    assert [point.epoch for point in points] == [3]
    assert again.same_result(first)
    assert again.measured.started_at == first.measured.started_at


def test_a_trial_of_one_epoch_needs_no_checkpoint(images: Images, make_trial: Make, tmp_path: Path) -> None:
    fit(make_trial(epochs=1), images, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_dropped_paths_are_the_trials_own_and_the_same_after_a_kill(
    images: Images, make_trial: Make, tmp_path: Path
) -> None:
    trial = make_trial(spec=replace(make_trial().spec, drop_path=0.9))
    whole = fit(trial, images)
    torch.rand(5)
    assert fit_with_kills(trial, images, tmp_path, {1}).same_result(whole)
    assert not replace(fit(make_trial(), images), key=trial.key).same_result(whole)
