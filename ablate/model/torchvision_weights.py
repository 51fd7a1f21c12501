"""torchvision's weights in our nets: which key of its state dicts is which of ours.

| torchvision mobilenet_v2 | here |
| --- | --- |
| features.0.0, features.0.1 | stem.conv, stem.norm |
| features.B.conv.0.0, features.B.conv.0.1 (B from 2) | blocks.B-1.expand.conv, .norm |
| features.B.conv.1.0, features.B.conv.1.1 (features.1.conv.0.0, .0.1) | blocks.B-1.spatial.conv, .norm |
| features.B.conv.2, features.B.conv.3 (features.1.conv.1, .2) | blocks.B-1.project.conv, .norm |
| features.18.0, features.18.1 | head.conv, head.norm |
| classifier.1 | classifier |

| torchvision resnet50 | here (block n counts through all layers) |
| --- | --- |
| conv1, bn1 | stem.conv, stem.norm |
| layerL.B.conv1, .bn1 | blocks.n.reduce.conv, .norm |
| layerL.B.conv2, .bn2 | blocks.n.spatial.conv, .norm |
| layerL.B.conv3, .bn3 | blocks.n.expand.conv, .norm |
| layerL.B.downsample.0, .downsample.1 | blocks.n.shortcut.conv, .norm |
| fc | classifier |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from ablate.errors import AblateError, one_of

T = TypeVar("T")


class WeightsError(AblateError):
    """A state dict is not the one of the named torchvision net."""


_WITHOUT_EXPANSION = {"0.0": "spatial.conv", "0.1": "spatial.norm", "1": "project.conv", "2": "project.norm"}
_WITH_EXPANSION = {
    "0.0": "expand.conv",
    "0.1": "expand.norm",
    "1.0": "spatial.conv",
    "1.1": "spatial.norm",
    "2": "project.conv",
    "3": "project.norm",
}
_UNIT = {"0": "conv", "1": "norm"}
_CLASSIC = {
    "conv1": "reduce.conv",
    "bn1": "reduce.norm",
    "conv2": "spatial.conv",
    "bn2": "spatial.norm",
    "conv3": "expand.conv",
    "bn3": "expand.norm",
    "downsample.0": "shortcut.conv",
    "downsample.1": "shortcut.norm",
}


def _mobilenet_v2(modules: Iterable[str]) -> dict[str, str]:
    names = list(modules)
    last = max(int(found[1]) for name in names if (found := re.match(r"features\.(\d+)\.", name)))
    table = {"classifier.1": "classifier"}
    for part, ours in _UNIT.items():
        table |= {f"features.0.{part}": f"stem.{ours}", f"features.{last}.{part}": f"head.{ours}"}
    for number in range(1, last):
        expands = f"features.{number}.conv.3" in names
        parts = _WITH_EXPANSION if expands else _WITHOUT_EXPANSION
        table |= {f"features.{number}.conv.{part}": f"blocks.{number - 1}.{ours}" for part, ours in parts.items()}
    return table


def _resnet50(modules: Iterable[str]) -> dict[str, str]:
    found = (re.match(r"layer(\d+)\.(\d+)\.", name) for name in modules)
    blocks = sorted({(int(match[1]), int(match[2])) for match in found if match})
    table = {"conv1": "stem.conv", "bn1": "stem.norm", "fc": "classifier"}
    for number, (layer, block) in enumerate(blocks):
        table |= {f"layer{layer}.{block}.{part}": f"blocks.{number}.{ours}" for part, ours in _CLASSIC.items()}
    return table


_TABLES: dict[str, Callable[[Iterable[str]], dict[str, str]]] = {"mobilenet_v2": _mobilenet_v2, "resnet50": _resnet50}


def from_torchvision(net: str, state: Mapping[str, T]) -> dict[str, T]:
    """A torchvision state dict under our keys, ready for ``load_state_dict``; the values are the same objects.

    Args:
        net: ``mobilenet_v2`` or ``resnet50``.
        state: what torchvision's net of that name gives as ``state_dict()``; any width and number of classes.

    Raises:
        WeightsError: another net's name, or a key that the net does not have.
    """
    if net not in _TABLES:
        raise WeightsError(f"torchvision weights for a net: {one_of(net, _TABLES)}")
    split = [key.rpartition(".") for key in state]
    try:
        table = _TABLES[net]([module for module, _, _ in split])
        return {f"{table[module]}.{leaf}": state[f"{module}.{leaf}"] for module, _, leaf in split}
    except (KeyError, ValueError) as error:
        raise WeightsError(f"not a state dict of torchvision's {net}: {error}") from error
