"""Seeds that train as one net give what each gives alone, and nothing of one reaches another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.errors import AblateError
from ablate.model.nets import Net, build
from ablate.training import state as state_module
from ablate.training.data import Images
from ablate.training.fit import fit, fit_together
from ablate.training.state import CHECKPOINT
from ablate.training.streams import stream_seed

Make = Callable[..., Trial]
EVERYTHING = {"ema": 0.9, "crop_padding": 1, "flip": True, "weight_decay": 1e-3, "label_smoothing": 0.1}


class KilledError(Exception):
    pass


def losses(record: Record) -> list[float]:
    return [loss for point in record.curve for loss in (point.train_loss, point.val_loss)]


def die_after(epoch: int) -> Callable[[str, EpochPoint, float], None]:
    def die(_key: str, point: EpochPoint, _rate: float) -> None:
        if point.epoch == epoch:
            raise KilledError

    return die


@pytest.mark.parametrize("residual", ["inverted", "classic"])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
def test_each_seed_gives_what_it_gives_alone(
    images: Images, make_trial: Make, tmp_path: Path, optimizer: str, residual: str
) -> None:
    spec = make_trial().spec.with_blocks(residual=residual)
    # a rate so low that what rounding adds stays rounding: Adam makes whole steps of gradients that are all noise
    trials = [
        make_trial(seed=seed, spec=spec, optimizer=optimizer, lr=1e-4, keep_weights=True, **EVERYTHING)
        for seed in range(3)
    ]
    folders = [tmp_path / str(seed) for seed in range(3)]
    together = fit_together(trials, images, folders=folders)
    for trial, record, folder in zip(trials, together, folders, strict=True):
        alone = fit(trial, images, folder=tmp_path / "alone")
        assert (record.key, record.seed, record.status) == (trial.key, trial.seed, "finished")
        assert losses(record) == pytest.approx(losses(alone), rel=1e-3)
        assert [point.lr for point in record.curve] == [point.lr for point in alone.curve]
        assert record.test_labels == alone.test_labels
        same = np.frombuffer(record.predictions, np.uint8) == np.frombuffer(alone.predictions, np.uint8)
        assert same.mean() > 0.98
        theirs = torch.load(tmp_path / "alone/weights.pt")
        for name, ours in torch.load(folder / "weights.pt").items():
            torch.testing.assert_close(ours, theirs[name], rtol=1e-3, atol=1e-3)


def test_it_matters_which_seed_it_is(images: Images, make_trial: Make) -> None:
    first, second = fit_together([make_trial(seed=seed) for seed in range(2)], images)
    assert losses(first) != pytest.approx(losses(second), rel=1e-2)


def test_nothing_of_one_seed_reaches_another(images: Images, make_trial: Make) -> None:
    first, _ = fit_together([make_trial(seed=seed, **EVERYTHING) for seed in (0, 1)], images)
    again, _ = fit_together([make_trial(seed=seed, **EVERYTHING) for seed in (0, 7)], images)
    assert first.same_result(again)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_killed_after_an_epoch_they_go_on_to_the_same_records(
    images: Images, make_trial: Make, tmp_path: Path, optimizer: str
) -> None:
    trials = [make_trial(seed=seed, epochs=3, optimizer=optimizer, **EVERYTHING) for seed in range(3)]
    folders = [tmp_path / str(seed) for seed in range(3)]
    whole = fit_together(trials, images)
    with pytest.raises(KilledError):
        fit_together(trials, images, folders=folders, on_epoch=die_after(2))
    for record, expected in zip(fit_together(trials, images, folders=folders), whole, strict=True):
        assert record.same_result(expected)
        assert record.measured.resumed == 1


def test_a_seed_whose_checkpoint_is_older_catches_up_by_itself(
    images: Images, make_trial: Make, tmp_path: Path
) -> None:
    trials = [make_trial(seed=seed, epochs=3, lr=1e-4) for seed in range(3)]
    folders = [tmp_path / str(seed) for seed in range(3)]
    with pytest.raises(KilledError):
        fit_together(trials, images, folders=folders, on_epoch=die_after(2))
    (folders[1] / CHECKPOINT).unlink()
    told: list[tuple[int, int]] = []
    keys = {trial.key: trial.seed for trial in trials}
    records = fit_together(
        trials, images, folders=folders, on_epoch=lambda key, point, _: told.append((keys[key], point.epoch))
    )
    assert sorted(told) == [(0, 3), (1, 1), (1, 2), (1, 3), (2, 3)]
    for record, trial in zip(records, trials, strict=True):
        assert losses(record) == pytest.approx(losses(fit(trial, images)), rel=1e-3)


@pytest.mark.parametrize("seeds", [(0, 1), (0, 1, 2)])
def test_a_seed_that_diverges_leaves_and_the_others_go_on(
    images: Images, make_trial: Make, monkeypatch: pytest.MonkeyPatch, seeds: tuple[int, ...]
) -> None:
    def poisoned(spec: object, *, generator: torch.Generator) -> Net:
        net = build(spec, generator=generator)  # type: ignore[arg-type]
        if generator.initial_seed() == stream_seed(1, "weights"):
            torch.nn.init.constant_(net.classifier.bias, float("nan"))
        return net

    monkeypatch.setattr(state_module, "build", poisoned)
    trials = [make_trial(seed=seed, lr=1e-4) for seed in seeds]
    records = fit_together(trials, images)
    for trial, record in zip(trials, records, strict=True):
        alone = fit(trial, images)
        assert record.status == alone.status == ("diverged" if trial.seed == 1 else "finished")
        assert (record.diverged_step, record.reason) == (alone.diverged_step, alone.reason)
        assert losses(record) == pytest.approx(losses(alone), rel=1e-3)


def test_records_say_that_seeds_shared_the_time_and_the_memory(images: Images, make_trial: Make) -> None:
    trials = [make_trial(seed=seed) for seed in range(4)]
    records = fit_together(trials, images)
    assert all("together 4" in record.measured.settings for record in records)
    assert not any("together" in setting for setting in fit(trials[0], images).measured.settings)
    for record in records:
        measured = record.measured
        assert measured.train_s + measured.eval_s <= measured.wall_s
        assert measured.images_per_s * measured.train_s == pytest.approx(2 * 576)


def test_a_tuning_trial_is_not_tested_together_either(images: Images, make_trial: Make) -> None:
    trials = [replace(make_trial(seed=seed), phase="tuning") for seed in range(2)]
    assert all(record.predictions == b"" and record.curve for record in fit_together(trials, images))


def test_only_seeds_of_one_arm_train_together(images: Images, make_trial: Make) -> None:
    with pytest.raises(AblateError, match="only seeds of one arm"):
        fit_together([make_trial(), make_trial(seed=1, lr=0.5)], images)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_each_seed_gives_what_it_gives_alone(images: Images, make_trial: Make, precision: str) -> None:
    trials = [make_trial(seed=seed, lr=1e-4, precision=precision, **EVERYTHING) for seed in range(16)]
    for trial, record in zip(trials, fit_together(trials, images, device="cuda"), strict=True):
        alone = fit(trial, images, device="cuda")
        assert losses(record) == pytest.approx(losses(alone), rel=1e-2 if precision == "fp32" else 5e-2)
