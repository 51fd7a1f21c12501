"""From a Study to its arms and trials; torch stays out of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from ablate.design.arms import CONTROL, NOISE_FLOOR, ArmsError, Draft, Images
from ablate.design.datasets import DataInfo, describe
from ablate.design.drafts import draft_arms
from ablate.design.match import Match, matched
from ablate.design.study import Level, Recipe, Study
from ablate.design.trial import Trial
from ablate.design.tuning import ArmTuning, Setting, Values, tuned_recipe, tuning_faults, tuning_seeds
from ablate.errors import AblateError, DataError, Problem, StudyError
from ablate.formats import build, check_format, refuse_unknown
from ablate.model.spec import Change, NetSpec, diff

__all__ = ["CONTROL", "NOISE_FLOOR", "Arm", "CampaignPlan", "Trial", "make_plan", "resolve_arms", "trials"]

PLAN_FORMAT = 1
_PARTS = ("format", "study", "data", "arms", "trials", "tuning")  # of a plan's JSON
MAX_TRIALS = 100_000
NOISE_FLOOR_SEEDS = 1_000_000  # how far the A/A arm's seeds lie from the control's
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A NetSpec reached from the control by a named set of changes.

    Attributes:
        factors: its level of each factor, in a factorial or fractional study (the control's too).
            Of an arm that also runs at equal cost only that one has them, so that each combination stands once.
        parent: the arm that it is one step away from: the step before it in an ``add_one_in`` design, else the
            control.
        match: how its width was solved, where the study asks for equal cost; such an arm is called ``NAME@macs``
            if its width had to move, and NAME if it cost the same anyway.
        recipe: the best of its tuning; None: the study's.
    """

    name: str
    spec: NetSpec
    changes: tuple[Change, ...] = ()
    factors: dict[str, Level] = field(default_factory=dict, hash=False)
    parent: str = CONTROL
    match: Match | None = None
    recipe: Recipe | None = None


@dataclass(frozen=True, kw_only=True)
class CampaignPlan:
    """Everything that one study is going to do; a report is made from it years later, without the study file.

    Attributes:
        arms: the control first.
        trials: the confirming ones, seed by seed, every arm within.
        tuning: what was tried for each arm so far, in a study that tunes; the arms have their recipes at its end.
    """

    study: Study
    data: DataInfo
    arms: tuple[Arm, ...]
    trials: tuple[Trial, ...]
    tuning: tuple[ArmTuning, ...] = ()

    @property
    def control(self) -> Arm:
        """The arm that the others are compared with."""
        return self.arms[0]

    def arm(self, name: str) -> Arm:
        """The arm of this name; KeyError if there is none."""
        return {arm.name: arm for arm in self.arms}[name]

    @property
    def tuning_trials(self) -> tuple[Trial, ...]:
        """The trials of every setting tried so far, arm by arm."""
        return tuple(trial for arm in self.tuning for setting in arm.settings for trial in setting.trials)

    def arm_trials(self, name: str) -> tuple[Trial, ...]:
        """The trials of one arm in the order of the seeds' pairs."""
        return tuple(trial for trial in self.trials if trial.arm == name)

    def to_json(self) -> str:
        """One line of JSON, the same for the same plan."""
        plain = {
            "format": PLAN_FORMAT,
            "study": self.study.model_dump(mode="json"),
            "data": dataclasses.asdict(self.data),
            "arms": [_arm_to_plain(arm) for arm in self.arms],
            "trials": [[trial.arm, trial.seed, trial.key] for trial in self.trials],
            "tuning": [_tuning_to_plain(arm) for arm in self.tuning],
        }
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of ``to_json``.

        Raises:
            AblateError: the text is not a plan, or was written by a newer version.
        """
        try:
            plain = json.loads(text)
            check_format("plan", plain["format"], PLAN_FORMAT)
            what = f"plan of format {plain['format']}"
            refuse_unknown(set(plain) - set(_PARTS), cls.__name__, what)
            study = _model(Study, plain["study"], what)
            data = build(DataInfo, plain["data"], what)
            arms = tuple(_arm_from_plain(arm, what) for arm in plain["arms"])
            made = trials(study, arms, data)
            for trial, (arm, seed, key) in zip(made, plain["trials"], strict=True):
                if (trial.arm, trial.seed) != (arm, seed):
                    raise AblateError(f"the plan's trial of {arm} with seed {seed} is out of place")
                # The records lie under the keys of that day, even if the formula has moved on since.
                vars(trial)["key"] = key
            named = {arm.name: arm for arm in arms}
            tuning = tuple(_tuning_from_plain(study, data, named, arm) for arm in plain.get("tuning", []))
            return cls(study=study, data=data, arms=arms, trials=made, tuning=tuning)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise AblateError(f"not a plan: {error}") from error


def _arm_to_plain(arm: Arm) -> dict[str, Any]:
    # vars, not asdict: a Change may hold anything that JSON can say
    return {
        **vars(arm),
        "spec": arm.spec.to_dict(),
        "changes": [[change.field, change.before, change.after] for change in arm.changes],
        "match": None if arm.match is None else dataclasses.asdict(arm.match),
        "recipe": None if arm.recipe is None else arm.recipe.model_dump(mode="json"),
    }


def _arm_from_plain(plain: dict[str, Any], what: str) -> Arm:
    known = {
        **plain,
        "spec": NetSpec.from_dict(plain["spec"], what),
        "changes": tuple(Change(*change) for change in plain.get("changes", ())),
        "match": None if plain.get("match") is None else build(Match, plain["match"], what),
        "recipe": None if plain.get("recipe") is None else _model(Recipe, plain["recipe"], what),
    }
    return build(Arm, known, what)


def _model(kind: type[Model], plain: Any, what: str) -> Model:
    try:
        return kind.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        unknown = [
            ".".join(map(str, detail["loc"])) for detail in error.errors() if detail["type"] == "extra_forbidden"
        ]
        refuse_unknown(unknown, kind.__name__, what)
        raise


def _tuning_to_plain(arm: ArmTuning) -> dict[str, Any]:
    return {"arm": arm.arm, "settings": [[dict(one.values), [t.key for t in one.trials]] for one in arm.settings]}


def _tuning_from_plain(study: Study, data: DataInfo, arms: dict[str, Arm], plain: dict[str, Any]) -> ArmTuning:
    settings = []
    for values, keys in plain["settings"]:
        made = setting(study, arms[plain["arm"]], data, values)
        for trial, key in zip(made.trials, keys, strict=True):
            vars(trial)["key"] = key
        settings.append(made)
    return ArmTuning(arm=plain["arm"], settings=tuple(settings))


def resolve_arms(study: Study, data: DataInfo, *, where: str = "") -> tuple[Arm, ...]:
    """The control, the arms in the study's order, then the A/A arm where the study asks for it.

    Args:
        study: as read.
        data: decides the nets' input channels and classes, and the image size that costs are matched at.
        where: the file to name in an error; the study's name if empty.

    Raises:
        StudyError: every problem of the control, the arms and the factors; an arm that cannot cost what is asked for.
    """
    try:
        drafts = draft_arms(study, Images(channels=data.channels, num_classes=data.num_classes))
        arms = [_arm(draft, drafts[0].spec, match) for draft, match in matched(study, data, drafts)]
    except ArmsError as error:
        place = where or f"study {study.name}"
        raise StudyError(Problem(place, fault.key, fault.message) for fault in error.faults) from error
    if study.noise_floor:
        arms.append(Arm(name=NOISE_FLOOR, spec=arms[0].spec))
    return tuple(arms)


def _arm(draft: Draft, control: NetSpec, match: Match | None) -> Arm:
    changes = draft.changes
    if changes and draft.spec.width_mult != control.width_mult and not any(c.field == "width_mult" for c in changes):
        changes = (*changes, Change("width_mult", control.width_mult, draft.spec.width_mult))
    return Arm(
        name=draft.name,
        spec=draft.spec,
        changes=changes or diff(control, draft.spec),
        factors=draft.factors,
        parent=draft.parent,
        match=match,
    )


def trials(study: Study, arms: Sequence[Arm], data: DataInfo) -> tuple[Trial, ...]:
    """Every arm with every seed, interleaved: all arms' first seed before any second.

    An interrupted campaign then has whole pairs. The A/A arm's seeds lie ``NOISE_FLOOR_SEEDS`` further on.
    """
    first = study.plan.first_seed
    return tuple(
        Trial(
            study=study.name,
            arm=arm.name,
            seed=seed + (NOISE_FLOOR_SEEDS if arm.name == NOISE_FLOOR else 0),
            spec=arm.spec,
            recipe=arm.recipe or study.recipe,
            data=study.data,
            data_digest=data.digest,
            keep_weights=study.keep_weights,
        )
        for seed in range(first, first + study.plan.most_seeds)
        for arm in arms
    )


def tuned_arms(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The arms that have a tuning of their own: all but the A/A arm, which is the control and takes its recipe."""
    return tuple(arm for arm in arms if arm.name != NOISE_FLOOR)


