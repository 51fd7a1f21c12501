from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from ablate.design.datasets import describe
from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Record
from ablate.design.study import DataSpec
from ablate.errors import AblateError, DataError
from ablate.model.compiled import library
from ablate.model.nets import build
from ablate.training import feed, hardware
from ablate.training import fit as fit_module
from ablate.training.data import Images, load_images
from ablate.training.fit import fit
from ablate.training.streams import generator

Make = Callable[..., Trial]


def plain_losses(trial: Trial, images: Images) -> list[float]:
    """The first epoch's losses, written the way most people would: NCHW, no channels_last, torch's own scheduler."""
    recipe = trial.recipe
    net = build(replace(trial.spec, dropout=0), generator=generator(trial.seed, "weights")).train()
    order = torch.randperm(len(images.train), generator=generator(trial.seed, "order", 0))
    steps = len(order) // recipe.batch_size
    optimizer = torch.optim.AdamW(
        net.parameters(), recipe.lr, (recipe.beta1, recipe.beta2), weight_decay=recipe.weight_decay, foreach=False
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=steps * recipe.epochs, cycle_momentum=False
    )
    losses = []
    for index in order.split(recipe.batch_size)[:steps]:
        batch = ((images.train[index].float() - images.mean[0]) / images.std[0]).contiguous()
        loss = functional.cross_entropy(net(batch), images.train_labels[index], label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        if recipe.grad_clip:
            gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
            norm = sum((gradient**2).sum() for gradient in gradients) ** 0.5
            for gradient in gradients:
                gradient *= min(1.0, recipe.grad_clip / float(norm))
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("extra", [{}, {"label_smoothing": 0.1}, {"grad_clip": 0.05}, {"beta1": 0.5, "beta2": 0.9}])
def test_the_loop_takes_the_steps_of_the_plain_way(images: Images, make_trial: Make, extra: dict[str, float]) -> None:
    trial = make_trial(weight_decay=0.01, **extra)
    trial = replace(trial, spec=replace(trial.spec, dropout=0))
    first = fit(trial, images).curve[0]
    losses = plain_losses(trial, images)
    assert isinstance(first, EpochPoint)
    assert first.train_loss == pytest.approx(np.mean(losses), rel=1e-3)
    assert list(first.step_losses) == pytest.approx(losses, rel=1e-3)
    assert np.mean(first.step_accuracies) == pytest.approx(first.train_accuracy, abs=1e-6)


@pytest.mark.parametrize(
    ("steps", "epochs", "points"), [(10, 3, 10), (78, 3, 26), (500, 1, 100), (500, 20, 5), (7, 200, 1)]
)
def test_a_curve_has_about_100_points_of_equal_width(steps: int, epochs: int, points: int) -> None:
    values = torch.arange(steps, dtype=torch.float64)
    width = steps // points
    expected = [values[start : start + width].mean().item() for start in range(0, points * width, width)]
    assert list(fit_module._parts(values, epochs)) == pytest.approx(expected)


def test_a_tiny_net_learns_the_synthetic_bars_with_every_optimiser(images: Images, make_trial: Make) -> None:
    rates = {"sgd": 0.1, "adam": 0.01, "adamw": 0.01, "rmsprop": 0.003}
    for name, lr in rates.items():
        record = fit(make_trial(optimizer=name, lr=lr, epochs=5, batch_size=32, weight_decay=1e-4), images)
        assert record.status == "finished"
        assert record.metrics["test_accuracy"] > 0.8, name


def test_the_record_agrees_with_itself_and_with_the_test_labels(images: Images, make_trial: Make) -> None:
    trial = make_trial(epochs=3)
    record = fit(trial, images)
    predictions = np.frombuffer(record.predictions, np.uint8)
    right = predictions == images.test_labels.numpy()
    assert record.key == trial.key
    assert record.metrics["test_accuracy"] == right.mean()
    assert np.array_equal(np.unpackbits(np.frombuffer(record.correct, np.uint8), count=160).astype(bool), right)
    assert record.chance == 0.25
    assert [point.epoch for point in record.curve] == [1, 2, 3]
    assert record.metrics["val_accuracy"] == record.curve[-1].val_accuracy
    assert record.metrics["train_loss"] == record.curve[-1].train_loss
    assert Record.from_json(record.to_json()) == record


def test_what_was_measured_says_where_and_with_what(images: Images, make_trial: Make) -> None:
    points: list[tuple[EpochPoint, float]] = []
    record = fit(make_trial(), images, on_epoch=lambda point, rate: points.append((point, rate)))
    measured = record.measured
    assert tuple(point for point, _ in points) == record.curve
    assert all(rate > 0 for _, rate in points)
    assert measured.images_per_s == pytest.approx(2 * 576 / measured.train_s)
    assert 0 < measured.train_s + measured.eval_s <= measured.wall_s
    assert (measured.device, measured.threads, measured.resumed) == ("cpu", 1, 0)
    assert measured.settings == ("flush_denormal",)
    assert measured.kernels.split()[0] == ("native" if library() else "torch")
    assert fit(make_trial(epochs=1), images, threads=2).measured.kernels == "torch"
    assert measured.hardware
    assert measured.versions["torch"] == torch.__version__


def test_the_same_trial_gives_the_same_record_to_the_last_bit_and_another_seed_another(
    images: Images, make_trial: Make
) -> None:
    recipe = {"crop_padding": 1, "flip": True, "ema": 0.9}
    record = fit(make_trial(**recipe), images)
    torch.rand(3)  # the global state of the random numbers plays no part
    assert record.same_result(fit(make_trial(**recipe), images))
    other = fit(make_trial(seed=1, **recipe), images)
    assert not replace(record, seed=1, key=other.key).same_result(other)


EXTRAS = (
    {"crop_padding": 1}, {"flip": True}, {"ema": 0.5}, {"weight_decay": 0.1}, {"rand_augment": 9},
    {"random_erasing": 0.5}, {"mixup": 0.2}, {"cutmix": 1.0}, {"grad_clip": 0.1}, {"beta1": 0.5}, {"beta2": 0.9},
    {"bn_momentum": 0.01},
)  # fmt: skip


def test_every_extra_of_the_recipe_changes_the_result(images: Images, make_trial: Make) -> None:
    plain = fit(make_trial(), images)
    for recipe in EXTRAS:
        moved = fit(make_trial(**recipe), images)
        assert moved.status == "finished", recipe
        assert not replace(plain, key=moved.key).same_result(moved), recipe


def test_what_the_default_recipe_leaves_out_is_never_entered(
    images: Images, make_trial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fit(make_trial(epochs=1), images)
    for place, name in ((fit_module, "clip_grad_norm_"), (feed, "erased"), (feed, "rand_augmented")):
        monkeypatch.setattr(place, name, None)
    assert fit(make_trial(epochs=1), images).same_result(plain)


def test_arms_with_the_same_shapes_start_from_the_same_weights_and_see_the_same_images(
    images: Images, make_trial: Make
) -> None:
    # a ReLU6 that nothing exceeds is a ReLU: if weights, order and dropout are shared, the first losses are equal
    losses = {}
    for activation in ("relu", "relu6"):
        trial = make_trial(spec=make_trial().spec.with_blocks(activation=activation), lr=1e-9, epochs=1)
        losses[activation] = fit(trial, images).curve[0].train_loss
    assert losses["relu"] == pytest.approx(losses["relu6"], rel=1e-3)
    unrelated = fit(make_trial(seed=1, lr=1e-9, epochs=1), images).curve[0].train_loss
    assert unrelated != pytest.approx(losses["relu6"], rel=1e-3)


def test_random_numbers_and_threads_of_the_caller_stay_as_they_were(images: Images, make_trial: Make) -> None:
    torch.manual_seed(5)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    fit(make_trial(epochs=1), images, threads=2 if threads == 1 else 1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_the_kept_weights_are_those_that_were_tested(
    images: Images, make_trial: Make, tmp_path: Path, ema: float
) -> None:
    trial = make_trial(keep_weights=True, ema=ema, epochs=3, batch_size=48)
    record = fit(trial, images, folder=tmp_path)
    net = build(trial.spec)
    net.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.inference_mode():
        logits = net.eval()((images.test.float() - images.mean[0]) / images.std[0])
    assert functional.cross_entropy(logits, images.test_labels).item() == pytest.approx(
        record.metrics["test_loss"], rel=1e-4
    )


@pytest.mark.parametrize("check_every", [1, 4, 50])
def test_a_loss_that_is_not_finite_ends_the_trial_with_its_first_step(
    images: Images, make_trial: Make, monkeypatch: pytest.MonkeyPatch, check_every: int
) -> None:
    monkeypatch.setattr(fit_module, "CHECK_EVERY", check_every)
    calls = iter(range(100))
    true_loss = functional.cross_entropy

    def loss(*arguments: Any, **options: Any) -> torch.Tensor:
        # 6 steps, one validation batch; the 9th training step is the 10th call
        value = true_loss(*arguments, **options)
        return value * float("nan") if next(calls) == 9 else value

    monkeypatch.setattr(functional, "cross_entropy", loss)
    record = fit(make_trial(), images)
    assert (record.status, record.diverged_step) == ("diverged", 9)
    assert record.reason == "the training loss is not finite at step 9"
    assert len(record.curve) == 1
    assert record.metrics == {}


def test_more_than_256_classes_are_predicted_in_two_bytes(tmp_path: Path, make_trial: Make) -> None:
    labels = np.arange(600) % 300
    pictures = np.random.RandomState(0).randint(0, 256, (600, 4, 4, 1)).astype(np.uint8)
    path = tmp_path / "many.npz"
    np.savez(path, train_images=pictures, train_labels=labels, test_images=pictures[:299], test_labels=labels[:299])
    data = DataSpec(name=str(path))
    trial = make_trial(spec=replace(make_trial().spec, num_classes=300), epochs=1)
    trial = replace(trial, data=data, data_digest=describe(data).digest)
    record = fit(trial, load_images(data, tmp_path, tmp_path))
    predictions = np.frombuffer(record.predictions, "<u2")
    assert predictions.shape == (299,)
    assert (predictions == labels[:299]).mean() == record.metrics["test_accuracy"]
    assert predictions.max() < 300


def test_colour_images_train(tmp_path: Path, make_trial: Make) -> None:
    pictures = np.random.RandomState(0).randint(0, 256, (60, 9, 7, 3)).astype(np.uint8)
    labels = np.arange(60) % 4
    np.savez(tmp_path / "own.npz", train_images=pictures, train_labels=labels, test_images=pictures, test_labels=labels)
    data = DataSpec(name=str(tmp_path / "own.npz"))
    trial = make_trial(spec=replace(make_trial().spec, in_channels=3), crop_padding=1, batch_size=16)
    trial = replace(trial, data=data, data_digest=describe(data).digest)
    assert fit(trial, load_images(data, tmp_path, tmp_path)).status == "finished"


def test_images_of_another_plan_are_refused(images: Images, make_trial: Make) -> None:
    with pytest.raises(DataError, match="the images at hand are synthetic"):
        fit(replace(make_trial(), data=DataSpec(name="mnist5k")), images)
    with pytest.raises(DataError, match="plan again"):
        fit(replace(make_trial(), data_digest="0123"), images)
    with pytest.raises(DataError, match="takes 3 channels"):
        fit(make_trial(spec=replace(make_trial().spec, in_channels=3)), images)


def test_kept_weights_without_a_folder_are_refused(images: Images, make_trial: Make) -> None:
    with pytest.raises(AblateError, match="keep_weights needs a folder"):
        fit(make_trial(keep_weights=True), images)


def test_bf16_is_refused_where_the_processor_would_emulate_it(
    images: Images, make_trial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "cpu_facts", lambda: ("Old CPU", frozenset({"avx2"})))
    with pytest.raises(AblateError, match="bf16: Old CPU has neither AVX512-BF16 nor AMX; use fp32"):
        fit(make_trial(precision="bf16"), images)


@pytest.mark.skipif(not hardware.BF16_FLAGS & hardware.cpu_facts()[1], reason="the processor has no bf16")
def test_bf16_trains_to_nearly_the_same_curve(images: Images, make_trial: Make) -> None:
    exact, short = fit(make_trial(), images), fit(make_trial(precision="bf16"), images)
    assert short.curve[0].train_loss == pytest.approx(exact.curve[0].train_loss, rel=0.05)
    assert short.curve[0].train_loss != exact.curve[0].train_loss


@pytest.mark.parametrize(("device", "message"), [("tpu", "must be cpu or cuda"), ("cuda", "finds no CUDA device")])
def test_a_device_that_is_not_there_is_said_in_a_sentence(
    images: Images, make_trial: Make, monkeypatch: pytest.MonkeyPatch, device: str, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AblateError, match=message):
        fit(make_trial(), images, device=device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_trains_to_nearly_the_same_curve(
    images: Images, make_trial: Make, precision: str, tmp_path: Path
) -> None:
    recipe = {"crop_padding": 1, "flip": True, "ema": 0.9}
    trial = make_trial(precision=precision, **recipe)
    trial = replace(trial, spec=replace(trial.spec, dropout=0))
    on_cpu = fit(replace(trial, recipe=trial.recipe.model_copy(update={"precision": "fp32"})), images)
    on_gpu = fit(trial, images, device="cuda", folder=tmp_path)
    assert on_gpu.curve[0].train_loss == pytest.approx(on_cpu.curve[0].train_loss, rel=0.05)
    assert on_gpu.measured.peak_bytes > 0
    assert on_gpu.measured.hardware == torch.cuda.get_device_name()


def test_a_tuning_trial_trains_alike_and_never_looks_at_the_test_images(
    images: Images, make_trial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial()
    confirmed = fit(trial, images)
    evaluated: list[int] = []
    evaluate = fit_module.evaluate
    monkeypatch.setattr(fit_module, "evaluate", lambda *call: evaluated.append(len(call[3])) or evaluate(*call))
    tuning = fit(replace(trial, phase="tuning"), images)
    assert evaluated == [len(images.val)] * trial.recipe.epochs
    assert set(tuning.metrics) == {"val_accuracy", "val_loss", "train_loss"}
    assert tuning.metrics.items() <= confirmed.metrics.items()
    assert tuning.curve == confirmed.curve
    assert (tuning.predictions, tuning.correct, tuning.test_labels, tuning.chance) == (b"", b"", "", 0.0)


@pytest.mark.parametrize("phase", ["search", "timed"])
def test_a_trial_of_a_search_is_never_tested_and_a_timed_one_measures_its_latency(
    images: Images, make_trial: Make, phase: Any
) -> None:
    trial = make_trial(epochs=1)
    record = fit(replace(trial, phase=phase), images)
    assert set(record.metrics) == {"val_accuracy", "val_loss", "train_loss"}
    latency = record.measured.latency_ms
    assert (latency is not None) == (phase == "timed")
    assert latency is None or 0 < latency < 1000
    assert record.same_result(fit(replace(trial, phase=phase), images))
