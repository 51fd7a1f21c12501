"""A helper to be killed: ``python helper.py RUNS STUDY JOBS``."""

from __future__ import annotations

import sys
from pathlib import Path

from driver import stepwise

from ablate.campaign.joining import help_out
from ablate.campaign.local import LocalExecutor


def main(runs: Path, study: str, jobs: int) -> None:
    print(help_out(runs, study, lambda: LocalExecutor(jobs, train=stepwise, preload=())))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
