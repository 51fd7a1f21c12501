"""Weights from files: whose they are, what fits, and what is refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ablate.model.nets import Net, build
from ablate.model.torchvision_weights import WeightsError
from ablate.model.zoo import (
    efficientnet_b0,
    mnasnet1_0,
    mobilenet_v2,
    mobilenet_v2_mnist,
    mobilenet_v3_large,
    resnet50,
)
from ablate.training.weights import load_weights

SPEC = mobilenet_v2_mnist(width_mult=0.25)


def seeded(seed: int = 0, **fields: int) -> Net:
    return build(replace(SPEC, **fields), generator=torch.Generator().manual_seed(seed))  # type: ignore[arg-type]


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_our_own_weights_come_back_whole(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    state = {prefix + name: value for name, value in seeded(1).state_dict().items()}
    path = saved(tmp_path / "net.pt", {wrapper: state, "epoch": 3} if wrapper else state)
    net = seeded(2)
    report = load_weights(net, path)
    assert equal(net.state_dict(), seeded(1).state_dict())
    assert (report.layout, report.left_out, report.kept) == ("ours", {}, ())
    assert set(report.loaded) == set(net.state_dict())


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    torch_files = pytest.importorskip("safetensors.torch")
    path = tmp_path / "net.safetensors"
    torch_files.save_file({name: value.contiguous() for name, value in seeded(1).state_dict().items()}, path)
    net = seeded(2)
    load_weights(net, path)
    assert equal(net.state_dict(), seeded(1).state_dict())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"net\.safetensors: is truncated"):
        load_weights(net, path)


NETS = {
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_large": mobilenet_v3_large,
    "efficientnet_b0": efficientnet_b0,
    "mnasnet1_0": mnasnet1_0,
    "resnet50": resnet50,
}


@pytest.mark.parametrize(("name", "make"), NETS.items())
def test_torchvisions_files_give_torchvisions_logits(tmp_path: Path, name: str, make: object) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(num_classes=7).eval()
    net = build(make(num_classes=7)).eval()  # type: ignore[operator]
    report = load_weights(net, saved(tmp_path / "net.pth", theirs.state_dict()))
    assert (report.layout, report.left_out, report.kept) == (name, {}, ())
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net(images), theirs(images), rtol=1e-3, atol=1e-4)


class PublicBlock(nn.Module):
    """An inverted residual with its layers numbered through, as the public reproductions write it."""

    def __init__(self, inp: int, oup: int, stride: int, t: int) -> None:
        super().__init__()
        wide = inp * t
        expand = [nn.Conv2d(inp, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()] if t != 1 else []
        depthwise = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        rest = [depthwise, nn.BatchNorm2d(wide), nn.ReLU6(), nn.Conv2d(wide, oup, 1, bias=False), nn.BatchNorm2d(oup)]
        self.conv = nn.Sequential(*expand, *rest)
        self.adds = stride == 1 and inp == oup

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.adds else out


class PublicNet(nn.Module):
    """MobileNetV2 with the modules of the public reproductions; ``apart``: head and classifier outside the lists."""

    def __init__(self, *, apart: bool) -> None:
        super().__init__()
        blocks, inp = [nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())], 32
        rows = [
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ]
        for t, c, n, s in rows:
            for number in range(n):
                blocks.append(PublicBlock(inp, c, s if number == 0 else 1, t))  # type: ignore[arg-type]
                inp = c
        head = nn.Sequential(nn.Conv2d(inp, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6())
        self.features = nn.Sequential(*blocks, *([] if apart else [head]))
        self.conv = head if apart else nn.Identity()
        linear = nn.Linear(1280, 7)
        self.classifier = linear if apart else nn.Sequential(nn.Dropout(0.2), linear)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.conv(self.features(x)).mean((2, 3)))
        return logits


@pytest.mark.parametrize("apart", [False, True])
def test_files_of_the_public_reproductions_give_their_logits(tmp_path: Path, apart: bool) -> None:
    torch.manual_seed(0)
    theirs = PublicNet(apart=apart)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs(images)  # statistics of their own
    net = build(mobilenet_v2(num_classes=7)).eval()
    report = load_weights(net, saved(tmp_path / "net.pth", theirs.eval().state_dict()))
    assert (report.layout, report.left_out, report.kept) == ("mobilenet_v2_public", {}, ())
    with torch.no_grad():
        torch.testing.assert_close(net(images), theirs(images), rtol=1e-3, atol=1e-4)


def test_another_number_of_classes_leaves_the_classifier_out_and_says_why(tmp_path: Path) -> None:
    net = seeded(2, num_classes=4)
    before = net.classifier.weight.clone()
    report = load_weights(net, saved(tmp_path / "net.pt", {**seeded(1).state_dict(), "extra": torch.ones(1)}))
    assert report.left_out == {
        "classifier.weight": "has shape (10, 64), the net's has (4, 64)",
        "classifier.bias": "has shape (10,), the net's has (4,)",
        "extra": "the net has no such name",
    }
    assert report.kept == ("classifier.weight", "classifier.bias")
    assert torch.equal(before, net.classifier.weight)
    assert "left out: classifier.bias: has shape (10,)" in str(report)
    assert "kept as initialised: classifier.weight; classifier.bias" in str(report)


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("harm"),))  # type: ignore[return-value]


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Harm()))
    for path in (tmp_path / "plain.pt", saved(tmp_path / "net.pt", {"stem": Harm()})):
        with pytest.raises(WeightsError, match=rf"{path.name}: .*(could run code|no file of torch.save)"):
            load_weights(seeded(), path)
    assert not (tmp_path / "harm").exists()


@given(cut=st.integers(0, 5000), junk=st.binary(max_size=40))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_or_foreign_file_is_refused_by_name_and_the_net_stays(
    tmp_path: Path, cut: int, junk: bytes
) -> None:
    path = saved(tmp_path / "net.pt", {"a": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:cut] + junk if cut < path.stat().st_size else junk)
    net = seeded()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(WeightsError, match=r"net\.pt: "):
        load_weights(net, path)
    assert equal(before, net.state_dict())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds no state dict, but a list"),
        ({"epoch": 3}, "holds no state dict, but a dict"),
        ({"a.weight": torch.ones(3)}, "no tensor fits this net: a.weight: the net has no such name"),
        ({"classifier.bias": torch.full((10,), float("nan"))}, "classifier.bias holds numbers that are not finite"),
        ({"classifier.bias": torch.ones(10, dtype=torch.int64)}, "holds torch.int64, the net's holds torch.float32"),
    ],
)
def test_a_file_without_fitting_weights_is_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(WeightsError) as raised:
        load_weights(seeded(), saved(tmp_path / "net.pt", content))
    assert said in str(raised.value)


def test_no_file_a_folder_and_another_ending_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    for name, said in (("none.pt", "there is no such file"), ("folder.pt", "is not a file"), ("x.bin", "must end in")):
        with pytest.raises(WeightsError, match=said):
            load_weights(seeded(), tmp_path / name)
