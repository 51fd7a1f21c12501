"""What a section of the report is made of, as plain data; `page.py` lays it out."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from ablate.reporting.canvas import draw, draw_for_phone


@dataclass(frozen=True)
class Prose:
    """A paragraph; ``kind`` is one of the page's classes, such as ``rule``."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Notice:
    """A box that cannot be overlooked, ``kind`` ``warning`` or ``notice``."""

    texts: tuple[str, ...]
    kind: str = "notice"


@dataclass(frozen=True)
class Listing:
    """Text as it was written, behind its caption."""

    text: str
    caption: str


@dataclass(frozen=True)
class Table:
    """A frame of printed text; behind its caption where ``folded``."""

    frame: pd.DataFrame
    caption: str
    folded: bool = False


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure with what is needed to read it without seeing it.

    Attributes:
        name: of its files, and its id on the page.
        figure: drawn, neither shown nor saved.
        data: the numbers that are drawn, a tidy frame.
        caption: what to see in it.
        alt: what it is, in a sentence.
    """

    name: str
    figure: Figure
    data: pd.DataFrame
    caption: str
    alt: str

    def png(self) -> bytes:
        """The picture in pixels."""
        return draw(self.figure, "png")

    def svg(self) -> str:
        """The picture as text, with words as words."""
        return draw(self.figure, "svg").decode()

    def phone_svg(self) -> str | None:
        """The picture drawn narrow, where it can be; to be asked for before the other pictures."""
        drawn = draw_for_phone(self.figure)
        return None if drawn is None else drawn.decode()

    def csv(self) -> bytes:
        """The data, a header line first."""
        text = io.StringIO()
        self.data.to_csv(text, index=False)
        return text.getvalue().encode()

    def _repr_png_(self) -> bytes:
        return self.png()

    def __repr__(self) -> str:
        return f"Chart({self.name}: {self.caption})"


@dataclass(frozen=True)
class Entry:
    """A campaign in an index.

    Attributes:
        title, facts, question, answer: of the study and of what came out.
        href: of its report, relative to the page.
    """

    title: str
    href: str
    facts: str
    question: str
    answer: str


@dataclass(frozen=True)
class Entries:
    """The campaigns of an index."""

    entries: tuple[Entry, ...]


Part = Prose | Bullets | Notice | Listing | Table | Chart | Entries
