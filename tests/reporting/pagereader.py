"""Reads a page as a browser would, as far as tags, addresses and words go."""

from __future__ import annotations

import html.parser


class Page(html.parser.HTMLParser):
    """Every tag with its attributes, the addresses it loads or leads to, its ids, and the text between the tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._quiet = False
        self.feed(text)

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.found}

    @property
    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.found if "id" in attributes]

    def addresses(self, *names: str) -> list[str]:
        return [str(value) for _, attributes in self.found for name, value in attributes.items() if name in names]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._quiet = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._quiet:
            self.text += data
