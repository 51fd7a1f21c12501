"""What a plan must hold before anything looks it up: a plan's file may be somebody else's."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ablate.design.arms import CONTROL, Arm
from ablate.design.consistency import vary_errors
from ablate.design.study import Study
from ablate.design.trial import Trial

KEY = re.compile(r"[0-9a-f]{16}")  # of a trial; its record, weights and folder have it as their name


def check_arms(study: Study, arms: Sequence[Arm]) -> None:
    """Whether what a judgement looks up is there.

    Raises:
        ValueError: an arm is one step away from no arm, the factors are not crossed, or all seeds are the same.
    """
    if errors := vary_errors(study):
        raise ValueError(f"{errors[0].key} {errors[0].message}")
    names = {CONTROL, *(arm.name for arm in arms)}
    for arm in arms:
        if arm.parent not in names:
            raise ValueError(f"{arm.name} is one step away from {arm.parent!r:.60}, which is no arm of it")
        known = set(arm.factors) == set(study.levels) and all(
            arm.factors[name] in allowed for name, allowed in study.levels.items()
        )
        if arm.factors and not known:
            raise ValueError(f"{arm.name} must have a level of each factor, and of no other")
    cells = [tuple(arm.factors[name] for name in study.levels) for arm in arms if arm.factors]
    every = math.prod(map(len, study.levels.values())) if study.design_kind == "factorial" else len(cells)
    if len(set(cells)) < len(cells) or len(cells) != every:
        raise ValueError("its arms must have every combination of levels once")


def set_keys(made: Sequence[Trial], keys: Sequence[str]) -> None:
    """Gives trials the keys that their records have, even if the formula has moved on since.

    Raises:
        ValueError: the plan has more or fewer, or one that would name a file elsewhere.
    """
    for trial, key in zip(made, keys, strict=True):
        if not KEY.fullmatch(key):
            raise ValueError(f"a key must be 16 hex digits, got {key!r:.60}")
        vars(trial)["key"] = key
