"""The disk: whether it can be written, what room there is, what room a campaign needs."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ablate.campaign.result import CampaignStopped
from ablate.design.plan import CampaignPlan
from ablate.errors import AblateError
from ablate.measure.cost import estimate

LEAST_FREE = 20_000_000  # bytes; with less, records and checkpoints could not be written any more
KEPT_A_TRIAL = 60_000  # bytes: MLflow's rows of a trial, measured with sqlite, and its folder
KEPT_AN_EPOCH = 2_500  # bytes: its points in the record and in MLflow
STARTING = 20_000_000  # bytes: two empty databases, the report


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written where ``folder`` lies."""
    return shutil.disk_usage(folder).free


@contextlib.contextmanager
def writable(runs: Path) -> Iterator[None]:
    """Errors of the disk, in a sentence."""
    with _told(runs, "cannot be written"):
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs) as probe:  # of no name, so that nobody else's is met
            probe.write(b"ablate")
    with _told(runs, "cannot be read or written"):
        yield


@contextlib.contextmanager
def _told(runs: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CampaignStopped(
                f"{runs}: the disk is full; make space and run the same command to go on, nothing finished is lost"
            ) from error
        if error.filename is None:
            raise
        raise AblateError(
            f"{error.filename}: {what} ({error.strerror}); name another folder with --runs, or mend its rights"
        ) from error


def disk_bytes(plan: CampaignPlan, trials: int, jobs: int) -> int:
    """Bytes that ``trials`` more trials need: what is kept of each, and the checkpoints of ``jobs`` running."""
    study, data = plan.study, plan.data
    shape = (data.channels, data.height, data.width)
    largest = max(
        estimate(arm.spec, shape, batch_size=study.recipe.batch_size, optimizer=study.recipe.optimizer).params
        for arm in plan.arms
    )
    # weights, two optimiser states, an average; each file stands beside its successor for a moment
    checkpoint = 4 * 4 * largest * 2
    record = KEPT_A_TRIAL + KEPT_AN_EPOCH * study.recipe.epochs + 2 * 2 * data.num_test
    weights = 4 * largest * 2 if study.keep_weights else 0
    return STARTING + trials * (record + weights) + jobs * checkpoint
