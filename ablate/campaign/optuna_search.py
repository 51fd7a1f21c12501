"""The candidates of a search, as far as the scores lead: asked of Optuna, told back in their order, bracket by bracket.

What is asked depends on the records alone and not on when they came, so that an interrupted search goes the same way.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ablate.campaign.optuna_driver import TOLD_WORST, study_of
from ablate.design.arms import Images, Setup
from ablate.design.plan import CampaignPlan
from ablate.design.record import Record
from ablate.design.search import (
    Bracket,
    Candidate,
    Rung,
    brackets,
    candidate_arm,
    full_epochs,
    kept,
    rung,
    search_seeds,
)
from ablate.design.space import Axis, setup_at, space_of
from ablate.design.study import Level, Study
from ablate.design.tuning import tuned_by
from ablate.verdicts.explored import chosen, cost_of
from ablate.verdicts.search import WORST, is_scored, score

if TYPE_CHECKING:
    import optuna

REPEATS = 20  # points in a row that were there before, or cannot be, until one is drawn at random
DRAWS = 2_000  # random points until the space is taken to be used up
MOST_STARTUP = 10  # random candidates before tpe goes by the scores; a third of a smaller budget
LEAST_SCORES = 3  # that importance is computed from
MOST_POPULATION = 50  # of nsga2, Optuna's own number; a quarter of a smaller budget

Drawn = tuple[Setup, dict[str, Level]]  # what a point makes, and the factors that count there


class Explorer:
    """The search of one campaign: all of its brackets, side by side.

    Args:
        plan: the campaign's, as made from its study.
    """

    def __init__(self, plan: CampaignPlan) -> None:
        self._plan = plan
        axes = space_of(plan.study, plan.control.setup)
        self._brackets = [_Bracket(plan, axes, place, one) for place, one in enumerate(brackets(plan.study))]

    def advance(self, records: Mapping[str, Record]) -> tuple[Candidate, ...]:
        """The candidates that are to be tried, given these records, by number; they grow as records come."""
        found = [candidate for bracket in self._brackets for candidate in bracket.advance(records)]
        return tuple(sorted(found, key=lambda candidate: candidate.number))

    @property
    def done(self) -> bool:
        """Whether every candidate has gone as far as it goes."""
        return all(bracket.done for bracket in self._brackets)

    @property
    def to_come(self) -> int:
        """How many trials of the search are to follow; fewer, where the space is used up before."""
        return sum(bracket.to_come for bracket in self._brackets) * self._plan.study.search.seeds

    @property
    def news(self) -> list[str]:
        """Sentences on brackets that ended early."""
        return [said for bracket in self._brackets if (said := bracket.said)]

    def best(self, records: Mapping[str, Record]) -> tuple[Candidate, ...]:
        """The candidates to confirm, when the search is done."""
        return chosen(self._plan.study, self._plan.data, self.advance(records), records)


class _Bracket:
    """The candidates of one bracket. Optuna is told their scores of the first rung, which have equal epochs."""

    def __init__(self, plan: CampaignPlan, axes: tuple[Axis, ...], place: int, bracket: Bracket) -> None:
        self._plan = plan
        self._study, self._control = plan.study, plan.control.setup
        if not plan.study.own_training:  # whose recipe has the digests of its files
            self._study = plan.study.model_copy(update={"recipe": plan.control.recipe})
        self._axes = axes
        self._place = place
        self._bracket = bracket
        self._images = Images(channels=plan.data.channels, num_classes=plan.data.num_classes)
        self._space = distributions(axes)
        self._optuna = _optuna_study(plan.study, search_seeds(plan.study)[0] + place, bracket.size)
        self._asked: list[optuna.Trial] = []
        self._candidates: list[Candidate] = []
        self._rungs: list[list[Rung]] = []
        self._setups: set[Setup] = set()
        self._told = 0
        self._size = bracket.size
        self.done = False
        self.said = ""
        search = plan.study.search
        self._window = self._size if search.sampler == "random" else search.at_once
        if bracket.first == 1:
            self._optuna.enqueue_trial({axis.name: axis.own for axis in axes})

    @property
    def to_come(self) -> int:
        counts = self._bracket.counts(self._study.search)
        there = sum(len(rungs) for rungs in self._rungs)
        return 0 if self.done else max(0, sum(counts) - (self._bracket.size - self._size) - there)

    def advance(self, records: Mapping[str, Record]) -> tuple[Candidate, ...]:
        while self._told < self._size:
            if len(self._candidates) < min(self._size, self._told + self._window):
                self._ask()
            elif is_scored(self._rungs[self._told][0], records):
                self._tell(records)
            else:
                break
        if self._told == self._size:
            self._promote(records)
        return tuple(
            Candidate(
                number=one.number, bracket=one.bracket, arm=one.arm, values=one.values, rungs=tuple(self._rungs[place])
            )
            for place, one in enumerate(self._candidates)
        )

    def _ask(self) -> None:
        """One candidate more, other than those before; none where the space has no more."""
        drawn = self._proposed() or self._drawn()
        if drawn is None:
            self._size = len(self._candidates)
            tried = f"{self._size} of {self._bracket.size}"
            self.said = f"the search has tried every candidate that it could find: {tried}"
            return
        setup, values = drawn
        self._setups.add(setup)
        number = self._bracket.first + len(self._candidates)
        own = {axis.name: axis.own for axis in self._axes}
        moved = {name: value for name, value in values.items() if value != own[name]}
        arm = candidate_arm(self._study, self._plan.control.setup, number, setup, moved)
        self._candidates.append(Candidate(number=number, bracket=self._place, arm=arm, values=values))
        self._rungs.append([rung(self._study, arm, self._plan.data.digest, self._bracket.epochs[0])])

    def _proposed(self) -> Drawn | None:
        """The sampler's next point that makes something new. Others are told as failed, which samplers ignore."""
        import optuna

        for _ in range(REPEATS):
            trial = self._optuna.ask(self._space)
            point = {axis.name: axis.value(trial.params[axis.name]) for axis in self._axes}
            found = setup_at(self._study, self._control, self._images, self._axes, point)
            if found is not None and found[0] not in self._setups:
                self._asked.append(trial)
                return found
            self._optuna.tell(trial, state=optuna.trial.TrialState.FAIL)
        return None

    def _drawn(self) -> Drawn | None:
        """A new point drawn at random, which Optuna is asked for."""
        generator = random.Random(f"{self._place}-{len(self._candidates)}")
        for _ in range(DRAWS):
            point = {axis.name: axis.value(_random(axis, generator)) for axis in self._axes}
            found = setup_at(self._study, self._control, self._images, self._axes, point)
            if found is not None and found[0] not in self._setups:
                self._optuna.enqueue_trial(dict(point))
                self._asked.append(self._optuna.ask(self._space))
                return found
        return None

    def _tell(self, records: Mapping[str, Record]) -> None:
        candidate, first = self._candidates[self._told], self._rungs[self._told][0]
        value = score(first, records, self._study.decision)
        values = [TOLD_WORST if value == WORST else value]
        if self._study.search.sampler == "nsga2":
            tried = Candidate(
                number=candidate.number, bracket=self._place, arm=candidate.arm, values=candidate.values, rungs=(first,)
            )
            cost = cost_of(self._study, self._plan.data, tried, records)
            values.append(-TOLD_WORST if cost is None else cost)
        self._optuna.tell(self._asked[self._told], values)
        self._told += 1

    def _promote(self, records: Mapping[str, Record]) -> None:
        """Trains the best candidates of each rung with more epochs, as far as the records go."""
        alive = list(range(self._size))
        for step, epochs in enumerate(self._bracket.epochs):
            reached = [place for place in alive if len(self._rungs[place]) > step]
            for place in alive:
                if place not in reached:
                    arm = self._candidates[place].arm
                    self._rungs[place].append(rung(self._study, arm, self._plan.data.digest, epochs))
            if not all(is_scored(self._rungs[place][step], records) for place in alive):
                return
            if step + 1 < len(self._bracket.epochs):
                alive = self._survivors(alive, step, records)
        self.done = True

    def _survivors(self, alive: Sequence[int], step: int, records: Mapping[str, Record]) -> list[int]:
        """Those that get more epochs: the control, and the best of the others that finished."""
        scores = {place: score(self._rungs[place][step], records, self._study.decision) for place in alive}
        control = [place for place in alive if self._candidates[place].number == 1]
        others = [place for place in alive if place not in control]
        finished = [place for place in others if scores[place] != WORST]
        ranked = sorted(finished, key=lambda place: (-scores[place], place))
        return sorted([*control, *ranked[: kept(len(others), self._study.search)]])


