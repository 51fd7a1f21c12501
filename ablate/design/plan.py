"""From a Study to its arms and trials; torch stays out of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ablate.design.arms import CONTROL, NOISE_FLOOR, ArmsError, Draft, Images
from ablate.design.datasets import DataInfo, describe
from ablate.design.drafts import draft_arms
from ablate.design.match import Match, matched
from ablate.design.study import DataSpec, Level, Recipe, Study, digest
from ablate.errors import AblateError, Problem, StudyError
from ablate.model.spec import Change, NetSpec, diff

__all__ = ["CONTROL", "NOISE_FLOOR", "Arm", "CampaignPlan", "Trial", "make_plan", "resolve_arms", "trials"]

TRIAL_FORMAT = 1  # raised when the same trial would train to other numbers, so that old records are not mixed in
PLAN_FORMAT = 1
MAX_TRIALS = 100_000
NOISE_FLOOR_SEEDS = 1_000_000  # how far the A/A arm's seeds lie from the control's


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
    """

    name: str
    spec: NetSpec
    changes: tuple[Change, ...] = ()
    factors: dict[str, Level] = field(default_factory=dict, hash=False)
    parent: str = CONTROL
    match: Match | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One arm trained once with one seed.

    ``key`` is a hash of everything that decides the result: net, recipe, data, seed. Names do not decide it, so a
    renamed arm keeps its records.
    """

    study: str
    arm: str
    seed: int
    spec: NetSpec
    recipe: Recipe
    data: DataSpec
    data_digest: str = ""  # of the file's content, for an .npz of the user's own
    keep_weights: bool = False

    @cached_property
    def key(self) -> str:
        """16 hex digits."""
        decides: dict[str, Any] = {
            "format": TRIAL_FORMAT,
            "spec": self.spec.to_dict(),
            "recipe": self.recipe.model_dump(mode="json"),
            "data": self.data.model_dump(mode="json") | {"digest": self.data_digest},
            "seed": self.seed,
        }
        return digest(decides)


@dataclass(frozen=True, kw_only=True)
class CampaignPlan:
    """Everything that one study is going to do; a report is made from it years later, without the study file."""

    study: Study
    data: DataInfo
    arms: tuple[Arm, ...]  # the control first
    trials: tuple[Trial, ...]  # seed by seed, every arm within

    @property
    def control(self) -> Arm:
        """The arm that the others are compared with."""
        return self.arms[0]

    def arm(self, name: str) -> Arm:
        """The arm of this name; KeyError if there is none."""
        return {arm.name: arm for arm in self.arms}[name]

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
        }
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of ``to_json``.

        Raises:
            AblateError: the text is not a plan, or one of another format.
        """
        try:
            plain = json.loads(text)
            if plain["format"] != PLAN_FORMAT:
                raise AblateError(f"the plan has format {plain['format']}, this version reads {PLAN_FORMAT}")
            study = Study.model_validate_json(json.dumps(plain["study"]))
            data = DataInfo(**plain["data"])
            arms = tuple(_arm_from_plain(arm) for arm in plain["arms"])
            made = trials(study, arms, data)
            for trial, (arm, seed, key) in zip(made, plain["trials"], strict=True):
                if (trial.arm, trial.seed) != (arm, seed):
                    raise AblateError(f"the plan's trial of {arm} with seed {seed} is out of place")
                # The records lie under the keys of that day, even if the formula has moved on since.
                vars(trial)["key"] = key
            return cls(study=study, data=data, arms=arms, trials=made)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise AblateError(f"not a plan: {error}") from error


def _arm_to_plain(arm: Arm) -> dict[str, Any]:
    # vars, not asdict: a Change may hold anything that JSON can say
    return {
        **vars(arm),
        "spec": arm.spec.to_dict(),
        "changes": [[change.field, change.before, change.after] for change in arm.changes],
        "match": None if arm.match is None else dataclasses.asdict(arm.match),
    }


def _arm_from_plain(plain: dict[str, Any]) -> Arm:
    known = {
        **plain,
        "spec": NetSpec.from_dict(plain["spec"]),
        "changes": tuple(Change(*change) for change in plain["changes"]),
        "match": None if plain["match"] is None else Match(**plain["match"]),
    }
    return Arm(**known)


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
            recipe=study.recipe,
            data=study.data,
            data_digest=data.digest,
            keep_weights=study.keep_weights,
        )
        for seed in range(first, first + study.plan.most_seeds)
        for arm in arms
    )


def _too_much(study: Study, data: DataInfo, num_arms: int) -> list[tuple[str, str]]:
    """Key and message of what only data and arms together show to be impossible."""
    faults = []
    training = data.num_train - round(data.num_train * study.data.validation)
    if study.recipe.batch_size > training:
        message = f"must be at most {training}, the training images of {data.name}, got {study.recipe.batch_size}"
        faults.append(("recipe.batch_size", message))
    if num_arms * study.plan.most_seeds > MAX_TRIALS:
        message = f"must make at most {MAX_TRIALS} trials, got {num_arms} arms x {study.plan.most_seeds} seeds"
        faults.append(("plan.seeds", message))
    return faults


def make_plan(study: Study, data_root: Path | None = None, *, where: str = "") -> CampaignPlan:
    """The campaign that carries out ``study``.

    Raises:
        StudyError: a problem of the study's arms.
        DataError: the data set is unknown, missing or damaged.
    """
    data = describe(study.data, data_root)
    arms = resolve_arms(study, data, where=where)
    problems = [Problem(where or f"study {study.name}", *fault) for fault in _too_much(study, data, len(arms))]
    if problems:
        raise StudyError(problems)
    return CampaignPlan(study=study, data=data, arms=arms, trials=trials(study, arms, data))
