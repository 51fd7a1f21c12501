"""A trial's state after an epoch, in a file that is whole or not there."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from ablate.errors import AblateError
from ablate.files import write_whole

MAGIC = b"ablate checkpoint 1\n"


class DamagedError(AblateError):
    """A checkpoint that cannot be gone on from."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors, numbers, strings, lists and dicts with a checksum; killed at any instant, the old file stands.

    Raises:
        AblateError: the folder cannot be written.
    """
    content = io.BytesIO()
    torch.save(state, content)
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
    if not content.startswith(MAGIC) or hashlib.sha256(content[head:]).digest() != content[len(MAGIC) : head]:
        raise DamagedError(f"{path}: does not match its checksum")
    state: dict[str, Any] = torch.load(io.BytesIO(content[head:]), map_location=device, weights_only=True)
    if state.get("key") != key:
        raise DamagedError(f"{path}: belongs to trial {state.get('key')}, not {key}")
    return state


def set_aside(path: Path) -> Path:
    """Renames a damaged checkpoint so that it can be looked at; an earlier one makes way."""
    aside = path.with_name(path.name + ".damaged")
    path.replace(aside)
    return aside
