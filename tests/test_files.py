from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ablate.files import make_whole


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


def test_what_a_killed_process_left_goes_after_an_hour(tmp_path: Path) -> None:
    for name, age_s in ((".it.1.1.making", 7200), (".it.2.2.making", 60)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s, time.time() - age_s))
    make_whole(tmp_path / "it", Path.touch)
    assert {file.name for file in tmp_path.iterdir()} == {"it", ".it.2.2.making"}


def test_a_maker_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        path.write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        make_whole(tmp_path / "it", make)
    assert not list(tmp_path.iterdir())
