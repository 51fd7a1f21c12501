"""The page of a study: one self-contained HTML file, made from Results without a Jupyter kernel."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

import ablate
from ablate.reporting import words
from ablate.reporting.headline import short_verdict
from ablate.reporting.parts import Chart, Part, Table
from ablate.reporting.results import Results
from ablate.reporting.sections import SECTIONS
from ablate.reporting.svg import dark_colours, inline

HERE = Path(__file__).parent
DARK = (
    "--page: #151515; --ink: #e6e6e6; --soft: #a9b0ba; --line: #363a40; --box: #212327; --warn: #33241a; "
    "--edge: #ee7b30; --link: #7cbcf0; --good: #4cc9a0; --bad: #ff9a5c; --same: #7cbcf0; --open: #d3c04c;"
)


@dataclass
class Laid:
    """A section of a page with its parts ready to be laid out."""

    name: str
    title: str
    parts: list[dict[str, Any]]


def render_page(results: Results) -> tuple[str, tuple[Chart, ...]]:
    """The page, and the charts on it."""
    study = results.plan.study
    made = [(section, section.parts(results)) for section in SECTIONS]
    shown = [laid(section.name, section.title, parts) for section, parts in made if parts]
    charts = tuple(part for _, parts in made for part in parts if isinstance(part, Chart))
    title = f"{words.title(results)}: {short_verdict(results)}"
    title += "" if study.own_training else f" ({results.plan.data.name})"
    return lay_out(title, words.title(results), words.facts(results), shown), charts


def laid(name: str, title: str, parts: Sequence[Part]) -> Laid:
    """A section with its parts ready to be laid out."""
    return Laid(name, title, [_laid(part) for part in parts])


def lay_out(title: str, heading: str, facts: str, sections: list[Laid]) -> str:
    """A whole page from its sections."""
    drawn = "".join(str(part.get("svg", "")) for section in sections for part in section.parts)
    style = (HERE / "page.css").read_text(encoding="utf-8")
    style += f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {DARK} {dark_colours(drawn)} }} }}\n"
    footer = f"Made by ablate {ablate.__version__}. The page loads nothing from elsewhere."
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            heading=heading,
            facts=facts,
            sections=sections,
            style=Markup(style),  # noqa: S704 - our own
            footer=footer,
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else words.plain(value),
    )  # fmt: skip


def _laid(part: Part) -> dict[str, Any]:
    """What the template shows of a part."""
    told = {"is": type(part).__name__, **vars(part)}
    if isinstance(part, Table):
        return told | lay_table(part.frame)
    if isinstance(part, Chart):
        return told | {"svg": _pictures(part), "files": True}
    return told


def _pictures(chart: Chart) -> Markup:
    """The chart as drawn for a wide page and, where it can be, for a phone; the style of the page shows one of them."""
    alt = html.escape(words.plain(chart.alt), quote=True)
    narrow = chart.phone_svg()
    wide = inline(chart.svg(), chart.name, alt)
    if narrow is not None:
        wide = wide.replace('class="chart"', 'class="chart broad"', 1)
        wide += inline(narrow, f"{chart.name}-narrow", alt).replace('class="chart"', 'class="chart narrow"', 1)
    return Markup(wide)  # noqa: S704 - text is escaped by matplotlib


# Columns of words stand to the left, all others are numbers and stand to the right.
_WORDS = {
    "arm", "change", "verdict", "expected", "value", "status", "remark", "trial key", "metric", "effect", "from",
    "outcome", "factor", "check", "contrast", "together", "why", "aliased with", "best setting", "at the edge", "step",
    "A", "B", "A: verdict", "B: verdict",
}  # fmt: skip
_OUTCOMES = ("better", "worse", "equivalent", "no worse", "undecided", "not judged", "failed", "diverged", "missing")


def lay_table(frame: pd.DataFrame) -> dict[str, Any]:
    """Columns and rows of a frame of printed text, each cell with its class; the first column heads its row."""
    kinds = ["word" if name in _WORDS or str(name).startswith("what") else "number" for name in frame.columns]
    columns = [{"name": str(name), "kind": kind} for name, kind in zip(frame.columns, kinds, strict=True)]
    rows = [
        [_cell(cell, kind, first=place == 0) for place, (cell, kind) in enumerate(zip(line, kinds, strict=True))]
        for line in frame.itertuples(index=False)
    ]
    return {"columns": columns, "rows": rows}


def _cell(value: object, kind: str, *, first: bool) -> dict[str, object]:
    text = str(value)
    outcome = f" {text.replace(' ', '-')}" if text in _OUTCOMES and not first else ""
    escaped = html.escape(words.plain(text))
    # arms of a factorial study have long names
    shown = re.sub(r"\+(?=\w)", "+<wbr>", escaped).replace("@", "<wbr>@") if kind == "word" else escaped
    tag = Markup('th scope="row"' if first else "td")  # noqa: S704
    return {"tag": tag, "kind": kind + outcome, "text": Markup(shown)}  # noqa: S704 - escaped above
