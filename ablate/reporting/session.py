"""The Python face of a study: run it, look at its results, and take tidy frames of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ablate.campaign.api import load, plan
from ablate.campaign.options import RunOptions, Silent
from ablate.design.study import Study
from ablate.reporting.load import results_from
from ablate.reporting.results import Results

if TYPE_CHECKING:
    import pandas as pd


def run(study: Study, options: RunOptions | None = None, *, progress: bool = True) -> Results:
    """Trains what is missing, and returns the results of the study.

    Args:
        study: as loaded.
        options: the runs folder, trials at a time, device and the rest; None: the defaults.
        progress: whether to print how it goes.

    Raises:
        AblateError: the study, the data or the runs folder cannot be used.

    Example:
        >>> import ablate
        >>> study = ablate.load_study("linear_bottleneck")
        >>> results = ablate.run(study, ablate.RunOptions(jobs=2))  # doctest: +SKIP
        >>> results.judgement.verdicts[0].outcome  # doctest: +SKIP
        'worse'
    """
    from ablate.campaign.run import run_campaign
    from ablate.reporting.progress import progress as bars

    how = options or RunOptions()
    planned = plan(study, data_root=how.data_root)
    with contextlib.ExitStack() as shown:
        observer = shown.enter_context(bars(planned)) if progress else Silent()
        result = run_campaign(planned, how, observer=observer)
    return results_from(result, how.runs)


def results(study: Study, options: RunOptions | None = None) -> Results:
    """The results of a study that was run, from its records. Trains nothing.

    Args:
        study: as loaded.
        options: the runs folder; None: the default.

    Raises:
        AblateError: this study, as it is, was not run in the runs folder.
    """
    how = options or RunOptions()
    return results_from(load(how, study.name, study.digest), how.runs)


def records(study: Study, options: RunOptions | None = None) -> pd.DataFrame:
    """A row a planned trial: arm, seed, key, status, metrics from 0 to 1, seconds, peak bytes and where it ran.

    Args:
        study: as loaded.
        options: the runs folder; None: the default.

    Raises:
        AblateError: this study, as it is, was not run in the runs folder.
    """
    return results(study, options).frame()
