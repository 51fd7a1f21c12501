"""What training starts from, where that is a file of weights, and how much of the net is frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ablate.design.arms import CONTROL, Arm
from ablate.design.imported import Imported
from ablate.design.study import FEATURES, Study
from ablate.design.validation import FieldError
from ablate.model.torchvision_weights import WeightsError
from ablate.paths import default_data_root

SUFFIXES = (".pt", ".pth", ".safetensors")


def weights_file(name: str, root: Path | None = None) -> Path:
    """The file that ``recipe.init_from`` names: from the current directory, else below ``root``.

    Args:
        name: a path.
        root: the folder of data sets; None: the default.

    Raises:
        WeightsError: it has another ending, or there is no such file.
    """
    path, below = Path(name), (root or default_data_root()) / name
    if path.suffix not in SUFFIXES:
        raise WeightsError(f"must end in {', '.join(SUFFIXES)}, got {name!r}")
    found = next((one for one in (path, below) if one.is_file()), None)
    if found is None:
        raise WeightsError(f"must be a file, from here or below {root or default_data_root()}; there is no {name!r}")
    return found


def sha256(path: Path) -> str:
    """64 hex digits of a file's content.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error


def with_digests(study: Study, arms: Sequence[Arm], root: Path | None) -> tuple[tuple[Arm, ...], list[FieldError]]:
    """The arms with the sha256 of the weights that each starts from in its recipe, and what is wrong with the files."""
    told, errors = [], []
    digests = {"": ""}
    for arm in arms:
        recipe = arm.recipe
        try:
            if recipe.init_from not in digests:
                digests[recipe.init_from] = sha256(weights_file(recipe.init_from, root))
            found = digests[recipe.init_from]
        except WeightsError as error:
            errors.append(FieldError(_key(study, arm, "init_from"), str(error)))
            found = recipe.init_sha256
        if recipe.init_sha256 not in ("", found):
            message = f"must be {found}, as {recipe.init_from} is; got {recipe.init_sha256!r}"
            errors.append(FieldError(_key(study, arm, "init_sha256"), message))
        told.append(replace(arm, recipe=recipe.model_copy(update={"init_sha256": found})))
    return tuple(told), list(dict.fromkeys(errors))


def freeze_errors(study: Study, arms: Sequence[Arm]) -> list[FieldError]:
    """A net that has fewer stages than its recipe freezes, and costs that are matched as if nothing were frozen."""
    errors = []
    for arm in arms:
        freeze = arm.recipe.freeze
        if isinstance(arm.spec, Imported):
            if freeze:
                message = f"freezes stages of ablate's own nets; {arm.spec.path} can freeze its parameters itself"
                errors.append(FieldError(_key(study, arm, "freeze"), message))
            continue
        stages = len(arm.spec.stages)
        if freeze != FEATURES and int(freeze) > stages:
            message = f'must be at most {stages}, the stages of its net, or "{FEATURES}"; got {freeze}'
            errors.append(FieldError(_key(study, arm, "freeze"), message))
        if freeze and study.match in ("train_flops", "peak_memory"):
            message = f"does not go with match = {study.match!r}, which counts a step that trains the whole net"
            errors.append(FieldError(_key(study, arm, "freeze"), message))
    return list(dict.fromkeys(errors))


def _key(study: Study, arm: Arm, field: str) -> str:
    """Where it is written: in the arm, or in the recipe of all."""
    name = f"recipe.{field}"
    written = arm.name != CONTROL and name in study.arms.get(arm.name.partition("@")[0], {})
    return f"arms.{arm.name.partition('@')[0]}.{name}" if written else name
