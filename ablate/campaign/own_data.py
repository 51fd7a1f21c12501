"""Makes an .npz of the user's own data in a separate process, before the study is planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ablate.campaign.local import run_in_subprocess
from ablate.design.own_data import is_own, prepared_own
from ablate.design.study import Study
from ablate.errors import AblateError, DataError, Problem


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
