"""The kernels are compiled once and kept; without a compiler, or with one that fails, torch's own are used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.model.compiled import SOURCES, _compiler, library

USED = """
import torch
from ablate.model.fused import fused_kernels
torch.set_num_threads(1)
with fused_kernels() as used:
    print(used)
"""
compiler_needed = pytest.mark.skipif(_compiler() is None, reason="no C compiler here")


def used(cache: Path, **environment: str) -> subprocess.Popen[str]:
    """A process of its own that says whether it uses the kernels."""
    clean = {name: value for name, value in os.environ.items() if name not in ("CC", "ABLATE_KERNELS")}
    variables = {**clean, "XDG_CACHE_HOME": str(cache), **environment}
    return subprocess.Popen([sys.executable, "-c", USED], env=variables, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=120)[0].strip()


@compiler_needed
def test_processes_that_start_at_once_make_one_library_and_a_later_one_makes_none(tmp_path: Path) -> None:
    assert [told(process) for process in [used(tmp_path), used(tmp_path)]] == ["True", "True"]
    (made,) = (tmp_path / "ablate").iterdir()
    before = made.stat()
    assert told(used(tmp_path)) == "True"
    assert made.stat().st_mtime_ns == before.st_mtime_ns


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "compiler", ["exit 1", "for last; do :; done; case $1 in --version) ;; *) touch $5;; esac", "no"]
)
def test_a_compiler_that_is_missing_or_fails_leaves_torchs_own_kernels(compiler: str, tmp_path: Path) -> None:
    path = str(tmp_path / "none") if compiler == "no" else script(tmp_path / "compiler", compiler)
    assert told(used(tmp_path / "cache", CC=path)) == "False"


@compiler_needed
def test_kernels_that_a_compiler_got_wrong_are_not_used(tmp_path: Path) -> None:
    real = _compiler()
    assert real is not None
    wrong = tmp_path / "wrong"
    shutil.copytree(SOURCES, wrong)
    source = wrong / "depthwise.c"
    source.write_text(source.read_text().replace("load(from, LANES) * k[3 * i] +", "load(from, LANES) * k[3 * i] -"))
    swapped = f'for a; do shift; set -- "$@" "$(echo "$a" | sed s,{SOURCES},{wrong},)"; done; exec {real} "$@"'
    assert told(used(tmp_path / "cache", CC=script(tmp_path / "compiler", swapped))) == "False"
    unswapped = f'exec {real} "$@"'
    assert told(used(tmp_path / "other", CC=script(tmp_path / "compiler", unswapped))) == "True"


def test_torchs_own_kernels_can_be_asked_for_and_another_word_is_refused(tmp_path: Path) -> None:
    assert told(used(tmp_path, ABLATE_KERNELS="torch")) == "False"
    process = used(tmp_path, ABLATE_KERNELS="mine")
    assert told(process) == ""
    assert process.returncode != 0


@compiler_needed
def test_a_cache_that_cannot_be_written_is_replaced_for_the_process(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert told(used(blocked)) == "True"


def test_where_there_is_a_compiler_there_is_a_library() -> None:
    assert (library() is not None) == (_compiler() is not None)
