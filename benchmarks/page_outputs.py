"""Runs the commands that a page of the documentation shows, and puts what they print under them.

    python benchmarks/page_outputs.py docs/judge.md            # writes the page
    python benchmarks/page_outputs.py docs/judge.md --check    # ends with 1 where the page shows something else

A block that starts with ```csv NAME is a file. In a block ```console each line that starts with "$ " is a command, run
by a shell in a folder that holds these files and the repository's tests/, and the lines after it are what it prints.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = re.compile(r"^```csv (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def renewed(page: str) -> str:
    """The page with every command's output as it is now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tests").symlink_to(ROOT / "tests")
        for file, content in FILE.findall(page):
            (folder / file).write_text(content)
        return CONSOLE.sub(lambda block: f"```console\n{_session(block[1], folder)}```", page)


def _session(block: str, folder: Path) -> str:
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    return "".join(f"{command}\n{_printed(command.removeprefix('$ '), folder)}" for command in commands)


def _printed(command: str, folder: Path) -> str:
    bin_folder = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `python` is the one that runs this
    environment = {**os.environ, "PATH": bin_folder, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(description="Renews the output of the commands that a page shows.")
    parser.add_argument("page", type=Path)
    parser.add_argument(
        "--check", action="store_true", help="writes nothing, ends with 1 where the page is out of date"
    )
    options = parser.parse_args()
    page = options.page.read_text()
    now = renewed(page)
    if not options.check:
        options.page.write_text(now)
    return int(options.check and now != page)


if __name__ == "__main__":
    raise SystemExit(main())
