"""`ablate information` and `ablate memory` as a user calls them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ablate import information, low_precision, memory, study

SMALL = (
    '[control]\nnet = "mobilenet_v2_mnist"\nwidth_mult = 0.25\n[arms.relu]\nbottleneck = "relu"\n'
    '[data]\nname = "synthetic"\n[recipe]\nbatch_size = 32\nepochs = 1\n[plan]\nseeds = 2\n'
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SMALL)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, new_runs: Callable[[Path], Path]) -> Path:
    """A folder in which the small study was run and its weights were kept."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.toml").write_text(SMALL)
    new_runs(folder / "runs")
    with contextlib.chdir(folder):
        assert study.main(["small.toml", "--set", "keep_weights=true", "--jobs", "1", "--no-report"]) == 0
    return folder


def test_figure_1_is_printed_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert information.main(["--draws", "20", "--dims", "30", "2", "2"]) == 0
    frame = pd.read_csv(tmp_path / "runs/information/reconstruction.csv")
    assert list(frame["dim"]) == [2, 30]
    assert list(frame["draws"]) == [20, 20]
    assert "relative error" in capsys.readouterr().out
    assert (tmp_path / "runs/information/spirals.png").stat().st_size > 1000


def test_figure_7_of_an_arm_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert information.main(["small.toml", "relu", "--images", "16", "--out", "here"]) == 0
    frame = pd.read_csv(tmp_path / "here/small_channels.csv")
    assert set(frame["arm"]) == {"relu"}
    assert "blocks.9.project" in capsys.readouterr().out
    assert information.main(["small.toml", "rellu"]) == 2
    assert "did you mean 'relu'" in capsys.readouterr().err


def test_figure_7_of_a_trained_net(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert information.main(["small.toml", "--trained"]) == 2  # where none is
    monkeypatch.chdir(trained)
    capsys.readouterr()
    for arguments in (["small.toml", "--seed", "1"], ["small.toml", "--seed", "1", "--trained"]):
        assert information.main(arguments) == 0
    before, after = (pd.read_csv(f"runs/information/small_channels{end}.csv") for end in ("", "_trained"))
    assert list(before["layer"]) == list(after["layer"])
    assert not (before["mean"] == after["mean"]).any()
    assert information.main(["small.toml", "--trained", "--epochs", "2"]) == 2  # which were never trained
    assert information.main(["small.toml", "--seed", "7", "--trained"]) == 2
    assert "seed must be one of 0, 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--images", "3"], "--images has a meaning only with a study"),
        (["--set", "recipe.lr=1"], "--set has a meaning only with a study"),
        (["relu6", "--draws", "3"], "--draws has a meaning only without a study"),
        (["relu6", "--images", "1"], "--images must be at least 2, got 1"),
        (["--dims", "1"], "dim must be from 2"),
        (["--draws", "0"], "draws must be from 1"),
        (["--draws", "2", "--seed", "-1"], "seed must be from 0"),
        (["relu7"], "did you mean 'relu6'"),
        (["relu6", "--budget", "ful"], "did you mean 'full'"),
    ],
)
def test_wrong_input_to_information_is_told_in_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert information.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_table_3_is_printed_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert memory.main([]) == 0
    told = capsys.readouterr().out
    assert "1,505,280" in told
    assert "602,112" in told
    assert (tmp_path / "runs/memory/memory.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mobilenet_v3"], "did you mean 'mobilenet_v2'"),
        (["--image", "0"], "--image must be from 1 to 4096, got 0"),
        (["mobilenet_v2", "--parts", "5"], "parts must divide"),
    ],
)
def test_wrong_input_to_memory_is_told_in_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert memory.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_the_plan_warns_of_maps_that_are_mostly_padding(capsys: pytest.CaptureFixture[str]) -> None:
    assert study.main(["linear_bottleneck", "--plan"]) == 0
    assert "see mostly padding: 3 in control" in " ".join(capsys.readouterr().out.split())
    assert study.main(["linear_bottleneck", "--plan", "--set", "control.stem_stride=1"]) == 0
    assert "mostly padding" not in capsys.readouterr().out


def test_trained_nets_are_scored_and_judged_in_low_precision(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert low_precision.main(["small.toml"]) == 2
    assert low_precision.main(["small.toml", "--bits", "1"]) == 2
    assert "bits must be a whole number from 2 to 16, got 1" in capsys.readouterr().err
    monkeypatch.chdir(trained)
    assert low_precision.main(["small.toml", "--bits", "8", "2"]) == 0
    table = pd.read_csv("runs/low_precision/small.csv")
    assert len(table) == 2 * 2 * (1 + 2 * 2)
    told = capsys.readouterr().out
    assert "relu, 8 bits, a step for each channel: " in told
    assert "level 0.0125" in told
