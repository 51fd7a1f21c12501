"""The arms of a plan as its JSON has them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ablate.design.arms import Arm, Match
from ablate.design.imported import Model, model_from_dict
from ablate.design.own_training import OwnTraining
from ablate.design.study import DataSpec, Recipe, Study
from ablate.formats import build, refuse_unknown
from ablate.model.spec import Change

Part = TypeVar("Part", bound=BaseModel)


def arm_to_plain(arm: Arm) -> dict[str, Any]:
    """What JSON holds of an arm."""
    # vars, not asdict: a Change may hold anything that JSON can say
    held = {name: value for name, value in vars(arm).items() if name != "settings" or value}
    return {
        **held,
        "spec": arm.spec.to_dict(),
        "recipe": arm.recipe.model_dump(mode="json"),
        "data": arm.data.model_dump(mode="json"),
        "changes": [[change.field, change.before, change.after] for change in arm.changes],
        "match": None if arm.match is None else dataclasses.asdict(arm.match),
    }


def arm_from_plain(study: Study, plain: dict[str, Any], what: str) -> Arm:
    """The inverse of ``arm_to_plain``; ``what`` names the file in an error."""
    # Format 1 at first wrote no data and no setting, and a recipe only where it was tuned.
    written, data = plain.get("recipe"), plain.get("data")
    recipe = study.recipe if written is None else read_model(Recipe, written, what)
    tuned = {name: getattr(recipe, name, 0.0) for name in study.tuning.space}
    known = {
        "setting": None if written is None or not study.tuned else tuned,
        **plain,
        "spec": _spec_from_plain(plain["spec"], what),
        "recipe": recipe,
        "data": study.data if data is None else read_model(DataSpec, data, what),
        "changes": tuple(_change_from_plain(change, what) for change in plain.get("changes", ())),
        "match": None if plain.get("match") is None else build(Match, plain["match"], what),
    }
    return build(Arm, known, what)


def _change_from_plain(plain: list[Any], what: str) -> Change:
    moved, before, after = plain
    return build(Change, {"field": moved, "before": before, "after": after}, what)


def _spec_from_plain(plain: dict[str, Any], what: str) -> Model:
    return OwnTraining.from_dict(plain, what) if "command" in plain else model_from_dict(plain, what)


def read_model(kind: type[Part], plain: Any, what: str) -> Part:
    """A table of a study from a plan's JSON.

    Raises:
        AblateError: a field that only a newer version knows.
        ValidationError: a value that is not allowed.
    """
    try:
        return kind.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        unknown = [
            ".".join(map(str, detail["loc"])) for detail in error.errors() if detail["type"] == "extra_forbidden"
        ]
        refuse_unknown(unknown, kind.__name__, what)
        raise
