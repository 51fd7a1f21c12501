"""Writes docs/modules.md (every module with its first sentence) and the picture in ARCHITECTURE.md (who imports whom).

    python docs/modules.py

A test compares both with the code.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ablate"
PAGE, ARCHITECTURE = ROOT / "docs" / "modules.md", ROOT / "ARCHITECTURE.md"
ROOMS = {  # lowest floor first
    "model": "what is compared",
    "measure": "what it costs",
    "design": "what to run",
    "training": "one trial",
    "verdicts": "what it means",
    "campaign": "all trials",
    "reporting": "what people see",
}
BEGIN, END = "<!-- picture: python docs/modules.py -->", "<!-- end of picture -->"


def sentence(path: Path) -> str:
    """The first sentence or paragraph of a module's docstring, in one line."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if path.name not in {"__init__.py", "__main__.py"})


def page() -> str:
    """docs/modules.md."""
    parts = ["# Every module", "Made by `python docs/modules.py` from the docstrings, lowest floor first."]
    commands = [path for path in modules(PACKAGE) if is_command(path)]
    ground = [path for path in modules(PACKAGE) if not is_command(path)]
    tables = [("The ground", ground), *((f"{name}/: {what}", modules(PACKAGE / name)) for name, what in ROOMS.items())]
    for title, paths in [*tables, ("The commands", commands)]:
        rows = [f"| `{path.name}` | {sentence(path)} |" for path in paths]
        parts.append("\n".join([f"## {title}\n", "| module | |", "| --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def is_command(path: Path) -> bool:
    """A command is a module that runs as ``python -m ablate.NAME``."""
    return '__name__ == "__main__"' in path.read_text()


def uses(room: str) -> list[str]:
    """The rooms that a room imports from at run time, lowest floor first."""
    found: set[str] = set()
    for path in modules(PACKAGE / room):
        found |= imported(ast.parse(path.read_text()))
    return [name for name in ROOMS if name in found - {room}]


def imported(tree: ast.AST) -> set[str]:
    """The rooms that a module imports; what stands under TYPE_CHECKING does not count."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ablate."):
            found.add(str(node.module).split(".")[1])
        found |= imported(node)
    return found


def picture() -> str:
    """A line a room: how much is in it, and which rooms it imports from."""
    lines = ["    package     modules   imports from"]
    for room in ROOMS:
        below = ", ".join(uses(room)) or "only modules directly in ablate/"
        lines.append(f"    {room:<12}{len(modules(PACKAGE / room)):>7}   {below}")
    return "\n".join(lines)


def architecture() -> str:
    """ARCHITECTURE.md with the picture as the code is."""
    text = ARCHITECTURE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{picture()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
    ARCHITECTURE.write_text(architecture())
