"""A study from Python: run it, look at its results, and get them as tidy frames."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.campaign.api import load, plan
from ablate.campaign.options import CampaignResult, RunOptions, Silent
from ablate.design.plan import CONTROL
from ablate.design.study import Study
from ablate.errors import AblateError
from ablate.reporting.load import results_from
from ablate.reporting.results import Results

if TYPE_CHECKING:
    import pandas as pd


class StudyResults(Results):
    """The results of a study. It prints as the verdicts; in a notebook it shows their table."""

    def frame(self) -> pd.DataFrame:
        """A row a planned trial: arm, seed, key, status, metrics from 0 to 1, seconds, peak bytes and where it ran."""
        from ablate.reporting.frames import trials

        return trials(self)

    def contrasts(self) -> pd.DataFrame:
        """A row an arm: outcome, mean difference, interval and p-values, in points where the metric is an accuracy."""
        from ablate.reporting.frames import contrasts

        return contrasts(self)

    def report(self, runs: Path) -> Path:
        """Writes the report below ``runs/reports`` where something in it changed; returns the page.

        Raises:
            AblateError: the folder cannot be written.
        """
        from ablate.reporting.folders import publish

        return publish(self, runs)

    def __repr__(self) -> str:
        from ablate.reporting.terminal import verdict_lines
        from ablate.reporting.words import effect_sentences

        study = self.plan.study
        title = f"{study.name} on {self.plan.data.name}, {len(self.records)} records"
        return "\n".join([title, *(f"  {line}" for line in (*effect_sentences(self), *verdict_lines(self)))])

    def _repr_html_(self) -> str:
        from ablate.reporting.tables import verdict_rows

        return str(verdict_rows(self).to_html(index=False))


def run(study: Study, options: RunOptions | None = None, *, progress: bool = True) -> StudyResults:
    """Trains what is missing and returns the results of the study.

    Args:
        study: as loaded.
        options: runs folder, trials at a time, device and so on; None: the defaults.
        progress: whether to show progress.

    Raises:
        AblateError: the study, the data or the runs folder cannot be used.

    Example:
        >>> import ablate
        >>> study = ablate.load_study("linear_bottleneck")
        >>> results = ablate.run(study, ablate.RunOptions(jobs=2))
        >>> results.judgement.verdicts[0].outcome
        'worse'
    """
    from ablate.campaign.run import run_campaign
    from ablate.reporting.progress import progress as bars

    how = options or RunOptions()
    planned = plan(study, data_root=how.data_root)
    with contextlib.ExitStack() as shown:
        observer = shown.enter_context(bars(planned)) if progress else Silent()
        result = run_campaign(planned, how, observer=observer)
    return _study_results(result, how)


def results(study: Study, options: RunOptions | None = None) -> StudyResults:
    """Returns the results of a study that was run, from its records. Trains nothing.

    Args:
        study: as loaded.
        options: the runs folder; None: the default.

    Raises:
        AblateError: the runs folder has no campaign of this study as it is now.

    Example:
        >>> import ablate
        >>> study = ablate.load_study("linear_bottleneck")
        >>> ablate.results(study).judgement.verdicts[0].contrast.seeds
        (0, 1, 2, 3, 4, 5, 6, 7)
    """
    how = options or RunOptions()
    return _study_results(load(how, study.name, study.digest), how)


def predictions(
    study: Study,
    arm: str = CONTROL,
    *,
    images: Sequence[Path | str] = (),
    test: Sequence[int] = (),
    seed: int | None = None,
    options: RunOptions | None = None,
) -> pd.DataFrame:
    """Shows images to a trained net of the study and returns its answers. Trains the net first if none was kept.

    Args:
        study: as loaded.
        arm: the arm whose net is used.
        images: PNG or JPEG files.
        test: indices of test images, in place of files; all test images if neither is given.
        seed: the seed of the net; None: the first that was kept.
        options: the runs folder; None: the default.

    Returns:
        One row per image: image, true, predicted, probability, second, second_probability, right, and a column
        ``p(CLASS)`` for each class. ``true`` and ``right`` are None for image files.

    Raises:
        AblateError: the arm, the net or an image cannot be used.

    Example:
        >>> import ablate
        >>> study = ablate.load_study("linear_bottleneck", overrides={"recipe.epochs": 1})
        >>> answers = ablate.predictions(study, "relu_bottleneck", test=[0, 1, 2])
        >>> answers.shape[0], list(answers.columns[:4])
        (3, ['image', 'true', 'predicted', 'probability'])
    """
    from ablate.campaign.predict import answers
    from ablate.campaign.trained import trained_net
    from ablate.reporting.predictions import prediction_frame

    how = options or RunOptions()
    if images and test:
        raise AblateError("name image files, or test images, not both")
    trained = trained_net(study, arm, seed, how)
    return prediction_frame(answers(trained, how, files=[Path(one) for one in images], test=test))


def records(study: Study, options: RunOptions | None = None) -> pd.DataFrame:
    """One row per planned trial: arm, seed, key, status, metrics from 0 to 1, seconds, peak bytes and where it ran.

    Args:
        study: as loaded.
        options: the runs folder; None: the default.

    Raises:
        AblateError: the runs folder has no campaign of this study as it is now.

    Example:
        >>> import ablate
        >>> frame = ablate.records(ablate.load_study("linear_bottleneck"))
        >>> frame["arm"].value_counts().to_dict()
        {'control': 8, 'relu_bottleneck': 8}
    """
    return results(study, options).frame()


def _study_results(held: CampaignResult, how: RunOptions) -> StudyResults:
    made = results_from(held, how.runs)
    return StudyResults(**{one.name: getattr(made, one.name) for one in fields(made)})
