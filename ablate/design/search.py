"""A search as a study asks for it: brackets of candidates, each a few ordinary trials, and the arms that come of it.

With a pruner a candidate is first trained with fewer epochs, by the whole schedule in that time; the best ones are then
trained again with more. So every score belongs to a trial of its own, and scores that are compared have equal epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ablate.design.arms import Arm, Images, Setup, new_arm, told_changes
from ablate.design.imported import is_path
from ablate.design.own_block import is_ours
from ablate.design.own_training import OwnTraining
from ablate.design.search_fields import Search
from ablate.design.space import Axis, distinct, size_of
from ablate.design.study import Level, Recipe, Study
from ablate.design.trial import Phase, Trial, moved_by
from ablate.design.tuning import TUNING_SEEDS, tuned_by
from ablate.design.validation import FieldError

LEAST_IN_BRACKET = 2
COST_METRICS = {"macs": "macs", "params": "params", "latency": "latency_ms"}  # of training of the user's own


@dataclass(frozen=True, kw_only=True)
class Bracket:
    """Candidates that start with the same number of epochs.

    Attributes:
        first: number of its first candidate in the search; the search's first one, 1, is the control.
        size: how many candidates.
        epochs: of each rung; the last is the recipe's own number.
    """

    first: int
    size: int
    epochs: tuple[int, ...]

    def counts(self, search: Search) -> tuple[int, ...]:
        """How many of its candidates reach each rung. The control reaches all, so that leads can be compared."""
        control = int(self.first == 1)
        others, found = self.size - control, [self.size]
        for _ in self.epochs[1:]:
            others = kept(others, search)
            found.append(others + control)
        return tuple(found)


def kept(candidates: int, search: Search) -> int:
    """How many of so many candidates, the control aside, reach the next rung: as many as are confirmed, or more."""
    return min(candidates, max(search.confirm, candidates // search.reduction))


def full_epochs(study: Study) -> int:
    """The epochs of a candidate that is trained to the end; 1 where only training of the user's own knows them."""
    if not study.own_training:
        return study.recipe.epochs
    epochs = study.control.get("epochs")
    return epochs if type(epochs) is int and epochs > 0 else 1


