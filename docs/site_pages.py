"""A hook of mkdocs: shows the documents of the repository's root in the site, from their only copy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
SHOWN = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "ARCHITECTURE.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "SECURITY.md": "vulnerabilities.md",  # docs/security.md has the name already, where upper and lower case are one
}
CODE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)\)")
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)(?=[#)])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the documents of the root."""
    from mkdocs.structure.files import File

    for name, page in SHOWN.items():
        content = of_root((ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Leads links to documents of the root to their pages of the site, and drops links to code that is there."""
    markdown = CODE.sub(lambda found: found[1] if _is_code(found[2]) else found[0], markdown)
    return LINK.sub(lambda found: SHOWN.get(found[1].removeprefix("../"), found[1]), markdown)


def of_root(text: str) -> str:
    """A document of the root with its links as they are from inside docs/."""
    return LINK.sub(lambda found: found[1].removeprefix("docs/"), text)


def _is_code(path: str) -> bool:
    return path not in SHOWN and (ROOT / path).is_file()
