"""Predictions of trained nets, and their accuracy at several input sizes: from Python and by command."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fakes import no_costs, outcome
from instant import Instant
from PIL import Image
from torch import nn
from torchvision import datasets

import ablate
from ablate import input_sizes, predict
from ablate.campaign.executor import Job
from ablate.campaign.options import RunOptions
from ablate.campaign.records import RecordStore, seal, sealed_plans
from ablate.campaign.run import run_campaign
from ablate.campaign.trained import trained_net
from ablate.campaign.worker import run_job, train_trial
from ablate.design.datasets import KNOWN, class_names
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.read import load_study
from ablate.errors import AblateError, DataError
from ablate.model.spec import NetSpec
from ablate.training.data import load_images, prepare
from ablate.training.pictures import read_picture

STUDY = """
keep_weights = true
[control]
net = "mobilenet_v2_mnist"
width_mult = 0.25
[arms.relu]
bottleneck = "relu"
[data]
name = "synthetic"
[recipe]
batch_size = 32
epochs = 1
[plan]
seeds = 2
"""


def planned(text: str = STUDY) -> CampaignPlan:
    Path("small.toml").write_text(text)
    return make_plan(load_study("small.toml"))


@pytest.fixture(scope="module")
def one_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder in which the control's second seed was trained, and nothing else."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.toml").write_text(STUDY)
    plan = make_plan(load_study(folder / "small.toml"))
    trial, options = plan.arm_trials("control")[1], RunOptions(runs=folder / "runs")
    seal(plan, options.runs)
    prepare(trial.data, options.data_root, options.cache / "data")
    job = Job(trial=trial, store=RecordStore(options.runs, "small"), data_root=None, cache=options.cache / "data")
    run_job(job, train_trial, lambda *_: None)
    return options.runs


def test_the_answers_are_those_of_the_net_on_the_test_images(one_trained: Path) -> None:
    plan, options = planned(), RunOptions(runs=one_trained)
    frame = ablate.predictions(plan.study, options=options)
    net = trained_net(plan.study, options=options, train=False).load()
    images = load_images(plan.study.data, options.data_root, options.cache / "data")
    pixels = (images.test.float() - images.mean[0]) / images.std[0]
    with torch.no_grad():
        expected = nn.functional.softmax(net(pixels), 1).numpy()
    np.testing.assert_allclose(frame[[f"p({n})" for n in range(4)]].to_numpy(), expected, atol=1e-5)
    record = RecordStore(one_trained, "small").read(plan.arm_trials("control")[1].key)
    assert record is not None
    assert list(frame["predicted"].astype(int)) == list(record.predictions)
    assert np.mean(frame["right"].astype(bool)) == pytest.approx(record.metrics["test_accuracy"])
    few = ablate.predictions(plan.study, test=[5, 3], options=options)
    pd.testing.assert_frame_equal(few, frame.iloc[[5, 3]].reset_index(drop=True), check_exact=False, atol=1e-5)


def test_the_command_prints_and_writes_answers_and_mistakes(
    one_trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned()
    common = ["small.toml", "--runs", str(one_trained), "--no-train", "--out", "out"]
    assert predict.main(common) == 0
    told = capsys.readouterr().out
    table = pd.read_csv("out/predictions.csv")
    wrong = pd.read_csv("out/mistakes.csv")
    assert len(table) == 160
    assert len(wrong) == (~table["right"]).sum() > 0
    assert list(wrong["probability"]) == sorted(wrong["probability"], reverse=True)
    assert f"{160 - len(wrong)} of 160 test images are right" in told
    assert "Folder:  out" in told
    assert (tmp_path / "out/mistakes.png").stat().st_size > 1000
    Image.fromarray(np.full((12, 12), 40, np.uint8)).save("grey.png")
    assert predict.main([*common[:1], "control", "grey.png", *common[1:], "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["arm"], said["seed"], said["images"][0]["image"], said["images"][0]["true"]) == (
        "control", 1, "grey.png", None,
    )  # fmt: skip
    assert sum(said["images"][0]["probabilities"].values()) == pytest.approx(1)
    assert not (tmp_path / "out/mistakes.png").exists()  # of the call before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "recipe.lr=0.01"], "was not trained with its weights kept"),
        (["--epochs", "0"], "recipe.epochs"),
        (["rellu"], "the arm must be one of control, relu; got 'rellu'; did you mean 'relu'?"),
        (["relu"], "relu, seed 0 of study 'small' was not trained with its weights kept"),
        (["--seed", "7"], "the seed must be one of 0, 1; got '7'"),
        (["none.png"], "none.png: there is no such file"),
        (["text.png"], "text.png: is no PNG or JPEG image that can be read"),
        (["pipe.png"], "pipe.png: is not a file"),
        (["--test", "160"], "--test must be from 0 to 159, as synthetic has; got 160"),
        (["--test", "-1"], "--test must be from 0 to 159, as synthetic has; got -1"),
        (["grey.png", "--test", "1"], "--test goes with no image files"),
    ],
)
def test_what_cannot_be_predicted_is_told_in_a_sentence(
    arguments: list[str], said: str, one_trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned()
    Path("text.png").write_text("no image")
    if not Path("pipe.png").exists():
        os.mkfifo("pipe.png")
    Image.fromarray(np.zeros((12, 12), np.uint8)).save("grey.png")
    assert predict.main(["small.toml", *arguments, "--runs", str(one_trained), "--no-train"]) == 2
    assert said in capsys.readouterr().err


def test_a_net_is_trained_where_none_was_kept_as_its_campaign_trains_it(
    runs: Path, one_trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned()
    options = RunOptions(runs=runs, jobs=1)
    found = trained_net(plan.study, "control", 1, options)
    assert "control, seed 1 has no kept weights: it is trained now" in capsys.readouterr().err
    theirs = RecordStore(one_trained, "small").read(found.trial.key)
    ours = RecordStore(runs, "small").read(found.trial.key)
    assert ours is not None
    assert theirs is not None
    assert ours.same_result(theirs)
    found.weights.unlink()  # a record without weights, as of a study that keeps none
    again = trained_net(plan.study, "control", 1, options)
    assert again.weights.is_file()
    assert "has a record without weights, which is set aside" in capsys.readouterr().err


def test_a_campaign_of_one_trial_seals_the_whole_plan_and_leaves_the_others_to_come(runs: Path) -> None:
    plan = planned()
    chosen = plan.arm_trials("relu")[1].key
    executor = Instant(outcome)
    result = run_campaign(plan, RunOptions(runs=runs), executor=executor, prepare=no_costs, only={chosen})
    assert [trial.key for trial in executor.submitted] == [chosen]
    assert set(result.missing) == {trial.key for trial in plan.trials} - {chosen}
    assert [one.plan.trials for one in sealed_plans(runs, "small")] == [plan.trials]
    rest = Instant(outcome)
    assert not run_campaign(plan, RunOptions(runs=runs), executor=rest, prepare=no_costs).missing
    assert chosen not in {trial.key for trial in rest.submitted}


def test_a_study_that_tunes_is_to_be_run_first(runs: Path) -> None:
    plan = planned(STUDY + "[tuning]\ntrials = 2\n[tuning.space]\nlr = { low = 1e-3, high = 1e-2 }\n")
    with pytest.raises(AblateError, match="tunes each arm first; run it"):
        trained_net(plan.study, options=RunOptions(runs=runs))


def test_accuracy_and_macs_at_several_sizes_with_the_same_weights(
    one_trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned()
    common = ["small.toml", "--runs", str(one_trained), "--no-train", "--out", "out"]
    assert input_sizes.main([*common, "--sizes", "12", "8", "40"]) == 0
    table = pd.read_csv("out/small.csv").set_index("size")
    record = RecordStore(one_trained, "small").read(plan.arm_trials("control")[1].key)
    assert record is not None
    assert list(table.index) == [8, 12, 40]
    assert table.loc[12, "accuracy"] == record.metrics["test_accuracy"]
    spec = plan.control.spec
    assert isinstance(spec, NetSpec)
    for size in table.index:
        assert table.loc[size, "macs"] == ablate.cost(spec, (1, size, size)).macs
    told = capsys.readouterr().out
    assert "12 (trained)" in told
    assert re.search(r"Warning: at 8 pixels, \d+ convolutions work on maps of 2×2 pixels or fewer", told)
    assert "at 40 pixels" not in told
    assert input_sizes.main([*common, "--sizes", "0"]) == 2
    assert "--sizes must be from 1 to 512, got 0" in capsys.readouterr().err
    assert input_sizes.main([*common[:1], "rellu", *common[1:]]) == 2
    assert "did you mean 'relu'" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("name", ["mnist5k", "cifar10"])
def test_image_files_of_any_mode_and_size_become_the_data_sets(mode: str, name: str) -> None:
    info = KNOWN[name]
    image = Image.new("L", (50, 40), 200)
    if mode == "I;16":
        image = Image.fromarray(np.full((40, 50), 200 << 8, np.uint16))
    path = Path("x.jpg" if mode == "CMYK" else "x.png")
    (image if mode == "I;16" else image.convert(mode)).save(path)
    pixels, said = read_picture(path, info)
    assert pixels.shape == (info.height, info.width, info.channels)
    assert pixels.mean() == pytest.approx(200, abs=3)
    assert f"resized to {info.width}x{info.height}" in said


def test_an_image_as_the_data_set_has_it_stays_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(pixels).save("x.png")
    found, said = read_picture(Path("x.png"), KNOWN["mnist5k"])
    assert said == ""
    assert np.array_equal(found[:, :, 0], pixels)


def test_an_image_of_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (28, 28)).save("x.png")
    with pytest.raises(DataError, match=r"x\.png: must have at most 100 pixels"):
        read_picture(Path("x.png"), KNOWN["mnist5k"])


def test_classes_are_called_what_torchvision_calls_them() -> None:
    assert list(class_names(KNOWN["fashion_mnist"])) == datasets.FashionMNIST.classes
    assert list(class_names(KNOWN["kmnist"])) == datasets.KMNIST.classes
    assert class_names(KNOWN["mnist"]) == tuple("0123456789")
    for name, info in KNOWN.items():
        assert len(set(class_names(info))) == info.num_classes, name


def test_the_code_of_the_page_about_python_runs(
    one_trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ABLATE_RUNS", str(one_trained))
    planned()
    page = (Path(ablate.__file__).parents[1] / "docs/python.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    small = code.replace('"mnist_digits"', '"small.toml"').replace("seed=0", "seed=1")
    assert small.count("small.toml") == 1
    found: dict[str, object] = {}
    exec(compile(small, "python.md", "exec"), found)
    assert "left out: classifier.weight: has shape (4, 64), the net's has (5, 64)" in capsys.readouterr().out
    other, net = found["other"], found["net"]
    assert isinstance(other, nn.Module)
    assert isinstance(net, nn.Module)
    assert torch.equal(other.state_dict()["stem.norm.running_mean"], net.state_dict()["stem.norm.running_mean"])
    assert isinstance(found["loss"], torch.Tensor)
    assert found["loss"].item() < np.log(5)
