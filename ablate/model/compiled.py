"""The C kernels of ``native/``, compiled once for this processor and kept: ``library()`` is them, or None.

They need a C compiler that knows gcc's vectors (gcc or clang). Without one training runs on torch's own kernels.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from ctypes import c_float, c_int, c_long, c_void_p
from pathlib import Path
from typing import Any

from ablate.cpu import cpu_facts
from ablate.errors import AblateError
from ablate.files import make_whole

SOURCES = Path(__file__).parent / "native"
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared")
LIMIT_S = 120

_STATISTICS = [c_void_p] * 5 + [c_float] * 2  # gamma, beta, running mean and variance, batches, momentum, eps
_SOURCE = [c_void_p, c_void_p, c_int, c_void_p]  # x, affine, activation, weight
_OUTCOME = [c_void_p] * 4  # d_z, d_affine, z, affine
_POINTWISE = [c_long] * 3  # rows, channels in and out
_DEPTHWISE = [c_long] * 5  # images, height, width, channels, stride
_ROWS = [c_long] * 2  # rows, channels
SIGNATURES: dict[str, list[Any]] = {
    "pointwise_forward": [*_SOURCE, *_POINTWISE, *_STATISTICS, *[c_void_p] * 2],
    "pointwise_backward": [*_OUTCOME, *_SOURCE, *_POINTWISE, c_int, *[c_void_p] * 4],
    "depthwise_forward": [*_SOURCE, *_DEPTHWISE, *_STATISTICS, *[c_void_p] * 2],
    "depthwise_backward": [*_OUTCOME, *_SOURCE, *_DEPTHWISE, c_int, *[c_void_p] * 4],
    "norm_forward": [c_void_p, *_ROWS, *_STATISTICS, c_void_p],
    "norm_backward": [*_OUTCOME, *_ROWS, c_int, *[c_void_p] * 2],
    "settle_forward": [c_void_p, c_void_p, c_int, c_void_p, c_int, *_ROWS, c_void_p],
    "settle_backward": [*[c_void_p] * 4, c_int, c_int, *_ROWS, *[c_void_p] * 3],
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels; None where there is no compiler for them, or none that works, or they are not wanted.

    Raises:
        AblateError: $ABLATE_KERNELS is neither ``fused`` nor ``torch``.
    """
    wanted = os.environ.get("ABLATE_KERNELS") or "fused"
    if wanted not in ("fused", "torch"):
        raise AblateError(f"$ABLATE_KERNELS must be fused or torch, got {wanted}")
    compiler = _compiler()
    if wanted == "torch" or compiler is None:
        return None
    for folder in (_cache, _temporary):  # what is kept may be damaged, or lie where nothing may be run from
        with contextlib.suppress(OSError, AttributeError, subprocess.SubprocessError):
            return _loaded(_made(compiler, folder()))
    return None


def _loaded(path: Path) -> ctypes.CDLL:
    try:
        found = ctypes.CDLL(str(path))
        for name, arguments in SIGNATURES.items():
            function = getattr(found, name)
            function.argtypes, function.restype = arguments, None
    except (OSError, AttributeError):
        path.unlink(missing_ok=True)
        raise
    return found


def absence() -> str | None:
    """Why there are no kernels, in a few words; None where there are, or where torch's were asked for."""
    if os.environ.get("ABLATE_KERNELS") == "torch" or library() is not None:
        return None
    compiler = _compiler()
    if compiler is None:
        return "No C compiler was found"
    return f"{' '.join(compiler)} cannot compile this package's kernels"


def _compiler() -> tuple[str, ...] | None:
    """The command that compiles, as words."""
    commands = [shlex.split(os.environ["CC"])] if os.environ.get("CC") else [["cc"], ["gcc"], ["clang"]]
    return next((tuple(words) for words in commands if words and shutil.which(words[0])), None)


def _made(compiler: Sequence[str], folder: Path) -> Path:
    """The library's file; made unless this compiler has made it of these sources for this kind of processor before."""
    sources = sorted(SOURCES.glob("*.[ch]"))
    version = _output([*compiler, "--version"])
    name, abilities = cpu_facts()
    about = [version, name.encode(), *(word.encode() for word in (*sorted(abilities), *compiler, *FLAGS))]
    digest = hashlib.sha256(b"\n".join([*about, *(source.read_bytes() for source in sources)])).hexdigest()
    path = folder / f"kernels-{digest[:16]}.so"
    if not path.exists():
        files = [str(source) for source in sources if source.suffix == ".c"]
        make_whole(path, lambda new: _output([*compiler, *FLAGS, "-o", str(new), *files, "-lm"]))
    return path


def _output(command: list[str]) -> bytes:
    return subprocess.run(command, capture_output=True, check=True, timeout=LIMIT_S).stdout  # noqa: S603 - no shell


def _cache() -> Path:
    """Where compiled kernels are kept: the user's cache, or a folder of this process where that cannot be written."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ablate"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the latter: the user has no home
        return _temporary()
    return folder if os.access(folder, os.W_OK) else _temporary()


def _temporary() -> Path:
    folder = tempfile.mkdtemp(prefix="ablate-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
