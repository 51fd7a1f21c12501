"""The trained nets of a campaign that keeps weights, as models that MLflow loads without this package.

A model takes images as they are, uint8 N C H W from 0 to 255, and holds the normalisation that its net was trained
with. It is a graph of torch.export, so that loading it runs no code of whoever wrote it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.campaign.local import run_in_subprocess
from ablate.campaign.options import RunOptions
from ablate.campaign.records import RecordStore
from ablate.design.datasets import DataInfo
from ablate.design.plan import Trial
from ablate.errors import AblateError

if TYPE_CHECKING:
    from torch import nn

    from ablate.training.data import Images

MODEL = "model"  # the artifact's name, and part of the tag that says that a run has it
EXAMPLES = 2  # images of the input example; with one, its count would be fixed
Say = Callable[[str], None]


def model_folder(runs: Path, key: str) -> Path:
    """Where a trial's model waits for MLflow."""
    return runs / "cache" / "models" / key


def export_models(trials: Iterable[Trial], store: RecordStore, options: RunOptions, say: Say) -> None:
    """Makes the model of every trial that kept weights and has none yet, in a process of its own.

    A net that cannot be exported is named in a sentence; its weights are kept all the same.
    """
    wanted = [
        trial
        for trial in trials
        if trial.phase == "confirm"
        and store.weights(trial.key).is_file()
        and not model_folder(options.runs, trial.key).exists()
    ]
    if not wanted:
        return
    say(f"exporting {len(wanted)} trained net{'s' * (len(wanted) > 1)} for MLflow")
    try:
        run_in_subprocess(_export_all, wanted, store, options, say=say)
    except AblateError as error:
        say(f"{error} MLflow shows the campaign without its models; the weights are kept.")


def _export_all(trials: Sequence[Trial], store: RecordStore, options: RunOptions, say: Say) -> None:
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    for _, group in itertools.groupby(sorted(trials, key=lambda trial: trial.arm), key=lambda trial: trial.arm):
        alike = list(group)
        try:
            _export_arm(alike, store, options)
        except AblateError:
            raise
        except Exception as error:  # noqa: BLE001 - torch.export may raise anything about a net of the user's own
            why = next(iter(str(error).splitlines()), type(error).__name__)
            say(f"the net of {alike[0].arm} cannot be exported for MLflow ({why[:200]}); its weights are kept")


def _export_arm(trials: Sequence[Trial], store: RecordStore, options: RunOptions) -> None:
    """Traces the arm's net once, which takes seconds, and gives the graph the weights of every seed."""
    import torch

    from ablate.training.data import load_images

    images = load_images(trials[0].data, options.data_root, options.cache / "data", download=False)
    example = images.test[:EXAMPLES].contiguous().numpy()
    (options.cache / "models").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.cache) as place:
        traced = Path(place) / "traced"
        _save(_net(trials[0], store, images), traced, example, images.info)
        for trial in trials:
            own, graph = Path(place) / trial.key, Path("data") / "model.pt2"
            shutil.copytree(traced, own)
            if trial is not trials[0]:
                program = torch.export.load(traced / graph)
                weights = _net(trial, store, images).state_dict()
                for name, value in program.state_dict.items():
                    value.data.copy_(weights[name])
                torch.export.save(program, own / graph)
            own.replace(model_folder(options.runs, trial.key))


def _net(trial: Trial, store: RecordStore, images: Images) -> nn.Module:
    import torch
    from torch import Tensor, nn

    from ablate.training.own_net import build_model

    class Normalised(nn.Module):
        """A net behind its normalisation; uint8 N C H W to logits N K."""

        scale: Tensor
        shift: Tensor

        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net
            scale = 1 / torch.tensor(images.std).view(-1, 1, 1)
            self.register_buffer("scale", scale)
            self.register_buffer("shift", -torch.tensor(images.mean).view(-1, 1, 1) * scale)

        def forward(self, shown: Tensor) -> Any:
            return self.net(torch.addcmul(self.shift, shown, self.scale))

    net = build_model(trial.spec, images.info, trial.seed)
    net.load_state_dict(torch.load(store.weights(trial.key), map_location="cpu", weights_only=True))
    return Normalised(net).eval()


def _save(net: nn.Module, folder: Path, example: Any, data: DataInfo) -> None:
    import mlflow.pytorch
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    images = TensorSpec(np.dtype("uint8"), (-1, data.channels, data.height, data.width), "images")
    logits = TensorSpec(np.dtype("float32"), (-1, data.num_classes), "logits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow and torch.export, about themselves
        mlflow.pytorch.save_model(
            net,
            folder,
            signature=ModelSignature(Schema([images]), Schema([logits])),
            input_example=example,
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
            export_model=True,
        )