def rungs(epochs: int, search: Search) -> tuple[int, ...]:
    """The epochs of each rung, the fewest first."""
    if search.pruner == "none":
        return (epochs,)
    found = [epochs]
    while (fewer := epochs // search.reduction ** len(found)) >= search.min_epochs:
        found.insert(0, fewer)
    return tuple(found)


def brackets(study: Study) -> tuple[Bracket, ...]:
    """The brackets of a search: one, or with Hyperband one for each number of epochs to start with.

    Hyperband's shares are those of the paper, rounded to the search's number of candidates.

    Source:
        Jamieson and Talwalkar, arXiv:1502.07943 (successive halving); Li et al., arXiv:1603.06560, algorithm 1.
    """
    search, trials = study.search, study.search.trials or 0
    steps = rungs(full_epochs(study), search)
    if search.pruner != "hyperband":
        return (Bracket(first=1, size=trials, epochs=steps),)
    weights = [search.reduction**s / (s + 1) for s in range(len(steps))]
    sizes = _shared(trials, weights)
    found, first = [], 1
    for s, size in enumerate(sizes):
        found.append(Bracket(first=first, size=size, epochs=steps[len(steps) - 1 - s :]))
        first += size
    return tuple(found)


def _shared(total: int, weights: Sequence[float]) -> list[int]:
    """``total`` in whole parts like the weights, each at least ``LEAST_IN_BRACKET``; remainders go to the largest."""
    rest = total - LEAST_IN_BRACKET * len(weights)
    exact = [rest * weight / sum(weights) for weight in weights]
    parts = [LEAST_IN_BRACKET + math.floor(part) for part in exact]
    order = sorted(range(len(parts)), key=lambda i: (math.floor(exact[i]) - exact[i], i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A candidate trained with a number of epochs, once with each search seed."""

    epochs: int
    trials: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One point of the space, and the trials that score it.

    Attributes:
        number: from 1, in the order of the search; 1 is the control.
        bracket: the place of its bracket.
        arm: what it trains, and its changes against the control.
        values: the factors that count at its point, and their values.
        rungs: those that it has reached, the fewest epochs first.
    """

    number: int
    bracket: int
    arm: Arm
    values: Mapping[str, Level] = field(hash=False)
    rungs: tuple[Rung, ...] = ()

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All of its trials."""
        return tuple(trial for rung in self.rungs for trial in rung.trials)


def candidate_arm(study: Study, control: Setup, number: int, setup: Setup, values: Mapping[str, Level]) -> Arm:
    """The arm of a candidate: ``candidate_17``."""
    return new_arm(f"candidate_{number}", setup, told_changes(study, values, control, setup))


def rung(study: Study, arm: Arm, data_digest: str, epochs: int) -> Rung:
    """A candidate's trials with so many epochs."""
    spec, recipe = arm.spec, arm.recipe
    if study.search.pruner != "none" and isinstance(spec, OwnTraining):
        spec = spec.with_changes({"epochs": epochs})
    elif study.search.pruner != "none":
        recipe = shortened(recipe, epochs, study.recipe.epochs)
    phase: Phase = "timed" if study.search.cost == "latency" and not study.own_training else "search"
    made = (
        Trial(
            study=study.name,
            arm=arm.name,
            seed=seed,
            spec=spec,
            recipe=recipe,
            data_digest=data_digest,
            metrics=_scored_by(study) if study.own_training else (),
            phase=phase,
            **moved_by(study.vary, seed, arm.data, study.plan.first_seed),
        )
        for seed in search_seeds(study)
    )
    return Rung(epochs=epochs, trials=tuple(made))


def _scored_by(study: Study) -> tuple[str, ...]:
    """What training of the user's own has to return for a candidate: the score, with nsga2 the cost too."""
    traded = study.search.sampler == "nsga2"
    return (tuned_by(study.decision.metric), *[COST_METRICS[study.search.cost]] * traded)


def shortened(recipe: Recipe, epochs: int, of: int) -> Recipe:
    """The recipe with fewer epochs, its schedule drawn together: warm-up and steps shrink alike."""
    share = epochs / of
    moved = {"warmup_epochs": recipe.warmup_epochs * share, "step_epochs": recipe.step_epochs * share}
    return recipe if epochs == of else Recipe.model_validate({**recipe.model_dump(), **moved, "epochs": epochs})


def search_seeds(study: Study) -> tuple[int, ...]:
    """The seeds that candidates are scored with; no confirming trial has any of them."""
    first = study.plan.first_seed + TUNING_SEEDS
    return tuple(range(first, first + study.search.seeds))


def confirmed_names(study: Study) -> tuple[str, ...]:
    """What the confirmed arms are called, known before the search: ``best_1``, with nsga2 ``front_1``, and so on."""
    stem = "front" if study.search.sampler == "nsga2" else "best"
    return tuple(f"{stem}_{place}" for place in range(1, study.search.confirm + 1)) if study.searched else ()


def confirmed_arms(study: Study, chosen: Sequence[Candidate]) -> tuple[Arm, ...]:
    """The candidates that are confirmed as arms of the study, the best first."""
    named = zip(confirmed_names(study), chosen, strict=False)  # fewer, where fewer finished
    return tuple(replace(candidate.arm, name=name) for name, candidate in named)


def search_trials(study: Study) -> tuple[tuple[int, int], ...]:
    """Epochs, and how many trials of the search have so many; nothing where nothing is searched."""
    if not study.searched:
        return ()
    found: dict[int, int] = {}
    for bracket in brackets(study):
        for epochs, count in zip(bracket.epochs, bracket.counts(study.search), strict=True):
            found[epochs] = found.get(epochs, 0) + count * study.search.seeds
    return tuple(sorted(found.items()))


def num_search_trials(study: Study) -> int:
    """How many trials the search takes."""
    return sum(count for _, count in search_trials(study))


def search_errors(study: Study, control: Setup, images: Images, axes: tuple[Axis, ...]) -> list[FieldError]:
    """What is wrong with ``[search]`` for this space."""
    search = study.search
    if search.trials is None:
        return [FieldError("search.trials", "is missing: say how many candidates the search may try")]
    if study.own_training and not study.decision.metric.startswith("test_"):
        told = f"must start with test_ in a search, got {study.decision.metric!r}: candidates are chosen by its twin"
        return [FieldError("decision.metric", f"{told} val_NAME, which the training returns too")]
    if study.decision.metric.startswith("val_"):
        told = f"must not be {study.decision.metric!r} in a search: its candidates are chosen on the validation images"
        allowed = study.decision.metric.replace("val_", "test_")
        return [FieldError("decision.metric", f"{told}; allowed is {allowed!r}")]
    of_user = not is_ours(control.spec) or any(is_path(level) for axis in axes for level in axis.levels or ())
    of_user = of_user and not study.own_training  # whose costs are what it returns
    if search.sampler == "nsga2" and search.cost != "latency" and of_user:
        counted = f"whose {search.cost} are counted where it is imported"
        told = f'must be "latency" with a net or a block of your own, {counted}'
        return [FieldError("search.against", told)]
    size = size_of(axes)
    most = size if size is not None and size < search.trials else distinct(study, control, images, axes)
    if most is not None and most < search.trials:
        least = " (and a search takes at least 3)" * (most < 3)
        message = f"must be at most {most}, the different candidates that [factors] make{least}, got {search.trials}"
        return [FieldError("search.trials", message)]
    return _pruner_errors(study, axes)


def _pruner_errors(study: Study, axes: tuple[Axis, ...]) -> list[FieldError]:
    search, epochs = study.search, full_epochs(study)
    if search.pruner == "none":
        return []
    field = "epochs" if study.own_training else "recipe.epochs"
    if study.own_training and type(study.control.get(field)) is not int:
        message = f"{search.pruner!r} needs control.epochs, a whole number: how long your training trains"
        return [FieldError("search.pruner", message)]
    if any(axis.name == field for axis in axes):
        message = f"does not go with search.pruner = {search.pruner!r}, which moves the epochs itself"
        return [FieldError(f"factors.{field}", message)]
    steps = rungs(epochs, search)
    if len(steps) < 2:
        least = search.min_epochs * search.reduction
        place = "control.epochs" if study.own_training else field
        needed = f"{search.pruner!r} needs {place} of at least {least} (min_epochs × reduction)"
        return [FieldError("search.pruner", f"{needed}, got {epochs}")]
    if search.pruner == "hyperband" and (search.trials or 0) < LEAST_IN_BRACKET * len(steps):
        message = f"must be at least {LEAST_IN_BRACKET * len(steps)}, two for each of {len(steps)} brackets"
        return [FieldError("search.trials", f"{message}, got {search.trials}")]
    return []
