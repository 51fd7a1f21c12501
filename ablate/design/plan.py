"""From a Study to its arms and trials; torch stays out of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ablate.design.arms import CONTROL, NOISE_FLOOR, Arm, Images, new_arm
from ablate.design.consistency import study_errors
from ablate.design.datasets import DataInfo, describe, own_data
from ablate.design.initial import with_digests
from ablate.design.levels import moved_field, other_levels, stability_errors, study_at
from ablate.design.match import Solve, matched
from ablate.design.plain_arms import arm_from_plain, arm_to_plain, read_model
from ablate.design.plan_checks import check_arms, set_keys
from ablate.design.search import Candidate, num_search_trials, rung
from ablate.design.study import Level, Study
from ablate.design.trial import Trial, moved_by
from ablate.design.tuning import NOISE_FLOOR_SEEDS, ArmTuning, Setting, Values, at_setting, tuned_by, tuning_seeds
from ablate.design.unmatched import unmatched_arms
from ablate.design.validation import FieldError, FieldsError
from ablate.errors import AblateError, DataError, Problem, StudyError
from ablate.formats import build, check_format, parse, refuse_unknown

__all__ = ["CONTROL", "NOISE_FLOOR", "Arm", "CampaignPlan", "Trial", "make_plan", "resolve_arms", "trials"]

PLAN_FORMAT = 1
_PARTS = ("format", "study", "data", "arms", "trials", "tuning", "search", "levels")  # of a plan's JSON
MAX_TRIALS = 100_000


@dataclass(frozen=True, kw_only=True)
class AtLevel:
    """The arms again at another level of the field that ``[stability]`` names, as a plan of their own."""

    level: Level
    plan: CampaignPlan


@dataclass(frozen=True, kw_only=True)
class CampaignPlan:
    """Everything that one study is going to do; a report is made from it years later, without the study file.

    Attributes:
        arms: the control first; after a tuning with the recipes that came of it, after a search with its best.
        trials: the confirming ones, seed by seed, every arm within.
        tuning: what was tried for each arm so far, in a study that tunes; the arms have their recipes at its end.
        search: the candidates that were tried so far, in a study that searches.
        to_find: how many arms its search is still to find.
        levels: of a study that asks for stability, its arms at each further level; no verdict rests on these.
    """

    study: Study
    data: DataInfo
    arms: tuple[Arm, ...]
    trials: tuple[Trial, ...]
    tuning: tuple[ArmTuning, ...] = ()
    search: tuple[Candidate, ...] = ()
    to_find: int = 0
    levels: tuple[AtLevel, ...] = ()

    @property
    def control(self) -> Arm:
        """The arm that the others are compared with."""
        return self.arms[0]

    def arm(self, name: str) -> Arm:
        """The arm or the candidate of this name; KeyError if there is none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Arm]:
        candidates = (candidate.arm for candidate in self.search)
        return {arm.name: arm for arm in (*candidates, *self.arms)}

    @property
    def tuning_trials(self) -> tuple[Trial, ...]:
        """The trials of every setting tried so far, arm by arm."""
        return tuple(trial for arm in self.tuning for setting in arm.settings for trial in setting.trials)

    @property
    def exploring_trials(self) -> tuple[Trial, ...]:
        """The trials of every setting and every candidate tried so far; no verdict rests on them."""
        return (*self.tuning_trials, *(trial for candidate in self.search for trial in candidate.trials))

    @property
    def level_trials(self) -> tuple[Trial, ...]:
        """The trials at every further level, level by level."""
        return tuple(trial for at in self.levels for trial in at.plan.trials)

    def at(self, trial: Trial) -> AtLevel | None:
        """The level that a trial belongs to; None for one at the study's own."""
        return self._by_key.get(trial.key)

    @cached_property
    def _by_key(self) -> dict[str, AtLevel]:
        return {trial.key: at for at in self.levels for trial in at.plan.trials}

    def arm_trials(self, name: str) -> tuple[Trial, ...]:
        """The trials of one arm in the order of the seeds' pairs."""
        return tuple(trial for trial in self.trials if trial.arm == name)

    def to_json(self) -> str:
        """One line of JSON, the same for the same plan."""
        plain = {
            "format": PLAN_FORMAT,
            "study": self.study.model_dump(mode="json"),
            "data": dataclasses.asdict(self.data),
            "arms": [arm_to_plain(arm) for arm in self.arms],
            "trials": [[trial.arm, trial.seed, trial.key] for trial in self.trials],
            "tuning": [_tuning_to_plain(arm) for arm in self.tuning],
            **({"search": [_candidate_to_plain(one) for one in self.search]} if self.study.searched else {}),
        }
        if self.levels:
            plain["levels"] = [[at.level, json.loads(at.plan.to_json())] for at in self.levels]
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of ``to_json``.

        Raises:
            AblateError: the text is not a plan, or was written by a newer version.
        """
        try:
            plain = parse(text)
            check_format("plan", plain["format"], PLAN_FORMAT)
            what = f"plan of format {plain['format']}"
            refuse_unknown(set(plain) - set(_PARTS), cls.__name__, what)
            study = read_model(Study, plain["study"], what)
            data = build(DataInfo, plain["data"], what)
            arms = tuple(arm_from_plain(study, arm, what) for arm in plain["arms"])
            made = trials(study, arms, data)
            for trial, (arm, seed, _) in zip(made, plain["trials"], strict=True):
                if (trial.arm, trial.seed) != (arm, seed):
                    raise AblateError(f"the plan's trial of {arm} with seed {seed} is out of place")
            set_keys(made, [key for _, _, key in plain["trials"]])
            named = {arm.name: arm for arm in arms}
            check_arms(study, arms)
            tuning = tuple(_tuning_from_plain(study, data, named, arm) for arm in plain.get("tuning", []))
            search = tuple(_candidate_from_plain(study, data, one, what) for one in plain.get("search", []))
            to_find = study.search.confirm * (study.searched and not _found(arms))
            levels = tuple(
                AtLevel(level=level, plan=cls.from_json(json.dumps(inner))) for level, inner in plain.get("levels", ())
            )
            return cls(
                study=study,
                data=data,
                arms=arms,
                trials=made,
                tuning=tuning,
                search=search,
                to_find=to_find,
                levels=levels,
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise AblateError(f"not a plan: {error}") from error


def _tuning_to_plain(arm: ArmTuning) -> dict[str, Any]:
    block = {"block": arm.block} if arm.block else {}
    return {
        "arm": arm.arm,
        **block,
        "settings": [[dict(one.values), [t.key for t in one.trials]] for one in arm.settings],
    }


def _tuning_from_plain(study: Study, data: DataInfo, arms: dict[str, Arm], plain: dict[str, Any]) -> ArmTuning:
    settings = []
    for values, keys in plain["settings"]:
        made = setting(study, arms[plain["arm"]], data, values, plain.get("block", 0))
        set_keys(made.trials, keys)
        settings.append(made)
    return ArmTuning(arm=plain["arm"], settings=tuple(settings), block=plain.get("block", 0))


def _candidate_to_plain(candidate: Candidate) -> dict[str, Any]:
    rungs = [[one.epochs, [trial.key for trial in one.trials]] for one in candidate.rungs]
    return {**vars(candidate), "arm": arm_to_plain(candidate.arm), "values": dict(candidate.values), "rungs": rungs}


def _candidate_from_plain(study: Study, data: DataInfo, plain: dict[str, Any], what: str) -> Candidate:
    arm = arm_from_plain(study, plain["arm"], what)
    rungs = []
    for epochs, keys in plain["rungs"]:
        made = rung(study, arm, data.digest, epochs)
        set_keys(made.trials, keys)
        rungs.append(made)
    return build(Candidate, {**plain, "arm": arm, "rungs": tuple(rungs)}, what)


def _found(arms: Sequence[Arm]) -> bool:
    """Whether there are arms beside the control and the A/A arm."""
    return any(arm.name not in (CONTROL, NOISE_FLOOR) for arm in arms)


def resolve_arms(study: Study, data: DataInfo, *, where: str = "", solve: Solve | None = None) -> tuple[Arm, ...]:
    """The control, the arms in the study's order, then the A/A arm where the study asks for it.

    Args:
        study: as read.
        data: decides the nets' input channels and classes, and the image size that costs are matched at.
        where: the file to name in an error; the study's name if empty.
        solve: solves the widths of imported nets; None: they cannot be built here.

    Raises:
        StudyError: every problem of the control, the arms and the factors; an arm that cannot cost what is asked for.
    """
    try:
        found = unmatched_arms(study, Images(channels=data.channels, num_classes=data.num_classes))
        arms = matched(study, data, found, solve)
    except FieldsError as error:
        place = where or f"study {study.name}"
        raise StudyError(Problem(place, one.key, one.message) for one in error.errors) from error
    if study.noise_floor:
        arms.append(new_arm(NOISE_FLOOR, arms[0].setup))
    return tuple(arms)


def trials(study: Study, arms: Sequence[Arm], data: DataInfo) -> tuple[Trial, ...]:
    """Every arm with every seed, interleaved: all arms' first seed before any second.

    An interrupted campaign then has whole pairs. The A/A arm's seeds lie ``NOISE_FLOOR_SEEDS`` further on.
    """
    return tuple(_trial(study, arm, place, data) for place in range(study.plan.most_seeds) for arm in arms)


def _trial(study: Study, arm: Arm, place: int, data: DataInfo) -> Trial:
    seed = study.plan.first_seed + place + (NOISE_FLOOR_SEEDS if arm.name == NOISE_FLOOR else 0)
    trained = at_setting(arm, arm.settings[place]) if arm.settings else arm
    return Trial(
        study=study.name,
        arm=arm.name,
        seed=seed,
        spec=trained.spec,
        recipe=trained.recipe,
        data_digest=data.digest,
        keep_weights=study.keep_weights,
        metrics=_metrics(study) if study.own_training else (),
        **moved_by(study.vary, seed, arm.data, study.plan.first_seed),
    )


def _metrics(study: Study) -> tuple[str, ...]:
    """What training of the user's own has to return for a confirming trial."""
    decision = study.decision
    return (*decision.metrics, *decision.also, *[tuned_by(decision.metric)] * study.searched)


