"""Tables and figures of the commands `ablate information` and `ablate memory`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ablate.errors import AblateError
from ablate.measure.information import reconstruct
from ablate.model.layers import layers
from ablate.model.zoo import mobilenet_v1, mobilenet_v2, resnet50
from ablate.reporting import figures_depth, figures_information, frames_depth, frames_information
from ablate.reporting.console import print_frame
from ablate.reporting.figure_files import write_figure
from ablate.verdicts.stats import t_quantile

NETS = {make.__name__: layers(make(), 224, 224) for make in (mobilenet_v1, mobilenet_v2, resnet50)}


def words(figure: Figure) -> str:
    svg = io.StringIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()


def test_the_interval_of_the_error_is_students() -> None:
    found = reconstruct((2, 30), draws=40)
    summary = frames_information.summarise(found)
    half = t_quantile(0.95, 39) * found.errors.std(axis=1, ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(summary["error_high"] - summary["error"], half)
    printed = frames_information.printed_reconstruction(summary)
    assert list(printed["(n + 1) / 2ⁿ"]) == ["75.0 %", "0.0 %"]


def test_one_draw_has_no_interval_and_is_drawn() -> None:
    summary = frames_information.summarise(reconstruct((2, 3), draws=1))
    assert list(frames_information.printed_reconstruction(summary)["95 % interval of the mean"]) == ["–", "–"]
    assert "relative error" in words(figures_information.reconstruction(summary))


def test_a_spiral_panel_for_each_width_and_one_for_the_input() -> None:
    curves = frames_information.spiral_curves((2, 3, 5, 15, 30, 60, 100), 0)
    figure = figures_information.spirals(curves)
    shown = [axes.get_title(loc="center") for axes in figure.axes]
    assert shown[:8] == ["input", "n = 2", "n = 3", "n = 5", "n = 15", "n = 30", "n = 60", "n = 100"]
    assert len(words(figure).encode()) < 300_000


def channels(thresholds: tuple[float, ...]) -> pd.DataFrame:
    rows = [
        {
            "arm": arm,
            "depth": depth,
            "layer": f"blocks.{depth}.expand.activation",
            "channels": 96,
            "mean": 0.5,
            "sd": 0.05,
            "least": 0.3,
            "most": 0.7,
            "threshold": threshold,
            "below": 0.0,
        }
        for arm in ("control", "relu_bottleneck")
        for depth, threshold in enumerate(thresholds)
    ]
    return pd.DataFrame(rows)


def test_positive_channels_have_a_panel_an_arm_and_their_thresholds() -> None:
    frame = channels((float("nan"), 1 / 6, 1.0, 2.0))
    figure = figures_information.positive_channels(frame)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["control", "relu_bottleneck"]
    steps = figure.axes[0].collections[-1]
    assert sorted(float(segment[0][1]) for segment in steps.get_segments()) == [1 / 6, 1.0]
    printed = frames_information.printed_channels(frame)
    assert list(printed["needed"][:4]) == ["–", "16.7 %", "100.0 %", "200.0 %"]


def test_the_peaks_are_printed_with_the_layer_at_which_they_are_reached() -> None:
    printed = frames_depth.printed_peaks(frames_depth.steps(NETS, 16), 16)
    found = {(line[0], line[1]): line[2:] for line in printed.itertuples(index=False)}
    assert found["mobilenet_v2", "a layer"] == ("1,505,280", "3,011", "blocks.1.spatial.conv")
    assert found["mobilenet_v2", "a block"] == ("602,112", "1,204", "blocks.0")


def test_splits_are_printed_for_nets_that_can_be_split() -> None:
    printed = frames_depth.printed_splits(NETS, (1, 2), 16)
    assert list(printed["net"]) == ["mobilenet_v1", "mobilenet_v2", "mobilenet_v2", "resnet50"]
    assert list(printed["parts"]) == ["–", "1", "2", "–"]


@pytest.mark.parametrize("names", [("mobilenet_v1",), ("mobilenet_v1", "mobilenet_v2", "resnet50")])
def test_memory_is_drawn_over_depth_with_every_net_whole(names: tuple[str, ...]) -> None:
    steps = frames_depth.steps({name: NETS[name] for name in names}, 16)
    figure = figures_depth.memory_over_depth(steps)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(names)
    assert figure.axes[0].get_ylim()[1] >= steps["kilobytes"].max()
    for axes, name in zip(figure.axes, names, strict=True):
        by_layer = steps[(steps["net"] == name) & (steps["by"] == "layer")]
        drawn = axes.patches[0].get_data()
        np.testing.assert_array_equal(drawn.values, by_layer["kilobytes"])
        assert drawn.edges[0] == 0
        assert drawn.edges[-1] == pytest.approx(1)
        assert (np.diff(drawn.edges) > 0).all()


def test_a_figure_lies_in_three_files(tmp_path: Path) -> None:
    steps = frames_depth.steps(NETS, 16)
    made = write_figure(tmp_path / "new", "memory", figures_depth.memory_over_depth(steps), steps)
    assert {path.name for path in made.parent.iterdir()} == {"memory.csv", "memory.png", "memory.svg"}
    assert len(pd.read_csv(made.with_suffix(".csv"))) == len(steps)
    (tmp_path / "file").touch()
    with pytest.raises(AblateError, match="file: cannot be written"):
        write_figure(tmp_path / "file", "memory", figures_depth.memory_over_depth(steps), steps)


def test_a_frame_is_printed_with_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_frame(pd.DataFrame({"net": ["a", "long_name"], "KB": ["1", "1,204"]}))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["net           KB", "a              1", "long_name  1,204"]
