"""The kernels are compiled once and kept; without a compiler, or with one that fails, torch's own are used."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablate.model import compiled
from ablate.model.compiled import SOURCES, _compiler, library

USED = """
from ablate.model.compiled import absence, library
print(library() is not None, absence())
"""
USED_BY_TORCH = """
from ablate.model.fused import absence, kernels_name
print(kernels_name() is not None, absence())
"""
WRONG = "False The compiled kernels do not give torch's numbers here"
compiler_needed = pytest.mark.skipif(_compiler() is None, reason="no C compiler here")


def used(cache: Path, code: str = USED, **environment: str) -> subprocess.Popen[str]:
    """A process of its own that says whether it has the kernels, or with torch whether it uses them."""
    clean = {name: value for name, value in os.environ.items() if name not in ("CC", "ABLATE_KERNELS")}
    variables = {**clean, "XDG_CACHE_HOME": str(cache), **environment}
    return subprocess.Popen([sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE, text=True)


def kept(cache: Path) -> list[Path]:
    return list((cache / "ablate" / "kernels").iterdir())


def told(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=120)[0].strip()


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A compiler that copies what the real one made, for tests of what is done with a library."""
    made = compiled._made(_compiler() or (), compiled._cache())
    text = f'while [ "$1" ]; do [ "$1" = -o ] && cp {made} "$2"; shift; done'
    return script(tmp_path_factory.mktemp("quick") / "compiler", text)


@compiler_needed
def test_processes_that_start_at_once_make_one_library_and_a_later_one_makes_none(tmp_path: Path, quick: str) -> None:
    assert [told(process) for process in [used(tmp_path, CC=quick) for _ in range(2)]] == ["True None"] * 2
    (made,) = kept(tmp_path)
    before = made.stat()
    assert told(used(tmp_path, CC=quick)) == "True None"
    assert made.stat().st_mtime_ns == before.st_mtime_ns


def test_without_a_compiler_torchs_own_kernels_are_used_which_is_told(tmp_path: Path) -> None:
    assert told(used(tmp_path, CC=str(tmp_path / "none"))) == "False No C compiler was found"


@pytest.mark.parametrize("does", ["exit 1", 'while [ "$1" ]; do [ "$1" = -o ] && touch "$2"; shift; done'])
def test_with_a_compiler_that_fails_or_makes_no_library_they_are_too(does: str, tmp_path: Path) -> None:
    compiler = script(tmp_path / "compiler", does)
    found = told(used(tmp_path / "cache", CC=compiler))
    assert found == f"False {compiler} cannot compile this package's kernels"


@compiler_needed
def test_kernels_that_a_compiler_got_wrong_are_not_used(tmp_path: Path, quick: str) -> None:
    (real,) = _compiler() or ()
    wrong = tmp_path / "wrong"
    shutil.copytree(SOURCES, wrong)
    source = wrong / "depthwise.c"
    source.write_text(source.read_text().replace("load(from, LANES) * k[3 * i] +", "load(from, LANES) * k[3 * i] -"))
    swapped = f'for a; do shift; set -- "$@" "$(echo "$a" | sed s,{SOURCES},{wrong},)"; done; exec {real} "$@"'
    assert told(used(tmp_path / "cache", USED_BY_TORCH, CC=script(tmp_path / "compiler", swapped))) == WRONG
    assert told(used(tmp_path / "other", USED_BY_TORCH, CC=quick)) == "True None"


def test_torchs_own_kernels_can_be_asked_for_and_another_word_is_refused(tmp_path: Path) -> None:
    assert told(used(tmp_path, ABLATE_KERNELS="torch")) == "False None"
    process = used(tmp_path, ABLATE_KERNELS="mine")
    assert told(process) == ""
    assert process.returncode != 0


@compiler_needed
def test_a_cache_that_cannot_be_written_is_replaced_for_the_process(tmp_path: Path, quick: str) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert told(used(blocked, CC=quick)) == "True None"


@compiler_needed
def test_a_kept_library_that_was_cut_short_is_never_loaded_and_made_anew(tmp_path: Path, quick: str) -> None:
    assert told(used(tmp_path, CC=quick)) == "True None"
    (made,) = kept(tmp_path)
    content = made.read_bytes()
    made.write_bytes(content[: len(content) // 2])
    assert told(used(tmp_path, CC=quick)) == "True None"
    (again,) = kept(tmp_path)
    assert again.name.endswith(f"-{hashlib.sha256(again.read_bytes()).hexdigest()}.so")


@compiler_needed
@pytest.mark.parametrize("who", ["the folder", "a folder above"])
def test_a_cache_that_another_user_can_write_is_not_used(who: str, tmp_path: Path, quick: str) -> None:
    folder = tmp_path / "ablate" / "kernels"
    folder.mkdir(parents=True, mode=0o700)
    (folder if who == "the folder" else tmp_path).chmod(0o777)
    assert told(used(tmp_path, CC=quick)) == "True None"
    assert kept(tmp_path) == []


def test_a_cache_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o700)
    assert compiled._is_private(folder)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert not compiled._is_private(folder)


def test_a_link_to_a_folder_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert not compiled._is_private(tmp_path / "link")


def test_a_compiler_that_never_returns_is_ended_with_what_it_started_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = script(tmp_path / "compiler", f'sleep 60 & echo $! > "{tmp_path}/child"; wait')
    monkeypatch.setenv("CC", compiler)
    monkeypatch.delenv("ABLATE_KERNELS", raising=False)
    monkeypatch.setattr(compiled, "LIMIT_S", 0.5)
    monkeypatch.setattr(compiled, "_tried", compiled._tried.__wrapped__)
    assert compiled.library() is None
    assert compiled.absence() == f"{compiler} did not finish within 0.5 s"
    with pytest.raises(ProcessLookupError):
        _wait_for_the_end(int((tmp_path / "child").read_text()))


def _wait_for_the_end(pid: int) -> None:
    for _ in range(100):
        os.kill(pid, 0)
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            raise ProcessLookupError
        time.sleep(0.05)


HOMELESS = """
import pwd
def gone(uid):
    raise KeyError(uid)
pwd.getpwuid = gone
"""


@compiler_needed
def test_the_compiler_may_be_a_command_with_options_and_the_user_without_a_home() -> None:
    (real,) = _compiler() or ()
    kept = {
        name: value for name, value in os.environ.items() if name not in ("ABLATE_KERNELS", "HOME", "XDG_CACHE_HOME")
    }
    command = [sys.executable, "-c", HOMELESS + USED]
    answer = subprocess.run(command, env={**kept, "CC": f"{real} -pipe"}, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "None"]


def test_where_there_is_a_compiler_there_is_a_library() -> None:
    assert (library() is not None) == (_compiler() is not None)
