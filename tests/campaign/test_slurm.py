"""The Slurm script of docs/cluster.md, run with stand-ins for the programs of a cluster."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/cluster.md"
PROGRAMS = {
    "scontrol": "printf 'n1\\nn2\\n'",
    "srun": 'echo "srun $*" >> "$LOG"',
    "sleep": "true",
    # the head answers when it is asked for the third time
    "ray": 'echo "ray $*" >> "$LOG"; [ "$(grep -c "ray status" "$LOG")" -ge 3 ]',
}


def carried_out(tmp_path: Path, nodes: int) -> list[str]:
    """What the script called, in order."""
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", PAGE.read_text(), re.DOTALL)
    for name, line in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": str(nodes), "SLURM_CPUS_PER_TASK": "16"}
    environment = {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log")}
    subprocess.run(["bash", "-c", f"{script}\nwait"], env=environment, check=True, timeout=30)
    return (tmp_path / "log").read_text().splitlines()


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_the_script_starts_every_node_when_the_head_answers_and_keeps_the_runs_on_the_shared_disk(
    tmp_path: Path, nodes: int
) -> None:
    calls = carried_out(tmp_path, nodes)
    (head,) = [call for call in calls if "--head" in call]
    others = [call for call in calls if "--address=n1:6379" in call]
    (study,) = [call for call in calls if "ablate.study" in call]
    assert "--nodes=1 " in head
    assert [re.findall(r"--nodes=(\d+) --ntasks=(\d+) --exclude=n1 ", call) for call in others] == (
        [[(str(nodes - 1), str(nodes - 1))]] if nodes > 1 else []
    )
    asked = [number for number, call in enumerate(calls) if call.startswith("ray status")]
    assert len(asked) == 3
    assert all(calls.index(call) > asked[-1] for call in (*others, study))
    assert "--runs /shared/" in study
