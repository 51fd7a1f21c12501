"""A trained net in MLflow: it is loaded by MLflow alone, and answers on raw images what its record says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import outcome

import ablate
from ablate.campaign import mlflow_model
from ablate.campaign.mlflow_model import export_models, model_folder
from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.options import RunOptions
from ablate.campaign.records import RecordStore, seal
from ablate.campaign.run import run_campaign
from ablate.campaign.views import Conclusion, Item
from ablate.design.plan import CampaignPlan, make_plan
from ablate.training.data import load_images

FIELDS = {
    "keep_weights": True, "data.name": "synthetic", "plan.seeds": 2, "recipe.epochs": 1, "recipe.batch_size": 32,
    "control.width_mult": 0.25,
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def plan() -> CampaignPlan:
    return make_plan(ablate.load_study("linear_bottleneck", overrides=FIELDS))


def in_this_process(function: Any, *arguments: Any, say: Any) -> None:
    function(*arguments, say)


def test_a_model_takes_raw_images_and_its_run_in_mlflow_has_it(
    plan: CampaignPlan, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other arm's weights cannot be read: that is told, and holds up nothing."""
    monkeypatch.setattr(mlflow_model, "run_in_subprocess", in_this_process)
    store, options, said = RecordStore(runs, "linear_bottleneck"), RunOptions(runs=runs), list[str]()
    images = load_images(plan.study.data, options.data_root, options.cache / "data")
    nets = {trial.key: ablate.build(trial.spec).eval() for trial in plan.arm_trials("control")}
    for trial in plan.trials:
        store.put(outcome(trial))
        if trial.key in nets:
            torch.save(nets[trial.key].state_dict(), store.weights(trial.key))
        else:
            store.weights(trial.key).write_bytes(b"no weights")
    export_models(plan.trials, store, options, said.append)
    assert said[0] == "exporting 4 trained nets for MLflow"
    assert [line[:59] for line in said[1:]] == ["the net of relu_bottleneck cannot be exported for MLflow (W"]

    view = MlflowView(f"sqlite:///{runs}/mlflow.db", runs, seal(plan, runs).to_json())
    items = [Item.of(store, trial, outcome(trial)) for trial in plan.trials]
    view.known(plan, {})
    for item in items:
        view.push(plan, item, {})
    view.finish(plan, items, Conclusion(), {})
    found = {run.key: run for run in view.trial_runs("linear_bottleneck")}
    assert {key for key, run in found.items() if run.has_model} == set(nets)

    import mlflow.pytorch
    from mlflow.models import get_model_info

    batch = images.test[:9].contiguous()
    normalised = (batch.float() - torch.tensor(images.mean)[:, None, None]) / torch.tensor(images.std)[:, None, None]
    for key, net in nets.items():
        place = view.store.client.get_run(found[key].run_id).info.artifact_uri.removeprefix("file://") + "/model"
        loaded = mlflow.pytorch.load_model(place)
        torch.testing.assert_close(loaded(batch), net(normalised), atol=1e-5, rtol=1e-4)
    info = get_model_info(place)
    assert (info.signature.inputs.inputs[0].shape, info.signature.inputs.inputs[0].type) == ((-1, 1, 12, 12), "uint8")
    assert info.signature.outputs.inputs[0].shape == (-1, 4)
    assert info.saved_input_example_info is not None

    for key in nets:
        assert model_folder(runs, key).is_dir()
    export_models(plan.arm_trials("control"), store, options, said.append)
    assert len(said) == 2  # they are made once


@pytest.mark.slow
def test_mlflow_alone_predicts_what_the_records_of_a_campaign_say(plan: CampaignPlan, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    result = run_campaign(plan, RunOptions(runs=runs))
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{runs}/mlflow.db")
    experiment = client.get_experiment_by_name("linear_bottleneck").experiment_id
    found = client.search_runs([experiment], "tags.`ablate.kind` = 'trial'")
    code = (
        "import sys, mlflow.pytorch, numpy as np, torch\n"
        "images = torch.from_numpy(np.load(sys.argv[1])['test_images'])[:, None]\n"
        "for folder in sys.argv[2:]:\n"
        "    print(bytes(mlflow.pytorch.load_model(folder)(images).argmax(1).tolist()).hex())\n"
        "assert 'ablate' not in sys.modules\n"
    )
    (data,) = (runs / "cache" / "data").glob("synthetic*.npz")
    places = [f"{run.info.artifact_uri}/model" for run in found]
    command = [sys.executable, "-W", "ignore", "-c", code, str(data), *places]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert len(found) == 4
    for run, line in zip(found, told.stdout.split(), strict=True):
        record = result.records[run.data.tags["ablate.key"]]
        agree = np.frombuffer(record.predictions, np.uint8) == np.frombuffer(bytes.fromhex(line), np.uint8)
        assert agree.mean() > 0.99  # ties apart: other kernels round otherwise
