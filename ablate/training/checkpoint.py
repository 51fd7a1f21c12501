"""A trial's state after an epoch, in a file that is whole or not there."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablate.errors import AblateError
from ablate.files import write_whole

MAGIC = b"ablate checkpoint 3\n"
EARLIER = (b"ablate checkpoint 1\n", b"ablate checkpoint 2\n")
_TENSOR = "tensor of"  # key of what stands for a tensor


class DamagedError(AblateError):
    """A checkpoint that cannot be resumed from."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors, numbers, strings, lists and dicts with a checksum; killed at any instant, the old file stands.

    Raises:
        AblateError: the folder cannot be written.
    """
    content = io.BytesIO()
    packed = _Packed()
    layout = packed.layout(state)
    numbers = {kind: torch.cat(parts) for kind, parts in packed.parts.items()}
    torch.save({"layout": layout, "numbers": numbers}, content)
    payload = content.getvalue()
    try:
        write_whole(path, MAGIC + hashlib.sha256(payload).digest() + payload)
    except OSError as error:
        raise AblateError(f"{path}: the checkpoint cannot be written ({error.strerror or error})") from error


def load(path: Path, *, key: str, device: str) -> dict[str, Any]:
    """What ``save`` wrote; code in the file is never run.

    Raises:
        DamagedError: the file is not a whole checkpoint of the trial with this key.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({error.strerror or error})") from error
    head = len(MAGIC) + hashlib.sha256().digest_size
    if content.startswith(EARLIER):
        raise DamagedError(f"{path}: was written by an earlier version")
    if not content.startswith(MAGIC) or hashlib.sha256(content[head:]).digest() != content[len(MAGIC) : head]:
        raise DamagedError(f"{path}: does not match its checksum")
    saved = torch.load(io.BytesIO(content[head:]), map_location=device, weights_only=True)
    state: dict[str, Any] = _unpacked(saved["layout"], saved["numbers"])
    if state.get("key") != key:
        raise DamagedError(f"{path}: belongs to trial {state.get('key')}, not {key}")
    return state


class _Packed:
    """The numbers of many tensors, by dtype and device, one tensor's after the other's as they lie in memory.

    A net and its optimiser have hundreds of tensors, of which torch.save makes a file each: 20 ms a checkpoint.
    """

    def __init__(self) -> None:
        self.parts: dict[str, list[Tensor]] = {}
        self._lengths: dict[str, int] = {}

    def layout(self, value: Any) -> Any:
        """The same with a dict in place of every tensor.

        Strides are kept: the fused optimisers read a parameter and its averages side by side as they lie in memory.
        """
        if isinstance(value, Tensor):
            return self._placed(value.detach(), f"{value.dtype} on {value.device}")
        if isinstance(value, dict):
            return {key: self.layout(part) for key, part in value.items()}
        return [self.layout(part) for part in value] if isinstance(value, list) else value

    def _placed(self, x: Tensor, kind: str) -> dict[str, Any]:
        x = x if _is_dense(x) else x.contiguous()
        start = self._lengths.get(kind, 0)
        self._lengths[kind] = start + x.numel()
        self.parts.setdefault(kind, []).append(x.as_strided((x.numel(),), (1,)))
        return {_TENSOR: kind, "start": start, "shape": list(x.shape), "stride": list(x.stride())}


def _unpacked(value: Any, numbers: dict[str, Tensor]) -> Any:
    """The inverse of ``_Packed.layout``, every tensor with memory of its own."""
    if isinstance(value, dict) and _TENSOR in value:
        all_of_them, start = numbers[value[_TENSOR]], value["start"]
        return all_of_them.as_strided(value["shape"], value["stride"], start).clone()
    if isinstance(value, dict):
        return {key: _unpacked(part, numbers) for key, part in value.items()}
    return [_unpacked(part, numbers) for part in value] if isinstance(value, list) else value


def _is_dense(x: Tensor) -> bool:
    """Whether its numbers lie in memory without gaps or overlap, in whichever order of the dimensions."""
    expected = 1
    for stride, size in sorted(zip(x.stride(), x.shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def set_aside(path: Path) -> Path:
    """Renames a damaged checkpoint so that it can be looked at; an earlier one makes way."""
    aside = path.with_name(path.name + ".damaged")
    path.replace(aside)
    return aside
