"""Weights from a file into a net, matched by name and shape, with a report of what was loaded, left out and why.

Files of torch.save and of safetensors; our own names, those of torchvision's nets, or those of the public PyTorch
reproductions of MobileNetV2. Code in a file is never run.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ablate.design.initial import SUFFIXES
from ablate.model.nets import Net
from ablate.model.torchvision_weights import WeightsError, from_public, from_torchvision

_WRAPPERS = ("state_dict", "model", "model_state_dict")  # what training scripts keep weights under
_COUNTER = "num_batches_tracked"  # of a batch norm; of no use after training
THE_NETS = "the net's own"
_FEW = 5  # names that a sentence lists


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What a file of weights gave to a net.

    Attributes:
        path: of the file.
        layout: whose names the file has: ours, mobilenet_v2_public, a net of torchvision's, or those of
            an imported net, which are not translated.
        loaded: names in the net that now hold the file's numbers.
        left_out: names in the file (under our names, where they have one) to why they were not loaded.
        kept: names in the net that the file has no numbers for; they stay as they were.
    """

    path: Path
    layout: str
    loaded: tuple[str, ...]
    left_out: Mapping[str, str]
    kept: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """In a line, for a record: how many tensors were loaded, and the first of those that were not."""
        parts = [f"{len(self.loaded)} tensors loaded (names: {self.layout})"]
        if self.left_out:
            parts.append(f"left out: {_few([f'{name} {reason}' for name, reason in self.left_out.items()])}")
        if self.kept:
            parts.append(f"kept as initialised: {_few(self.kept)}")
        return "; ".join(parts)

    def __str__(self) -> str:
        lines = [f"{self.path}: {len(self.loaded)} tensors loaded (names: {self.layout})"]
        lines += [f"left out: {name}: {reason}" for name, reason in self.left_out.items()]
        if self.kept:
            lines.append(f"kept as initialised: {_few(self.kept)}")
        return "\n".join(lines)


def load_weights(net: nn.Module, path: Path | str) -> LoadReport:
    """Loads every tensor whose name and shape match the net, and reports the others.

    Args:
        net: changed in place, only if the whole file can be read.
        path: a .pt or .pth file of torch.save (a state dict, or a dict that holds one), or a .safetensors file.

    Raises:
        WeightsError: the file is missing, truncated or not a file of weights, contains anything but plain tensors,
            contains numbers that are not finite, or has no tensor that fits the net.

    Example:
        >>> import tempfile
        >>> from ablate import build, load_weights, zoo
        >>> file = Path(tempfile.mkdtemp()) / "net.pt"
        >>> torch.save(build(zoo.mobilenet_v2_mnist(num_classes=10)).state_dict(), file)
        >>> list(load_weights(build(zoo.mobilenet_v2_mnist(num_classes=4)), file).left_out)
        ['classifier.weight', 'classifier.bias']
    """
    file = Path(path)
    own, state = net.state_dict(), _unwrapped(_read(file), file)
    layout, state = _translated(state) if isinstance(net, Net) else (THE_NETS, state)
    reasons = {name: _misfit(value, own.get(name)) for name, value in state.items()}
    loaded = {name: state[name] for name, reason in reasons.items() if not reason}
    if not any(not name.endswith(_COUNTER) for name in loaded):
        raise WeightsError(f"{file}: no tensor fits this net: {_few([f'{n}: {r}' for n, r in reasons.items() if r])}")
    for name, value in loaded.items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{file}: {name} holds numbers that are not finite")
    net.load_state_dict(loaded, strict=False)
    return LoadReport(
        path=file,
        layout=layout,
        loaded=tuple(loaded),
        left_out={name: reason for name, reason in reasons.items() if reason},
        kept=tuple(name for name in own if name not in loaded and not name.endswith(_COUNTER)),
    )


def _misfit(value: Any, own: Tensor | None) -> str:
    """Why a tensor of the file is not loaded; empty where it is."""
    if not isinstance(value, Tensor):
        return f"is no tensor but a {type(value).__name__}"
    if own is None:
        return "the net has no such name"
    if value.shape != own.shape:
        return f"has shape {tuple(value.shape)}, the net's has {tuple(own.shape)}"
    if value.is_floating_point() != own.is_floating_point():
        return f"holds {value.dtype}, the net's holds {own.dtype}"
    return ""


def _read(file: Path) -> Any:
    if file.suffix not in SUFFIXES:
        raise WeightsError(f"{file}: must end in {', '.join(SUFFIXES)}")
    if not file.is_file():
        raise WeightsError(f"{file}: {'is not a file' if file.exists() else 'there is no such file'}")
    return _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file)


def _read_torch(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of foreign pickles, which are refused anyway
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        told = str(error)
        if "GLOBAL" in told or ("Unsupported" in told and "Unsupported operand" not in told):
            message = f"{file}: holds more than tensors, and loading it could run code; save a plain state dict"
            raise WeightsError(message) from error
        raise WeightsError(f"{file}: is truncated, damaged or no file of torch.save") from error
    except (EOFError, RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise WeightsError(f"{file}: is truncated, damaged or no file of torch.save") from error
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror or error})") from error


def _read_safetensors(file: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise WeightsError(f"{file}: needs the package safetensors: pip install safetensors") from error
    try:
        return load_file(file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{file}: is truncated, damaged or no safetensors file ({error})") from error
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror or error})") from error


def _unwrapped(content: Any, file: Path) -> dict[str, Any]:
    """The state dict in what a file holds, without the ``module.`` that DataParallel puts before every name."""
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{file}: holds no state dict, but a {type(content).__name__}")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


# Whose names a state dict has: the first of these that one of them begins with.
_LAYOUTS = {
    "mobilenet_v2": r"features\.\d+\.conv\.0\.0\.",
    "mobilenet_v2_public": r"features\.\d+\.conv\.",
    "mobilenet_v3_large": r"features\.\d+\.block\.",
    "efficientnet_b0": r"features\.\d+\.\d+\.block\.",
    "mnasnet1_0": r"layers\.\d+\.\d+\.layers\.",
    "resnet50": r"layer\d+\.\d+\.conv1\.",
}


def _translated(state: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Whose names the state dict has, and the same under ours."""
    for layout, begin in _LAYOUTS.items():
        if any(re.match(begin, name) for name in state):
            public = layout == "mobilenet_v2_public"
            return layout, from_public(state) if public else from_torchvision(layout, state)
    return "ours", state


def _few(names: Any) -> str:
    listed = list(names)
    more = len(listed) - _FEW
    return "; ".join(listed[:_FEW]) + (f"; and {more} more" if more > 0 else "")