def setting(study: Study, arm: Arm, data: DataInfo, values: Values, block: int = 0) -> Setting:
    """One setting of an arm with its trials, a tuning seed each."""
    tried = at_setting(arm, values)
    return Setting(
        values=dict(values),
        trials=tuple(
            Trial(
                study=study.name,
                arm=arm.name,
                seed=seed,
                spec=tried.spec,
                recipe=tried.recipe,
                data_digest=data.digest,
                metrics=(tuned_by(study.decision.metric),) if study.own_training else (),
                phase="tuning",
                **moved_by(study.vary, seed, arm.data, study.plan.first_seed),
            )
            for seed in tuning_seeds(study, arm.name, block)
        ),
    )


def _too_much(study: Study, data: DataInfo, arms: Sequence[Arm]) -> list[FieldError]:
    """What only data and arms together show to be impossible."""
    errors = []
    drawn = any(arm.data.fraction < 1 or arm.data.label_noise for arm in arms)
    if "split" in study.vary and data.num_val and not drawn:
        errors.append(FieldError("vary", f"'split' does nothing: {data.name} has its own validation images"))
    for arm in arms:
        training, _ = data.split(arm.data)
        if arm.recipe.batch_size > training and not study.own_training:
            of_arm = "" if arm.name == CONTROL else f" of arm {arm.name}"
            message = f"must be at most {training}, the training images of {data.name}{of_arm}"
            errors.append(FieldError("recipe.batch_size", f"{message}, got {arm.recipe.batch_size}"))
            break
    num_arms, seeds = len(arms) + study.search.confirm * study.searched, study.plan.most_seeds
    if num_arms * seeds > MAX_TRIALS:
        message = f"must make at most {MAX_TRIALS} trials, got {num_arms} arms x {seeds} seeds"
        errors.append(FieldError("plan.seeds", message))
    settings, seeds = study.tuning.trials or 0, study.tuning.seeds * study.tuning.blocks
    if num_arms * settings * seeds > MAX_TRIALS:
        message = f"must make at most {MAX_TRIALS} trials, got {num_arms} arms x {settings} settings x {seeds} seeds"
        errors.append(FieldError("tuning.trials", message))
    if num_search_trials(study) > MAX_TRIALS:
        message = f"must make at most {MAX_TRIALS} trials, got {num_search_trials(study)} with their seeds"
        errors.append(FieldError("search.trials", message))
    return errors


