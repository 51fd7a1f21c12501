"""Standard output that is closed, full, left by its reader or of another encoding stops no command with a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TABLE = "arm,seed,accuracy\na,0,0.1\nb,0,0.2\na,1,0.3\nb,1,0.1\n"
JUDGE = ("-m", "ablate.judge", "table.csv", "--control", "a", "--metric", "accuracy")
PLAN = ("-m", "ablate.study", "linear_bottleneck", "--plan")
SCHEMA = ("-m", "ablate.study", "--schema")
LIST = ("-m", "ablate", "study", "--list", "--json")
USAGE = ("-m", "ablate", "--help")


def shell(
    folder: Path, command: tuple[str, ...], ending: str, before: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """What bash makes of a command with these redirections."""
    (folder / "table.csv").write_text(TABLE)
    line = f'{before}set -o pipefail; "$0" "$@" {ending}'
    return subprocess.run(
        ["bash", "-c", line, sys.executable, *command],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **environment}, errors="replace",
    )  # fmt: skip


@pytest.mark.parametrize("command", [SCHEMA, LIST, USAGE])
def test_a_reader_that_leaves_at_once_ends_no_command(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = shell(tmp_path, command, "| true")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("command", "ending"), [(PLAN, ">&-"), (JUDGE, ">&- 2>&- <&-"), (PLAN, "2>&-")])
def test_closed_streams_end_no_command(tmp_path: Path, command: tuple[str, ...], ending: str) -> None:
    done = shell(tmp_path, command, ending)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", [JUDGE, USAGE])
def test_a_full_disk_under_the_output_is_told_in_a_sentence(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = shell(tmp_path, command, "> /dev/full")
    assert done.returncode == 2
    assert done.stderr.endswith("cannot be read or written (No space left on device)\n")
    assert "Traceback" not in done.stderr


def test_a_character_that_the_output_lacks_is_written_as_its_escape(tmp_path: Path) -> None:
    done = shell(tmp_path, JUDGE, "", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u2212" in done.stdout  # the minus sign


def test_a_folder_whose_name_is_no_utf_8_is_told_of_like_any_other(tmp_path: Path) -> None:
    done = shell(tmp_path, ("-m", "ablate.report", "hostile"), "--runs $'r\\xff'")
    assert done.returncode == 2
    assert "holds no campaign of the study 'hostile'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("when", ["begins", "ends"])
def test_ctrl_c_before_a_command_has_begun_or_after_its_end_shows_no_traceback(tmp_path: Path, when: str) -> None:
    files = {  # found in place of Python's own, as the first import, and read by Python before all else
        "begins": ("argparse.py", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"),
        "ends": ("sitecustomize.py", "import atexit, os, signal; atexit.register(os.kill, os.getpid(), signal.SIGINT)"),
    }
    name, code = files[when]
    (tmp_path / name).write_text(code)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    for words in (("ablate.study", "--help"), ("ablate", "study", "--help")):
        done = shell(tmp_path, ("-m", *words), "; exit $?", PYTHONPATH=path)
        assert (done.returncode, done.stderr) == (128 + signal.SIGINT, ""), words


def test_a_thread_that_prints_while_python_ends_does_not_abort_it(tmp_path: Path) -> None:
    (tmp_path / "talks.py").write_text(
        "import atexit, sys, threading, time\n"
        "from ablate.command_line import exit_status\n"
        "def talk():\n"
        "    threading.Thread(target=print, args=('x' * 200_000,), daemon=True).start()  # more than a pipe holds\n"
        "    time.sleep(0.2)\n"
        "    print('it is printing', file=sys.stderr, flush=True)\n"
        "sys.exit(exit_status('x', lambda: atexit.register(talk) and 0))\n"
    )
    command, path = [sys.executable, "talks.py"], {"PYTHONPATH": str(Path(__file__).parents[1])}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **path}, stdout=pipe, stderr=pipe) as started:
        assert started.stderr is not None
        assert started.stderr.readline() == b"it is printing\n"
        time.sleep(0.2)
        out, errors = started.communicate()
    assert (started.returncode, len(out), errors) == (0, 200_001, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an address space has no limit")
@pytest.mark.parametrize("gigabytes", [1, 3])
def test_an_address_space_too_small_for_torch_is_told_with_what_is_needed(tmp_path: Path, gigabytes: int) -> None:
    train = ("-m", "ablate.study", "relu6", "--data", "synthetic", "--seeds", "1", "--no-report")
    done = shell(tmp_path, train, "", before=f"ulimit -v {gigabytes}000000; ")
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert "needs 6 GB of address space" in done.stderr


def test_an_os_error_is_a_sentence_and_its_place_is_shown_in_pythons_development_mode(tmp_path: Path) -> None:
    code = "from ablate.command_line import exit_status; exit_status('x', lambda: open('nowhere'))"
    quiet, shown = (shell(tmp_path, ("-c", code), "", PYTHONDEVMODE=mode).stderr for mode in ("", "1"))
    assert quiet == "ablate x: nowhere: cannot be read or written (No such file or directory)\n"
    assert "Traceback" in shown
    assert shown.endswith(quiet)


@pytest.mark.parametrize("command", [PLAN, ("-m", "ablate.report", "linear_bottleneck")])
def test_a_file_in_place_of_the_runs_folder_is_told_in_a_sentence(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "runs").write_text("")
    done = shell(tmp_path, command, "")
    assert "Traceback" not in done.stderr
