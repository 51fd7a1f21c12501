"""The data set of a trial as MLflow shows it: name, digest, shapes of its tensors, and the images of each part."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.design.datasets import DIGESTS, KNOWN, DataInfo
from ablate.design.identity import digest
from ablate.design.study import DataSpec

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

DIGEST_LENGTH = 16  # MLflow takes 36 characters, its pages have room for few


@functools.cache
def data_input(info: DataInfo, spec: DataSpec) -> DatasetInput:
    """What a trial was trained on.

    Args:
        info: shape and size of the data set.
        spec: which part of it is trained on, and with which labels.

    Returns:
        The digest is of the content: of the .npz file, or of the known set's original files. Where those are not
        known, it is of what the set is.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    train, validation = info.split(spec)
    profile = {
        "training images": train,
        "validation images": validation,
        "test images": info.num_test,
        "image shape (C, H, W)": [info.channels, info.height, info.width],
        "classes": info.num_classes,
    }
    content = info.digest or DIGESTS.get(info.name) or digest([info.name, profile])
    dataset = Dataset(
        name=_name(info, spec),
        digest=content[:DIGEST_LENGTH],
        source_type="known data set" if info.name in KNOWN else "local",
        source=json.dumps({"name": info.name} if info.name in KNOWN else {"uri": info.name}),
        schema=_schema(info),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _name(info: DataInfo, spec: DataSpec) -> str:
    """``cifar10 (fraction 0.5)``: parts of one data set share its digest, and MLflow tells inputs apart by both."""
    changes = [
        f"{field} {value:g}"
        for field, value, default in (
            ("validation", spec.validation, 0.1),
            ("fraction", spec.fraction, 1.0),
            ("label noise", spec.label_noise, 0.0),
            ("split", spec.split_seed, 0),
        )
        if value != default
    ]
    return Path(info.name).name[:200] + (f" ({', '.join(changes)})" if changes else "")


def _schema(info: DataInfo) -> str:
    """In the form of MLflow's TensorDatasetSchema."""

    def tensor(name: str, kind: str, shape: list[int]) -> str:
        return json.dumps([{"name": name, "type": "tensor", "tensor-spec": {"dtype": kind, "shape": [-1, *shape]}}])

    images = tensor("images", "uint8", [info.channels, info.height, info.width])
    return json.dumps({"mlflow_tensorspec": {"features": images, "targets": tensor("labels", "int64", [])}})
