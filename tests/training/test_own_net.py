"""A net of the user's own in training: imported, given what the data decide, initialised by the trial's seed."""

from __future__ import annotations

import random
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ablate.design.datasets import KNOWN, DataInfo
from ablate.design.imported import imported
from ablate.design.plan import Trial
from ablate.training.data import Images
from ablate.training.fit import fit
from ablate.training.own_net import answer, build_model
from ablate.training.user_code import UserCodeError, load_function

DATA = KNOWN["synthetic"]
RGB = DataInfo(name="rgb", channels=3, height=32, width=32, num_classes=7, num_train=9, num_test=9)
NETS_PY = """
import random
import numpy as np
import torch
from torch import nn


def make_net(width=8, deep=True, *, in_channels, num_classes, drop=0.0):
    layers = [nn.Conv2d(in_channels, width, 3, 2, 1), nn.BatchNorm2d(width, momentum=0.02), nn.ReLU()]
    if deep:
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(drop), nn.Linear(width, num_classes)]
    return nn.Sequential(nn.Sequential(*layers), nn.Sequential(*head))


def lazy(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def noisy(num_classes):
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, num_classes))
    nn.init.constant_(net[1].weight, random.random() + np.random.rand() + torch.rand(3).sum().item())
    return net


def timms_name(in_chans=3, num_classes=1000):
    return nn.Sequential(nn.Conv2d(in_chans, num_classes, 12), nn.Flatten())


def no_module(num_classes):
    return "a net"


def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 3))


def frozen(num_classes):
    return nn.Flatten()


def breaks(size, num_classes):
    return nn.Linear(size, "wide")


NUMBER = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / "nets_of_mine.py"
    file.write_text(textwrap.dedent(NETS_PY))
    yield file
    sys.modules.pop("nets_of_mine", None)


def net(function: str, seed: int = 0, data: DataInfo = DATA, **keywords: Any) -> torch.nn.Module:
    return build_model(imported(f"nets_of_mine:{function}", keywords), data, seed)


def numbers(one: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in one.state_dict().items()}


@pytest.mark.parametrize("function", ["make_net", "lazy", "timms_name", "noisy"])
def test_a_function_gets_what_its_signature_asks_for(module: Path, function: str) -> None:
    assert net(function)(torch.zeros(2, 1, 12, 12)).shape == (2, 4)


def test_torchvisions_resnet18_works_as_it_stands() -> None:
    ours = build_model(imported("torchvision.models:resnet18"), RGB, 0)
    assert ours(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    with pytest.raises(UserCodeError, match=r"resnet18\(\): the net cannot take images of 1x12x12 \(synthetic\)"):
        answer(
            build_model(imported("torchvision.models:resnet18"), DATA, 0), imported("torchvision.models:resnet18"), DATA
        )


def test_a_timm_model_gets_its_channels_and_classes() -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    model = imported("timm:create_model", {"model_name": "resnet10t"})
    assert build_model(model, RGB, 0)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert build_model(model, DATA, 0)(torch.zeros(2, 1, 32, 32)).shape == (2, 4)


def test_a_seed_decides_the_weights_and_leaves_the_global_states_alone(module: Path) -> None:
    torch.manual_seed(1), random.seed(1), np.random.seed(1)  # noqa: NPY002
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    one, again, other = (numbers(net("noisy", seed)) for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["1.weight"], other["1.weight"])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # noqa: NPY002


def test_parameters_of_the_same_shape_start_alike_although_a_layer_is_missing(module: Path) -> None:
    deep, shallow = numbers(net("make_net")), numbers(net("make_net", deep=False))
    shared = [name for name in shallow if name in deep and shallow[name].shape == deep[name].shape]
    assert "1.3.weight" in shared  # drawn after the missing layer
    assert all(torch.equal(deep[name], shallow[name]) for name in shared)
    assert not torch.equal(deep["0.3.weight"][:, :1], deep["0.0.weight"])


def test_two_layers_of_one_shape_start_differently() -> None:
    state = numbers(build_model(imported("torchvision.models:resnet18"), RGB, 0))
    assert not torch.equal(state["layer1.0.conv1.weight"], state["layer1.1.conv1.weight"])


@pytest.mark.parametrize(
    ("function", "keywords", "message"),
    [
        ("no_module", {}, r"no_module\(\) must return a torch.nn.Module, got str"),
        ("frozen", {}, "returned a net without a parameter to train"),
        ("breaks", {}, r"breaks\(\) failed: TypeError: .*missing .*'size'.*it takes: size"),
        ("breaks", {"size": 3}, r"breaks\(size=3\) failed: TypeError: .*nets_of_mine.py, line \d+\)$"),
        ("NUMBER", {}, "must be a function, but is int 3"),
    ],
)  # fmt: skip
def test_what_makes_no_net_is_told_with_its_call(
    module: Path, function: str, keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserCodeError, match=message):
        net(function, **keywords)


def test_a_net_with_other_outputs_than_classes_is_refused(module: Path) -> None:
    model = imported("nets_of_mine:fixed")
    with pytest.raises(UserCodeError, match=r"logits of 2x4, one column a class; got a tensor 2x3"):
        answer(build_model(model, DATA, 0), model, DATA)


def test_code_that_was_edited_after_the_plan_is_not_trained(module: Path) -> None:
    planned = imported("nets_of_mine:make_net")
    module.write_text(module.read_text() + "\n# edited\n")
    with pytest.raises(UserCodeError, match="its source was changed after the plan was made"):
        load_function(planned)


def test_an_import_that_fails_says_why_and_where(module: Path) -> None:
    module.write_text("x = 1\nraise OSError('no such device')\ndef make_net(): ...\n")
    with pytest.raises(UserCodeError, match=r"import of nets_of_mine failed: OSError: no such device \(.*py, line 2\)"):
        load_function(imported("nets_of_mine:make_net"))


def test_a_trial_is_the_same_to_the_last_bit_when_repeated_or_resumed(
    module: Path, images: Images, make_trial: Callable[..., Trial], tmp_path: Path
) -> None:
    trial = make_trial(spec=imported("nets_of_mine:make_net", {"drop": 0.5}), lr=0.01, ema=0.9)
    whole, again = fit(trial, images), fit(trial, images)
    assert whole.same_result(again)
    assert whole.measured.kernels == "torch"
    assert whole.status == "finished"

    class KilledError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        fit(trial, images, folder=tmp_path, on_epoch=killed)
    assert fit(trial, images, folder=tmp_path).same_result(whole)


def test_a_nets_own_momentum_is_kept_unless_the_recipe_says_otherwise(
    module: Path, images: Images, make_trial: Callable[..., Trial]
) -> None:
    from ablate.training.state import start

    spec = imported("nets_of_mine:make_net")
    own = start(make_trial(spec=spec), DATA, device="cpu", folder=None)
    moved = start(make_trial(spec=spec, bn_momentum=0.3), DATA, device="cpu", folder=None)
    assert [one.net.get_submodule("0.1").momentum for one in (own, moved)] == [0.02, 0.3]
