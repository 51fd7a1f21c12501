"""The verdicts as markdown: the note of the campaign's run in MLflow."""

from __future__ import annotations

import html
import re

import pandas as pd

from ablate.reporting import co_primary, tables, words
from ablate.reporting.headline import headline
from ablate.reporting.results import Results


def note(results: Results) -> str:
    """The answer, the question, what voids the study, and the verdicts as a table with their rule."""
    study = results.plan.study
    parts = [f"**{escape(headline(results))}**", f"## {escape(words.title(results))}", escape(study.question)]
    parts.append(escape(words.facts(results)))
    parts += [f"> **{escape(statement)}**" for statement in words.gravest(results)]
    parts.append("\n".join(f"- {escape(line)}" for line in words.effect_sentences(results)))
    parts.append(table(tables.verdict_rows(results)))
    parts.append("\n".join(f"- {escape(line)}" for line in co_primary.sentences(results)))
    parts.append(escape(results.judgement.method))
    parts.append(f"Campaign `{study.digest}`; the whole report is among the artifacts, under `report/`.")
    return "\n\n".join(part for part in parts if part)


def escape(text: str) -> str:
    """Text that markdown and HTML show as it was written."""
    shown = html.escape(words.plain(text), quote=False).replace("\n", " ")
    return re.sub(r"([\\`*_{}\[\]()#+!|~>-])", r"\\\1", shown)


def table(frame: pd.DataFrame) -> str:
    """A frame of printed text as a markdown table; empty where there are no rows."""
    if frame.empty:
        return ""
    head = [" | ".join(escape(str(name)) for name in frame.columns), " | ".join("---" for _ in frame.columns)]
    body = [" | ".join(escape(str(cell)) for cell in line) for line in frame.itertuples(index=False)]
    return "\n".join(f"| {line} |" for line in [*head, *body])
