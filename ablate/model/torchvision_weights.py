"""torchvision's weights in our nets: which key of its state dicts is which of ours.

| torchvision mobilenet_v2 | here |
| --- | --- |
| features.0.0, features.0.1 | stem.conv, stem.norm |
| features.B.conv.0.0, features.B.conv.0.1 (B from 2) | blocks.B-1.expand.conv, .norm |
| features.B.conv.1.0, features.B.conv.1.1 (features.1.conv.0.0, .0.1) | blocks.B-1.spatial.conv, .norm |
| features.B.conv.2, features.B.conv.3 (features.1.conv.1, .2) | blocks.B-1.project.conv, .norm |
| features.18.0, features.18.1 | head.conv, head.norm |
| classifier.1 | classifier |

The public PyTorch reproductions of MobileNetV2 number a block's layers through, activations included: its convolutions
are features.B.conv.0, .3 and .6 (without expansion .0 and .3), each before its batch norm; the last 1x1 convolution is
features.18 or conv, the classifier is classifier or classifier.1.

mobilenet_v3, efficientnet and mnasnet: a block's units in order are expand, spatial, project, or those of them that it
has; fc1 and fc2 of its squeeze-and-excitation are squeeze.fc1 and squeeze.fc2.

| torchvision resnet50, resnext50 | here (block n counts through all layers) |
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
    """A file of weights is missing, damaged or fits no net, or a state dict is not the one of the named net."""


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


def _mnasnet(modules: Iterable[str]) -> dict[str, str]:
    names = list(modules)
    plain = {0: "stem.conv", 1: "stem.norm", 14: "head.conv", 15: "head.norm"}
    plain |= {3: "blocks.0.spatial.conv", 4: "blocks.0.spatial.norm"}
    plain |= {6: "blocks.0.project.conv", 7: "blocks.0.project.norm"}
    table = {"classifier.1": "classifier"} | {f"layers.{number}": ours for number, ours in plain.items()}
    found = (re.match(r"layers\.(\d+)\.(\d+)\.layers\.", name) for name in names)
    blocks = sorted({(int(match[1]), int(match[2])) for match in found if match})
    units = {0: "expand.conv", 1: "expand.norm", 3: "spatial.conv", 4: "spatial.norm"}
    units |= {6: "project.conv", 7: "project.norm"}
    for number, (stack, block) in enumerate(blocks, 1):
        table |= {f"layers.{stack}.{block}.layers.{n}": f"blocks.{number}.{ours}" for n, ours in units.items()}
    return table


_UNITS = {1: ("spatial",), 2: ("spatial", "project"), 3: ("expand", "spatial", "project")}


def _mbconv(modules: Iterable[str], linears: Mapping[str, str]) -> dict[str, str]:
    """Of nets whose blocks are lists of units: features.S.block.U or features.S.B.block.U."""
    names = list(modules)
    last = max(int(found[1]) for name in names if (found := re.match(r"features\.(\d+)\.", name)))
    table = dict(linears)
    for part, ours in _UNIT.items():
        table |= {f"features.0.{part}": f"stem.{ours}", f"features.{last}.{part}": f"head.{ours}"}
    children: dict[str, set[int]] = {}
    squeezes: dict[str, int] = {}
    for name in names:
        if found := re.match(r"(features\.[\d.]+\.block)\.(\d+)\.(\w+)", name):
            if found[3] in ("fc1", "fc2"):
                squeezes[found[1]] = int(found[2])
            else:
                children.setdefault(found[1], set()).add(int(found[2]))
    order = sorted(children, key=lambda name: [int(word) for word in name.split(".") if word.isdigit()])
    for number, block in enumerate(order):
        for child, unit in zip(sorted(children[block]), _UNITS[len(children[block])], strict=True):
            table |= {f"{block}.{child}.{part}": f"blocks.{number}.{unit}.{ours}" for part, ours in _UNIT.items()}
        if block in squeezes:
            table |= {f"{block}.{squeezes[block]}.{fc}": f"blocks.{number}.squeeze.{fc}" for fc in ("fc1", "fc2")}
    return table


def _mobilenet_v3(modules: Iterable[str]) -> dict[str, str]:
    return _mbconv(modules, {"classifier.0": "hidden", "classifier.3": "classifier"})


def _efficientnet(modules: Iterable[str]) -> dict[str, str]:
    return _mbconv(modules, {"classifier.1": "classifier"})


_TABLES: dict[str, Callable[[Iterable[str]], dict[str, str]]] = {
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3_small": _mobilenet_v3,
    "mobilenet_v3_large": _mobilenet_v3,
    "mnasnet0_5": _mnasnet,
    "mnasnet1_0": _mnasnet,
    "efficientnet_b0": _efficientnet,
    "efficientnet_v2_s": _efficientnet,
    "resnet50": _resnet50,
    "resnext50_32x4d": _resnet50,
}


_NUMBERED = {1: ("spatial", "project"), 2: ("expand", "spatial", "project")}  # by the number of activations within


def _numbered(modules: Iterable[str]) -> dict[str, str]:
    names = set(modules)
    blocks = {int(found[1]) for name in names if (found := re.match(r"features\.(\d+)\.conv\.", name))}
    head = "conv" if "conv.0" in names else f"features.{max(blocks) + 1}"
    table = {"classifier": "classifier", "classifier.1": "classifier"}
    for part, ours in _UNIT.items():
        table |= {f"features.0.{part}": f"stem.{ours}", f"{head}.{part}": f"head.{ours}"}
    for block in blocks:
        units = _NUMBERED[2 if f"features.{block}.conv.6" in names else 1]
        for number, unit in enumerate(units):
            table[f"features.{block}.conv.{3 * number}"] = f"blocks.{block - 1}.{unit}.conv"
            table[f"features.{block}.conv.{3 * number + 1}"] = f"blocks.{block - 1}.{unit}.norm"
    return table


def from_public(state: Mapping[str, T]) -> dict[str, T]:
    """A state dict of a public PyTorch reproduction of MobileNetV2 under our keys; the values are the same objects.

    Args:
        state: any width and number of classes.

    Raises:
        WeightsError: a key that such a net does not have.
    """
    return _renamed(state, _numbered, "a public MobileNetV2")


def _renamed(state: Mapping[str, T], names: Callable[[Iterable[str]], dict[str, str]], whose: str) -> dict[str, T]:
    split = [key.rpartition(".") for key in state]
    try:
        table = names([module for module, _, _ in split])
        return {f"{table[module]}.{leaf}": state[f"{module}.{leaf}"] for module, _, leaf in split}
    except (KeyError, ValueError) as error:
        raise WeightsError(f"not a state dict of {whose}: {error}") from error


def from_torchvision(net: str, state: Mapping[str, T]) -> dict[str, T]:
    """A torchvision state dict under our keys, ready for ``load_state_dict``; the values are the same objects.

    Args:
        net: mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large, mnasnet0_5, mnasnet1_0, efficientnet_b0,
            efficientnet_v2_s, resnet50 or resnext50_32x4d.
        state: what torchvision's net of that name gives as ``state_dict()``; any width and number of classes.

    Raises:
        WeightsError: another net's name, or a key that the net does not have.
    """
    if net not in _TABLES:
        raise WeightsError(f"torchvision weights for a net: {one_of(net, _TABLES)}")
    return _renamed(state, _TABLES[net], f"torchvision's {net}")
