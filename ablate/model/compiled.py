"""The C kernels of ``native/``: ``library()`` is them, or None.

A wheel brings them compiled (variants.py). Elsewhere they are compiled once for this processor and kept, which needs a
C compiler that knows gcc's vectors (gcc or clang). Without one training runs on torch's own kernels.
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
import signal
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from ctypes import c_float, c_int, c_long, c_void_p
from pathlib import Path
from typing import Any

from ablate.cpu import cpu_facts
from ablate.errors import AblateError
from ablate.files import write_whole
from ablate.model.variants import FLAGS, LIMIT_S, SOURCES, file_of, suitable

NATIVE = "-march=native"

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
    "normalise_forward": [c_void_p, c_void_p, c_int, c_void_p, c_int, *_ROWS, c_void_p],
    "normalise_backward": [*[c_void_p] * 4, c_int, c_int, *_ROWS, *[c_void_p] * 3],
}


def library() -> ctypes.CDLL | None:
    """The kernels; None where there is no compiler for them, or none that works, or they are not wanted.

    Raises:
        AblateError: $ABLATE_KERNELS is neither ``fused`` nor ``torch``.
    """
    return _tried()[0]


def absence() -> str | None:
    """Why there are no kernels, in a few words; None where there are, or where torch's were asked for."""
    return _tried()[1] or None


def name() -> str:
    """What the kernels are: "wheel avx2" where the wheel brought that variant, "native avx2" where compiled here."""
    if brought := _tried()[2]:
        return f"wheel {brought}"
    return " ".join(["native", *[word for word in ("avx512f", "avx2", "asimd") if word in cpu_facts()[1]][:1]])


@functools.cache
def _tried() -> tuple[ctypes.CDLL | None, str, str]:
    """The kernels, why there are none, and the wheel's variant that they are."""
    wanted = os.environ.get("ABLATE_KERNELS") or "fused"
    if wanted not in ("fused", "torch"):
        raise AblateError(f"$ABLATE_KERNELS must be fused or torch, got {wanted}")
    if wanted == "torch":
        return None, "", ""
    if brought := suitable(cpu_facts()[1]):
        with contextlib.suppress(OSError, AttributeError):  # of another C library
            return _opened(file_of(brought.name)), "", brought.name
    compiler = _compiler()
    if compiler is None:
        return None, "No C compiler was found", ""
    name = " ".join(compiler)
    for folder in (_cache, _temporary):  # the former may be full, or lie where nothing may be run from
        try:
            return _loaded(_made(compiler, folder())), "", ""
        except subprocess.TimeoutExpired:
            return None, f"{name} did not finish within {LIMIT_S} s", ""
        except (OSError, AttributeError, subprocess.SubprocessError):
            continue
    return None, f"{name} cannot compile this package's kernels", ""


def _opened(path: Path) -> ctypes.CDLL:
    found = ctypes.CDLL(str(path))
    for name, arguments in SIGNATURES.items():
        function = getattr(found, name)
        function.argtypes, function.restype = arguments, None
    return found


def _loaded(path: Path) -> ctypes.CDLL:
    """The same of a file in the cache, which goes if it cannot be loaded."""
    try:
        return _opened(path)
    except (OSError, AttributeError):
        path.unlink(missing_ok=True)
        raise


def _compiler() -> tuple[str, ...] | None:
    """The command that compiles, as words."""
    commands = [shlex.split(os.environ["CC"])] if os.environ.get("CC") else [["cc"], ["gcc"], ["clang"]]
    return next((tuple(words) for words in commands if words and shutil.which(words[0])), None)


def _made(compiler: Sequence[str], folder: Path) -> Path:
    """The library's file; made unless this compiler has made it of these sources for this kind of processor before.

    Its name ends with the sha256 of its content, so that one that a crash cut short is never loaded.
    """
    sources = sorted(SOURCES.glob("*.[ch]"))
    version = _output([*compiler, "--version"])
    name, abilities = cpu_facts()
    about = [version, name.encode(), *(word.encode() for word in (*sorted(abilities), *compiler, *FLAGS, NATIVE))]
    digest = _sha256(b"\n".join([*about, *(source.read_bytes() for source in sources)]))
    start = f"kernels-{digest[:16]}"
    for kept in sorted(folder.glob(f"{start}-*.so")):
        if kept.name == f"{start}-{_sha256(kept.read_bytes())}.so":
            return kept
        kept.unlink(missing_ok=True)
    files = [str(source) for source in sources if source.suffix == ".c"]
    with tempfile.TemporaryDirectory(prefix="ablate-compiled-") as place:
        new = Path(place) / "kernels.so"
        _output([*compiler, *FLAGS, NATIVE, "-o", str(new), *files, "-lm"])
        content = new.read_bytes()
    path = folder / f"{start}-{_sha256(content)}.so"
    write_whole(path, content)
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _output(command: list[str]) -> bytes:
    """What a command prints. One that takes too long is killed with all that it started.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be run, fails, or takes too long.
    """
    with subprocess.Popen(  # noqa: S603 - no shell
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=LIMIT_S)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return output


def _cache() -> Path:
    """Where compiled kernels are kept: the user's cache, or a folder of this process where that is not safe.

    A library is code: whoever can write it, or put another folder in its place, can run what they like as this user.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ablate" / "kernels"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        safe = _is_private(folder) and os.access(folder, os.W_OK)
    except (OSError, RuntimeError):  # the latter: the user has no home
        return _temporary()
    return folder if safe else _temporary()


def _is_private(folder: Path) -> bool:
    """Whether a folder is this user's, nobody else can write to it, and nobody but its owners can replace it."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        return False
    above = [parent.stat() for parent in folder.resolve().parents]
    return all(
        one.st_uid in (0, os.geteuid()) and (not one.st_mode & 0o002 or one.st_mode & stat.S_ISVTX) for one in above
    )


def _temporary() -> Path:
    folder = tempfile.mkdtemp(prefix="ablate-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
