"""Plans a study whose data or widths only code of the user's own can tell; that code runs in processes of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ablate.campaign.local import run_in_subprocess
from ablate.campaign.own_width import solve_widths
from ablate.design.own_data import is_own, prepared_own
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.study import Study
from ablate.errors import AblateError, DataError, Problem
from ablate.paths import default_data_root


def planned(
    study: Study, data_root: Path | None = None, say: Callable[[str], None] = lambda _: None, *, where: str = ""
) -> CampaignPlan:
    """The arms and trials of a study, its data prepared and its widths solved.

    Args:
        study: as loaded.
        data_root: the folder of data sets; None: the default.
        say: told what is being prepared.
        where: the study file, for errors; else the study is named.

    Raises:
        StudyError, DataError: the arms or the data cannot be used.
    """
    root = data_root or default_data_root()
    prepare_own(study, root, say, where=where)
    return make_plan(study, root, where=where, solve=solve_widths)


def prepare_own(study: Study, root: Path, say: Callable[[str], None], *, where: str = "") -> None:
    """Makes the .npz of every data set of the study that is a function or a folder, unless it is there.

    Raises:
        DataError: the data cannot be made; names the study file as well.
    """
    names = dict.fromkeys([study.data.name, *map(str, study.stability.get("data.name", ()))])
    try:
        for name in filter(is_own, names):
            path = prepared_own(name, root)
            if not path.exists():
                run_in_subprocess(_make, name, path, root, say=say)
    except AblateError as error:
        raise DataError(str(Problem(where or f"study {study.name}", "data.name", str(error)))) from error


def _make(name: str, path: Path, root: Path, say: Callable[[str], None]) -> None:
    from ablate.training.own_data import make_own

    make_own(name, path, root, say)
