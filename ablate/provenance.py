"""Which code a number came from."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from pathlib import Path

import ablate


@functools.cache
def commit() -> str:
    """The git commit of the checkout that ablate is imported from, "-dirty" if files changed; empty if installed."""
    checkout = Path(ablate.__file__).parents[1]
    if not (checkout / ".git").exists():  # an installed package may lie inside another project's checkout
        return ""
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


@functools.cache
def code() -> str:
    """16 hex digits over the files of the package: edited code, or another version, gives others."""
    package, whole = Path(ablate.__file__).parent, hashlib.sha256()
    for file in sorted(package.rglob("*")):
        if file.suffix in {".py", ".j2", ".css"}:
            whole.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes() + b"\0")
    return whole.hexdigest()[:16]