def setting(study: Study, arm: Arm, data: DataInfo, values: Values) -> Setting:
    """One setting of an arm's recipe with its trials, a tuning seed each."""
    return Setting(
        values=dict(values),
        trials=tuple(
            Trial(
                study=study.name,
                arm=arm.name,
                seed=seed,
                spec=arm.spec,
                recipe=tuned_recipe(study.recipe, values),
                data=study.data,
                data_digest=data.digest,
                phase="tuning",
            )
            for seed in tuning_seeds(study)
        ),
    )


def _too_much(study: Study, data: DataInfo, num_arms: int) -> list[tuple[str, str]]:
    """Key and message of what only data and arms together show to be impossible."""
    faults = []
    training, _ = data.split(study.data.validation)
    if study.recipe.batch_size > training:
        message = f"must be at most {training}, the training images of {data.name}, got {study.recipe.batch_size}"
        faults.append(("recipe.batch_size", message))
    if num_arms * study.plan.most_seeds > MAX_TRIALS:
        message = f"must make at most {MAX_TRIALS} trials, got {num_arms} arms x {study.plan.most_seeds} seeds"
        faults.append(("plan.seeds", message))
    settings, seeds = study.tuning.trials or 0, study.tuning.seeds
    if num_arms * settings * seeds > MAX_TRIALS:
        message = f"must make at most {MAX_TRIALS} trials, got {num_arms} arms x {settings} settings x {seeds} seeds"
        faults.append(("tuning.trials", message))
    return faults + [(fault.key, fault.message) for fault in tuning_faults(study)]


def make_plan(study: Study, data_root: Path | None = None, *, where: str = "") -> CampaignPlan:
    """The campaign that carries out ``study``.

    Raises:
        StudyError: a problem of the study's arms.
        DataError: the data set is unknown, missing or damaged; names the study file besides.
    """
    place = where or f"study {study.name}"
    try:
        data = describe(study.data, data_root)
    except DataError as error:
        raise DataError(str(Problem(place, "data.name", str(error)))) from error
    arms = resolve_arms(study, data, where=where)
    problems = [Problem(place, *fault) for fault in _too_much(study, data, len(arms))]
    if problems:
        raise StudyError(problems)
    return CampaignPlan(study=study, data=data, arms=arms, trials=trials(study, arms, data))