def _random(axis: Axis, generator: random.Random) -> Level:
    if axis.levels:
        return generator.choice(axis.levels)
    if axis.size is not None:
        return axis.low + generator.randrange(axis.size) * (axis.step or 1.0)
    share = generator.random()
    return axis.low * (axis.high / axis.low) ** share if axis.log else axis.low + share * (axis.high - axis.low)


def distributions(axes: Sequence[Axis]) -> dict[str, optuna.distributions.BaseDistribution]:
    """The axes as Optuna knows them."""
    return {axis.name: _distribution(axis) for axis in axes}


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.levels:
        return CategoricalDistribution(axis.levels)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)


def _optuna_study(study: Study, seed: int, size: int) -> optuna.Study:
    import optuna

    sampler: optuna.samplers.BaseSampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if study.search.sampler == "tpe":
            startup = min(MOST_STARTUP, max(2, size // 3))
            sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed, constant_liar=True)
        elif study.search.sampler == "nsga2":
            population = min(MOST_POPULATION, max(2, size // 4))
            sampler = optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed)
    return study_of(search_directions(study), sampler)


def search_directions(study: Study) -> list[str]:
    """What Optuna is asked for: a high score, with nsga2 also a low cost."""
    return ["maximize", "minimize"][: 1 + (study.search.sampler == "nsga2")]


def search_importance(plan: CampaignPlan, records: Mapping[str, Record]) -> dict[str, float]:
    """Optuna's importance of each factor for the score: its share of the variance that a random forest explains.

    Candidates with equal epochs are compared: those of the largest bracket, at its first rung. A factor that does not
    count at a candidate's point is taken at the control's value. Empty where fewer than three scores differ.

    Source:
        Hutter, Hoos and Leyton-Brown, An efficient approach for assessing hyperparameter importance, ICML 2014.
    """
    import optuna

    axes = space_of(plan.study, plan.control.setup)
    largest = max(enumerate(brackets(plan.study)), key=lambda pair: pair[1].size)[0]
    space, told = distributions(axes), study_of(["maximize"], None)
    scores: set[float] = set()
    for candidate in plan.search:
        first = candidate.rungs[0]
        if candidate.bracket != largest or not is_scored(first, records):
            continue
        value = score(first, records, plan.study.decision)
        if value != WORST:
            point = {axis.name: candidate.values.get(axis.name, axis.own) for axis in axes}
            told.add_trial(optuna.trial.create_trial(value=value, params=point, distributions=space))
            scores.add(value)
    if len(scores) < LEAST_SCORES:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(told, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def search_trial(plan: CampaignPlan, record: Record, candidate: Candidate, rung_at: Rung) -> optuna.trial.FrozenTrial:
    """A trial of a search as the view keeps it: its point, its epochs and its score."""
    import optuna
    from optuna.distributions import IntDistribution

    axes = space_of(plan.study, plan.control.setup)
    point = {axis.name: candidate.values.get(axis.name, axis.own) for axis in axes}
    space = distributions(axes)
    if plan.study.search.pruner != "none":
        point["epochs"], space["epochs"] = rung_at.epochs, IntDistribution(1, full_epochs(plan.study))
    value = record.metrics.get(tuned_by(plan.study.decision.metric)) if record.status == "finished" else None
    cost = cost_of(plan.study, plan.data, candidate, {record.key: record})
    states = optuna.trial.TrialState
    wanted = [value, cost][: len(search_directions(plan.study))]  # a loss as such: the view's study minimizes it
    values = [one for one in wanted if one is not None]
    complete = len(values) == len(wanted)
    return optuna.trial.create_trial(
        state=states.COMPLETE if complete else states.FAIL if record.status == "failed" else states.PRUNED,
        values=values if complete else None,
        params=point,
        distributions=space,
    )
