"""What the kernel's control groups (cgroup 1 and 2) leave to this process: memory and processors of a container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

UNLIMITED = 1 << 60  # version 1 writes "no limit" as the largest multiple of a page
ROOT = Path("/")


def memory_left(root: Path = ROOT) -> int | None:
    """Bytes that may still be taken before a limit of this process's groups is met; None where there is no limit.

    Pages of files that the kernel can drop at once do not count as taken.

    Args:
        root: where ``proc`` and ``sys`` lie.
    """
    left = []
    for folder in _folders(root, "memory"):
        limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes")
        taken = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
        if limit is not None and taken is not None and limit < UNLIMITED:
            left.append(max(0, limit - taken + _droppable(folder / "memory.stat")))
    return min(left, default=None)


def processors(root: Path = ROOT) -> float | None:
    """How many processors' time this process's groups may use; None where there is no limit."""
    shares = []
    for folder in _folders(root, "cpu"):
        words = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]):
            shares.append(int(words[0]) / int(words[1]))
    return min(shares, default=None)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """The group of this process and all above it, of both versions; a container sees its own group as the top."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            top = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / controller
        else:
            continue
        inner = top / path.strip("/")
        yield top
        while inner != top:
            yield inner
            inner = inner.parent


def _droppable(stat: Path) -> int:
    fields = dict(line.split(maxsplit=1) for line in _text(stat).splitlines() if " " in line)
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))


def _number(*places: Path) -> int | None:
    """The number in the first of these files that is there; None for ``max``."""
    words = next((words for place in places if (words := _words(place))), [""])
    return int(words[0]) if words[0].isdecimal() else None


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
