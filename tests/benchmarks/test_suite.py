"""The benchmark suite compares like with like, and says so when a goal is missed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.parametrize("name", ["mobilenet_v2_mnist", "mobilenet_v2_cifar"])
def test_the_plain_net_and_ours_are_the_same_function_of_the_same_weights(name: str) -> None:
    pytest.importorskip("torchvision")
    import torch
    from plain_net import PlainNet, our_weights

    from ablate.model.nets import build
    from ablate.model.zoo import NETS

    spec = NETS[name]()
    generator = torch.Generator().manual_seed(1)
    plain, ours = PlainNet(spec).eval(), build(spec, generator=generator).eval()
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in ours.parameters())
    with torch.no_grad():
        for parameter in plain.parameters():  # batch norms of 1 and 0 would hide a mix-up
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        ours.load_state_dict(our_weights(plain))
        batch = torch.randn(3, spec.in_channels, 28, 28, generator=generator)
        torch.testing.assert_close(ours(batch), plain(batch), rtol=1e-5, atol=1e-5)


def test_the_plain_net_holds_none_of_our_modules() -> None:
    pytest.importorskip("torchvision")
    from plain_net import PlainNet

    from ablate.model.zoo import mobilenet_v2_mnist

    classes = {type(module) for module in PlainNet(mobilenet_v2_mnist()).modules()} - {PlainNet}
    assert {cls.__module__.split(".")[0] for cls in classes} == {"torch", "torchvision"}


def test_a_missed_goal_is_marked_as_missed_and_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import table

    monkeypatch.setattr(table, "PROFILES", tmp_path)
    monkeypatch.setattr(table, "TRIED", tmp_path / "tried.md")
    table.write_profile("slow", "Most of it waits.")
    table.TRIED.write_text("# Tried\n\n## slow\n\nMore of it.\n\n## quick\n\nNothing.\n")
    rows = [
        table.Row(part="slow", claim="speed", value=3.9, shown="3.90", goal=4.0),
        table.Row(part="quick", claim="size", value=1.0, shown="1.00", relation="<=", goal=1.0),
        table.Row(part="quick", claim="time", value=1.0, shown="1.00", relation="<", goal=1.0),
        table.Row(part="quick", claim="to be known", value=7.0, shown="7.00"),
        table.Row(part="absent", claim="rival", value=None, shown="not installed", goal=1.0),
    ]
    assert [row.reached for row in rows] == [False, True, False, None, False]
    page = table.page(rows, command="the command", minutes=1.0)
    assert "| speed | >= 4 | 3.90 | **no** |" in page
    assert "| size | <= 1 | 1.00 | yes |" in page
    assert "| to be known |  | 7.00 |  |" in page
    explained = page.partition("## Why `slow` misses a goal")[2]
    assert "Most of it waits." in explained
    assert "More of it." in explained
    assert "the command" in page
    assert table.machine() in page


def test_ratios_are_of_neighbouring_turns() -> None:
    from interleaved import ratio

    found = ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
    assert str(found) == "3.00 (2.00 to 4.00)"


def test_what_goes_wrong_in_a_process_apart_is_told() -> None:
    script = "import interleaved\nif __name__ == '__main__': interleaved.call_apart('math:hypot_of')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=BENCHMARKS)
    assert done.returncode == 1
    assert "has no attribute 'hypot_of'" in done.stderr


def test_a_convolution_needs_its_flops_and_its_bytes() -> None:
    from roofline import Need, needs

    from ablate.model.layers import Layer

    layer = Layer("stem.conv", "conv", 1, 32, 3, 2, 1, (28, 28), (14, 14), None, False)
    found = needs(layer, 64, first=True)
    assert set(found) == {"forward", "weight gradient"}
    assert found["forward"].flops == 2 * 64 * 32 * 14 * 14 * 9
    assert found["forward"].bytes == 4 * (64 * (28 * 28 + 32 * 14 * 14) + 32 * 9)
    assert Need(flops=8, bytes=6).seconds(peak=4, bandwidth=1) == 6
    assert Need(flops=8, bytes=6).seconds(peak=1, bandwidth=6) == 8
