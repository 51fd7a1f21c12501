"""Training from a file of weights, and with a part of the net frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from ablate.design.datasets import KNOWN
from ablate.design.initial import sha256
from ablate.design.plan import Trial
from ablate.model.nets import Net, build
from ablate.model.torchvision_weights import WeightsError
from ablate.training.data import Images
from ablate.training.feed import Feed
from ablate.training.fit import fit
from ablate.training.frozen import train_mode
from ablate.training.optim import rate_at
from ablate.training.state import start
from ablate.training.streams import generator

DATA = KNOWN["synthetic"]
Make = Callable[..., Trial]


@pytest.fixture
def weights(make_trial: Make, tmp_path: Path) -> Path:
    """Weights of another seed, with statistics of their own."""
    net = build(make_trial().spec, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        net.train()(torch.randn(32, 1, 12, 12, generator=torch.Generator().manual_seed(8)))
    path = tmp_path / "start.pt"
    torch.save(net.state_dict(), path)
    return path


def trained(trial: Trial, images: Images, folder: Path) -> dict[str, torch.Tensor]:
    fit(trial, images, folder=folder)
    state: dict[str, torch.Tensor] = torch.load(folder / "weights.pt", weights_only=True)
    return state


@pytest.mark.parametrize("kernels", ["torch", "auto"])
@pytest.mark.parametrize(
    ("freeze", "stays"),
    [
        (0, ()),
        (1, ("stem.", "blocks.0.")),
        (2, ("stem.", "blocks.")),
        ("features", ("stem.", "blocks.", "head.")),
    ],
)
def test_frozen_stages_keep_weights_and_statistics_and_the_rest_learns(
    weights: Path,
    images: Images,
    make_trial: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    freeze: int | str,
    stays: tuple[str, ...],
    kernels: str,
) -> None:
    monkeypatch.setenv("ABLATE_KERNELS", kernels)
    trial = make_trial(
        keep_weights=True, epochs=1, init_from=str(weights), freeze=freeze, weight_decay=0.1, weight_decay_on="all"
    )
    before, after = torch.load(weights, weights_only=True), trained(trial, images, tmp_path)
    for name, value in after.items():
        assert torch.equal(value, before[name]) == name.startswith(stays), name


def test_frozen_features_train_the_classifier_as_a_linear_classifier_on_fixed_features(
    weights: Path, images: Images, make_trial: Make, tmp_path: Path
) -> None:
    spec = replace(make_trial().spec, dropout=0.0)
    recipe = {"init_from": str(weights), "freeze": "features", "optimizer": "sgd", "momentum": 0.0, "lr": 0.3}
    trial = make_trial(spec=spec, keep_weights=True, seed=3, **recipe)
    found = trained(trial, images, tmp_path)
    net = build(trial.spec)
    net.load_state_dict(torch.load(weights, weights_only=True))
    net.eval()
    linear, feed = nn.Linear(16, 4), Feed(images, trial.recipe, 3)
    linear.load_state_dict(net.classifier.state_dict())
    for epoch in range(trial.recipe.epochs):
        for step, (batch, labels) in enumerate(feed.epoch(epoch)):
            with torch.no_grad():
                features = net.pool(net.head(net.blocks(net.stem(batch)))).flatten(1)
            linear.zero_grad()
            functional.cross_entropy(linear(features), labels).backward()
            rate = rate_at(trial.recipe, epoch * feed.steps_per_epoch + step, feed.steps_per_epoch)
            with torch.no_grad():
                for parameter in linear.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(rate * parameter.grad)
    torch.testing.assert_close(found["classifier.weight"], linear.weight.detach(), rtol=1e-4, atol=1e-5)
    assert not torch.equal(found["classifier.weight"], net.classifier.weight)


def test_the_whole_net_trains_where_nothing_is_frozen(make_trial: Make) -> None:
    net = build(make_trial().spec)
    train_mode(net, 0)
    assert all(module.training for module in net.modules())
    train_mode(net, 1)
    assert not net.stem.training
    assert not any(module.training for module in net.blocks[0].modules())
    assert net.blocks[1].training


def test_the_record_says_what_was_loaded_and_what_was_left_out(
    weights: Path, images: Images, make_trial: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = torch.load(weights, weights_only=True) | {"classifier.weight": torch.ones(9, 16)}
    torch.save(other, tmp_path / "other.pt")
    record = fit(make_trial(epochs=1, init_from=str(tmp_path / "other.pt")), images)
    (note,) = record.notes
    assert f"{len(other) - 1} tensors loaded (names: ours)" in note
    assert "left out: classifier.weight has shape (9, 16), the net's has (4, 16)" in note
    assert "kept as initialised: classifier.weight" in note
    assert "left out: classifier.weight" in capsys.readouterr().out


def test_what_the_file_lacks_is_drawn_from_the_seed(weights: Path, images: Images, make_trial: Make) -> None:
    state = torch.load(weights, weights_only=True)
    partial = weights.with_name("partial.pt")
    torch.save({name: value for name, value in state.items() if "classifier" not in name}, partial)
    nets = [
        start(make_trial(seed=seed, init_from=str(partial)), DATA, device="cpu", folder=None).net for seed in (1, 2)
    ]
    assert torch.equal(nets[0].stem.conv.weight, nets[1].stem.conv.weight)
    fresh = build(make_trial().spec, generator=generator(2, "weights"))
    assert torch.equal(nets[1].classifier.weight, fresh.classifier.weight)
    assert not torch.equal(nets[0].classifier.weight, nets[1].classifier.weight)


def test_the_averaged_net_starts_from_the_file_too(weights: Path, make_trial: Make) -> None:
    state = start(make_trial(init_from=str(weights), ema=0.99), DATA, device="cpu", folder=None)
    assert isinstance(state.evaluated, Net)
    assert torch.equal(state.evaluated.stem.conv.weight, state.net.stem.conv.weight)


def test_a_trial_that_was_stopped_resumes_to_the_same_record(
    weights: Path, images: Images, make_trial: Make, tmp_path: Path
) -> None:
    trial = make_trial(init_from=str(weights), freeze=1)
    whole = fit(trial, images)

    class Stop(Exception):  # noqa: N818
        pass

    def stop(*_: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        fit(trial, images, folder=tmp_path, on_epoch=stop)
    assert fit(trial, images, folder=tmp_path).same_result(whole)


def test_a_file_that_was_changed_since_the_plan_is_refused(weights: Path, images: Images, make_trial: Make) -> None:
    fit(make_trial(epochs=1, init_from=str(weights), init_sha256=sha256(weights)), images)
    with pytest.raises(WeightsError, match=r"start\.pt: has sha256 .*, but the plan was made for 000"):
        fit(make_trial(init_from=str(weights), init_sha256="0" * 64), images)
