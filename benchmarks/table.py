"""The table of goal, measured, reached, and the page that carries it."""

from __future__ import annotations

import importlib.metadata
import operator
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
KEPT_PROFILES = HERE.parent / "docs" / "profiles"
PROFILES = Path(tempfile.gettempdir()) / "ablate-bench-profiles"  # of a part run alone; a whole run sets the other
TRIED = HERE / "tried.md"

COMPARE = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One claim.

    Attributes:
        part: name of the part of the suite that measured it; its profile is ``docs/profiles/PART.md``.
        claim: what is measured, with its unit.
        relation, goal: ">=", "<=" or "<" and the number; a row without a goal is there to be known.
        value: as measured; None where it could not be.
        shown: the measurement in words, with its spread.
    """

    part: str
    claim: str
    value: float | None
    shown: str
    relation: str = ">="
    goal: float | None = None

    @property
    def reached(self) -> bool | None:
        """None for a row without a goal; a goal that could not be measured is not reached."""
        if self.goal is None:
            return None
        return self.value is not None and bool(COMPARE[self.relation](self.value, self.goal))

    def cells(self) -> tuple[str, str, str, str]:
        goal = "" if self.goal is None else f"{self.relation} {self.goal:g}"
        verdict = {True: "yes", False: "**no**", None: ""}[self.reached]
        return self.claim, goal, self.shown, verdict


HEAD = ("what", "goal", "measured", "reached")


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as a markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (HEAD, ("---",) * 4, *(row.cells() for row in rows)))


def as_text(rows: Sequence[Row]) -> str:
    """The rows for a terminal."""
    lines = [HEAD, *(tuple(cell.replace("*", "") for cell in row.cells()) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Processor, cores and versions, in a sentence."""
    model = platform.processor() or platform.machine()
    features: set[str] = set()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            if key.strip() == "flags":
                features = set(value.split())
    best = next((name for name in ("avx512f", "avx2") if name in features), "")
    names = ("torch", "torchvision", "lightning", "mlflow", "optuna")
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    kind = f" ({best})" if best else ""
    return f"{model}{kind}, {cores()} cores, {platform.system()}, Python {platform.python_version()}, {versions}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def write_profile(part: str, text: str) -> None:
    """Keeps what a part measured in detail, for the page and for people."""
    PROFILES.mkdir(parents=True, exist_ok=True)
    (PROFILES / f"{part}.md").write_text(text.rstrip() + "\n")


def _section(text: str, title: str) -> str:
    """What stands under ``## title``, or nothing."""
    _, found, rest = f"\n{text}".partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0].strip() if found else ""


def page(rows: Sequence[Row], *, command: str, minutes: float) -> str:
    """The whole page: table, machine, command, and for every goal that was missed its profile and what was tried."""
    parts = [
        "# Benchmarks",
        (
            "Written by the suite itself; edit `benchmarks/`, not this page. Every figure is a ratio of turns taken in "
            "one run on one machine, A B A B, as median (lowest to highest); no figure is compared with another day's."
        ),
        as_markdown(rows),
        f"Machine: {machine()}.",
        f"Command: `{command}` ({minutes:.1f} minutes).",
    ]
    missed = list(dict.fromkeys(row.part for row in rows if row.reached is False))
    profiles, notes = PROFILES, TRIED.read_text() if TRIED.exists() else ""
    for part in missed:
        parts.append(f"## Why `{part}` misses a goal")
        profile = profiles / f"{part}.md"
        if profile.exists():
            parts.append(profile.read_text().strip())
        if words := _section(notes, part):
            parts += ["What was tried:", words]
    kept = [row.part for row in rows if row.part not in missed and (profiles / f"{row.part}.md").exists()]
    if kept:
        links = ", ".join(f"[{part}](profiles/{part}.md)" for part in dict.fromkeys(kept))
        parts.append(f"Profiles of the other parts: {links}.")
    return "\n\n".join(parts) + "\n"


def note(message: str) -> None:
    """Progress, beside the table."""
    print(message, file=sys.stderr, flush=True)
