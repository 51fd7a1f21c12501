from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.files import make_whole, write_whole


def test_a_made_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        path.write_text("half")
        assert not (tmp_path / "it").exists()
        path.write_text("whole")

    make_whole(tmp_path / "it", make)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("it", "whole")]


def test_a_file_that_another_process_made_meanwhile_stays(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        path.write_text("mine")
        (tmp_path / "it").write_text("theirs")

    make_whole(tmp_path / "it", make)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("it", "theirs")]


@pytest.mark.parametrize(
    ("suffix", "write"),
    [("making", lambda path: make_whole(path, Path.touch)), ("part", lambda p: write_whole(p, b""))],
)
def test_what_a_killed_process_left_goes_after_an_hour(
    tmp_path: Path, suffix: str, write: Callable[[Path], None]
) -> None:
    left = {f".it.1.{suffix}": 7200, f".it.2.{suffix}": 60, f".other.3.{suffix}": 7200}
    for name, age_s in left.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s, time.time() - age_s))
    write(tmp_path / "it")
    assert {file.name for file in tmp_path.iterdir()} == {"it", f".it.2.{suffix}", f".other.3.{suffix}"}


def test_a_maker_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        path.write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        make_whole(tmp_path / "it", make)
    assert not list(tmp_path.iterdir())
