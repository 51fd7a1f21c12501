"""HTML pieces: everything a user wrote shows as text."""

from __future__ import annotations

import html.parser
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ablate.reporting import pages

EVIL = "<script>alert('x')</script>\"><img src=http://e.example/x.png onerror=alert(1)>"


class Tags(html.parser.HTMLParser):
    """Every tag with its attributes, and the text between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_no_text_becomes_a_tag(tmp_path: Path) -> None:
    frame = pd.DataFrame({EVIL: [EVIL], "arm": [EVIL]})
    pieces = (
        pages.heading(EVIL) + pages.paragraph(EVIL, EVIL) + pages.bullets([EVIL]) + pages.box([EVIL], EVIL)
        + pages.table(frame, EVIL) + pages.table(frame, EVIL, folded=True) + pages.listing(EVIL, EVIL)
        + pages.picture(Figure(), tmp_path, "figure", EVIL)
    )  # fmt: skip
    tags = Tags(pieces.html)
    assert "script" not in {tag for tag, _ in tags.found}
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    (image,) = [attributes for tag, attributes in tags.found if tag == "img"]
    assert str(image["src"]).startswith("data:image/svg+xml;base64,")
    assert tags.text.count("alert('x')") == 15  # each text once, the table's four twice


def test_what_is_empty_gives_nothing() -> None:
    nothing = [
        pages.heading(""),
        pages.paragraph(""),
        pages.bullets([]),
        pages.box([], "notice"),
        pages.table(pd.DataFrame()),
    ]
    assert not any(nothing)


def test_numbers_stand_to_the_right_words_to_the_left_and_verdicts_have_a_class() -> None:
    tags = Tags(pages.table(pd.DataFrame({"arm": ["a+b"], "p": [".008"], "verdict": ["not judged"]})).html)
    assert [attributes["class"] for tag, attributes in tags.found if tag == "td"] == [
        "word",
        "number",
        "word not-judged",
    ]
    assert "a+b" in tags.text