def make_plan(
    study: Study, data_root: Path | None = None, *, where: str = "", solve: Solve | None = None
) -> CampaignPlan:
    """The campaign that carries out ``study``; ``solve`` solves the widths of imported nets, which builds them.

    Raises:
        StudyError: every problem of the study and of its arms.
        DataError: the data set is unknown, missing or damaged; names the study file as well.
    """
    place = where or f"study {study.name}"
    try:
        data = own_data(study) if study.own_training else describe(study.data, data_root)
    except DataError as error:
        raise DataError(str(Problem(place, "data.name", str(error)))) from error
    arms = resolve_arms(study, data, where=where, solve=solve)
    images = Images(channels=data.channels, num_classes=data.num_classes)
    arms, errors = with_digests(study, arms, data_root)
    errors += [*_too_much(study, data, arms), *study_errors(study, arms), *stability_errors(study, arms, images)]
    if errors:
        raise StudyError(Problem(place, error.key, error.message) for error in errors)
    to_find = study.search.confirm * study.searched
    levels = tuple(_at(study, level, data_root, place, solve) for level in other_levels(study, arms[0]))
    return CampaignPlan(
        study=study, data=data, arms=arms, trials=trials(study, arms, data), levels=levels, to_find=to_find
    )


def _at(study: Study, level: Level, data_root: Path | None, place: str, solve: Solve | None) -> AtLevel:
    """The arms at another level; its errors under the key that asks for it."""
    try:
        return AtLevel(level=level, plan=make_plan(study_at(study, level), data_root, where=place, solve=solve))
    except StudyError as error:
        key = f"stability.{moved_field(study)}"
        raise StudyError(
            Problem(one.where, key, f"cannot be {level!r}: {one.key} {one.message}") for one in error.problems
        ) from error
