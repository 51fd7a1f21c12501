"""Pieces of the report as HTML, with every text escaped: what a notebook's cell shows as its last value."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ablate.reporting.canvas import save


@dataclass(frozen=True)
class Piece:
    """HTML that a notebook shows; ``plain`` where there is no HTML."""

    html: str
    plain: str = ""

    def __add__(self, other: Piece) -> Piece:
        return Piece(self.html + other.html, "\n".join(part for part in (self.plain, other.plain) if part))

    def __bool__(self) -> bool:
        return bool(self.html)

    def __repr__(self) -> str:
        return self.plain

    def _repr_html_(self) -> str:
        return self.html


NOTHING = Piece("")


def heading(text: str, level: int = 2) -> Piece:
    """A heading; an empty text gives nothing."""
    return Piece(f"<h{level}>{html.escape(text)}</h{level}>", text) if text else NOTHING


def paragraph(text: str, kind: str = "") -> Piece:
    """A paragraph; ``kind`` is one of the page's classes. An empty text gives nothing."""
    style = f' class="{html.escape(kind)}"' if kind else ""
    return Piece(f"<p{style}>{html.escape(text)}</p>", text) if text else NOTHING


def bullets(texts: Sequence[str]) -> Piece:
    """A list; no texts give nothing."""
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return Piece(f"<ul>{items}</ul>", "\n".join(f"- {text}" for text in texts)) if texts else NOTHING


def box(texts: Sequence[str], kind: str) -> Piece:
    """A box that cannot be overlooked, ``kind`` ``warning`` or ``notice``; no texts give nothing."""
    items = "".join(f"<p>{html.escape(text)}</p>" for text in texts)
    return Piece(f'<div class="{html.escape(kind)}">{items}</div>', "\n".join(texts)) if texts else NOTHING


def table(frame: pd.DataFrame, caption: str = "", *, folded: bool = False) -> Piece:
    """A frame of printed text as a table, scrolled sideways where it is wide, behind its caption where ``folded``.

    An empty frame gives nothing.
    """
    if frame.empty:
        return NOTHING
    words = [name in _WORDS or str(name).startswith("what") for name in frame.columns]
    head = "".join(_cell("th", name, word) for name, word in zip(frame.columns, words, strict=True))
    body = "".join(
        f"<tr>{''.join(_cell('td', cell, word) for cell, word in zip(line, words, strict=True))}</tr>"
        for line in frame.itertuples(index=False)
    )
    told = html.escape(caption)
    inner = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    if folded:
        return Piece(f"<details><summary>{told}</summary>{inner}</details>", frame.to_string(index=False))
    above = f'<p class="caption">{told}</p>' if caption else ""
    return Piece(above + inner, frame.to_string(index=False))


# Columns of words stand to the left, all others are numbers and stand to the right.
_WORDS = {
    "arm", "change", "verdict", "expected", "value", "status", "remark", "trial key", "metric", "effect", "from",
    "outcome", "aliased with", "best setting", "at the edge",
}  # fmt: skip


def _cell(tag: str, value: object, word: bool) -> str:
    text = html.escape(str(value))
    # arms of a factorial study have long names
    shown = text.replace("+", "+<wbr>").replace("@", "<wbr>@") if word else text
    verdict = f" {text.replace(' ', '-')}" if tag == "td" and text in _OUTCOMES else ""
    return f'<{tag} class="{"word" if word else "number"}{verdict}">{shown}</{tag}>'


_OUTCOMES = ("better", "worse", "equivalent", "no worse", "undecided", "not judged", "failed", "diverged", "missing")


def listing(text: str, caption: str, *, folded: bool = True) -> Piece:
    """Text as it was written, behind its caption where ``folded``."""
    inner = f"<pre>{html.escape(text)}</pre>"
    if folded:
        return Piece(f"<details><summary>{html.escape(caption)}</summary>{inner}</details>", text)
    return Piece(f'<p class="caption">{html.escape(caption)}</p>{inner}', text)


def picture(figure: Figure, folder: Path, name: str, caption: str) -> Piece:
    """Writes NAME.svg and NAME.png into the folder and shows the SVG, embedded, above its caption."""
    svg, _ = save(figure, folder, name)
    data = base64.b64encode(svg).decode()
    told = html.escape(caption, quote=True)
    return Piece(
        f'<figure><img alt="{told}" src="data:image/svg+xml;base64,{data}"><figcaption>{told}</figcaption></figure>',
        f"[figure: {name}] {caption}",
    )
