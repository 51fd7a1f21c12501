"""Everything that Optuna decides: one of its studies proposes every trial that runs, and gets its result.

The studies are in memory. They are told what records say, in the order of the plan, so that the records alone lead to
the same trials again, in another process as in this one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ablate.design.levels import moved_field
from ablate.design.noun import Range
from ablate.design.plan import Arm, CampaignPlan, Trial, setting
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.design.tuning import NOISE_FLOOR_SEEDS, ArmTuning, Setting, is_whole, own_values, tuning_seeds
from ablate.design.tuning_fields import Tuning
from ablate.verdicts.search import WORST, best, curve_metric, is_scored, score

if TYPE_CHECKING:
    import optuna

TOLD_WORST = -1e30  # what the sampler hears of a setting that failed; it goes by the order of the scores
MOST_STARTUP = 10  # random settings before tpe goes by the scores, Optuna's own number; a third of a smaller budget


Params = dict[str, str | int | float]
Space = dict[str, "optuna.distributions.BaseDistribution"]


class DesignStudy:
    """Optuna's study of a campaign's design: the trials that verdicts rest on, as points of its parameters.

    Args:
        plan: of the campaign.
        records: what is there already, which the study is told first.
    """

    def __init__(self, plan: CampaignPlan, records: Mapping[str, Record]) -> None:
        self._plan = plan
        self._space = space(plan)
        self._study = study_of([direction(plan)], None)
        self._running: dict[str, optuna.Trial] = {}
        for trial in plan.trials:
            if (record := records.get(trial.key)) is not None and record.status != "failed":
                self._study.add_trial(frozen_trial(plan, trial, record, self._space))

    def ask(self, trial: Trial) -> None:
        """Enqueues the trial's point and asks for it."""
        point = parameters(self._plan, trial)
        self._study.enqueue_trial(dict(point), user_attrs={"key": trial.key})
        self._running[trial.key] = self._study.ask({name: self._space[name] for name in point})

    def tell(self, trial: Trial, record: Record) -> None:
        """Tells what came of a trial."""
        import optuna

        asked = self._running.pop(trial.key, None)
        if asked is None:
            return
        value = value_of(self._plan, record)
        states = optuna.trial.TrialState
        state = states.FAIL if record.status == "failed" else states.PRUNED if value is None else states.COMPLETE
        self._study.tell(asked, value if state == states.COMPLETE else None, state=state)


def direction(plan: CampaignPlan) -> str:
    """Optuna's word for whether a larger value of the study's metric is better."""
    return "maximize" if higher_is_better(plan) else "minimize"


def higher_is_better(plan: CampaignPlan) -> bool:
    """Whether a larger value of the study's metric is better."""
    return plan.study.decision.wants_high


def value_of(plan: CampaignPlan, record: Record) -> float | None:
    """The number that decides, or None where the trial has none."""
    value = record.metrics.get(plan.study.decision.metric)
    return value if value is not None and math.isfinite(value) else None


def parameters(plan: CampaignPlan, trial: Trial, values: Mapping[str, float] | None = None) -> Params:
    """The parameters in which a campaign's trials differ: arm or factor levels, seed, and what is tuned.

    The A/A arm's seeds are shown as the seeds that they are paired with. A trial at another level than the study's own
    has that level as one more parameter.
    """
    at = plan.at(trial)
    arm = (at.plan if at else plan).arm(trial.arm)
    point: Params = {name: str(level) for name, level in arm.factors.items()} if arm.factors else {"arm": arm.name}
    moved = {moved_field(plan.study): str(at.level)} if at else {}
    return {**point, **moved, **(values or {}), "seed": trial.seed % NOISE_FLOOR_SEEDS}


def space(plan: CampaignPlan) -> Space:
    """The distribution of every parameter of the design."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    every = [arm for one in (plan, *(at.plan for at in plan.levels)) for arm in one.arms]
    names = list(dict.fromkeys(arm.name for arm in every if not arm.factors))
    levels: dict[str, dict[str, None]] = {}
    if plan.levels:
        levels[moved_field(plan.study)] = {str(at.level): None for at in plan.levels}
    for arm in every:
        for name, level in arm.factors.items():
            levels.setdefault(name, {})[str(level)] = None
    seeds = [trial.seed % NOISE_FLOOR_SEEDS for trial in plan.trials]
    return {
        **({"arm": CategoricalDistribution(names)} if names else {}),
        **{name: CategoricalDistribution(list(found)) for name, found in levels.items()},
        "seed": IntDistribution(min(seeds), max(seeds)),
    }


def frozen_trial(
    plan: CampaignPlan,
    trial: Trial,
    record: Record,
    distributions: Space,
    costs: Mapping[str, Any] | None = None,
) -> optuna.trial.FrozenTrial:
    """A finished trial as Optuna keeps it: parameters, value, learning curve, key and costs."""
    import optuna

    point = parameters(plan, trial)
    value = value_of(plan, record)
    states = optuna.trial.TrialState
    frozen = optuna.trial.create_trial(
        state=states.FAIL if record.status == "failed" else states.PRUNED if value is None else states.COMPLETE,
        value=value if record.status == "finished" else None,
        params=dict(point),
        distributions={name: distributions[name] for name in point},
        user_attrs=user_attributes(trial, record, costs),
        intermediate_values=curve_of(plan, record),
    )
    return dated(frozen, record)


def dated(frozen: optuna.trial.FrozenTrial, record: Record) -> optuna.trial.FrozenTrial:
    """The trial with the times at which it was trained."""
    began = datetime.fromtimestamp(record.measured.started_at)
    frozen.datetime_start, frozen.datetime_complete = began, began + timedelta(seconds=record.measured.wall_s)
    return frozen


def user_attributes(trial: Trial, record: Record, costs: Mapping[str, Any] | None) -> dict[str, Any]:
    """What Optuna keeps of a trial besides its parameters and value."""
    return {
        "key": record.key,
        "arm": trial.arm,
        "seed": trial.seed,
        "status": record.status,
        "started_at": record.measured.started_at,
        "train_s": record.measured.train_s,
        **{name: number for name, number in (costs or {}).items() if number is not None},
    }


def curve_of(plan: CampaignPlan, record: Record) -> dict[int, float]:
    """The curve's metric by epoch, where it is a number."""
    name = curve_metric(plan.study)
    found = {point.epoch: point.values[name] for point in record.curve if name in point.values}
    return {epoch: value for epoch, value in found.items() if math.isfinite(value)}


def importance(plan: CampaignPlan, records: Mapping[str, Record]) -> dict[str, float]:
    """Optuna's importance of each factor: its share of the variance that a random forest explains (fANOVA).

    The seed is one of the parameters, so that what it explains is not given to a factor. Empty where the study crosses
    no factors, or fewer than two trials have a value.

    Source:
        Hutter, Hoos and Leyton-Brown, An efficient approach for assessing hyperparameter importance, ICML 2014.
    """
    arms = {arm.name for arm in plan.arms if arm.factors}
    study, distributions = study_of([direction(plan)], None), space(plan)
    told = 0
    for trial in plan.trials:
        record = records.get(trial.key)
        if trial.arm in arms and record is not None and value_of(plan, record) is not None:
            study.add_trial(frozen_trial(plan, trial, record, distributions))
            told += 1
    if told < 2:
        return {}
    import optuna

    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


class Search:
    """The settings of one arm, as far as the scores lead. Quasi-random settings are the same for all arms.

    Args:
        plan: the campaign's.
        arm: of it.
        block: which of the arm's tunings.
    """

    def __init__(self, plan: CampaignPlan, arm: Arm, block: int = 0) -> None:
        self._plan = plan
        self._arm = arm
        self._block = block
        self._study = plan.study
        self._budget = plan.study.tuning.trials or 0
        self._settings: list[Setting] = []
        self._scores: list[float] = []
        self._optuna = _optuna_study(plan.study.tuning, tuning_seeds(plan.study, block=block)[0])
        self._space = {name: _distribution(plan.study, name, span) for name, span in plan.study.tuning.space.items()}
        self._optuna.enqueue_trial(own_values(plan.study, arm))

    def advance(self, records: Mapping[str, Record]) -> ArmTuning:
        """The settings that are to be tried, given these records; they grow as records come."""
        while True:
            told = len(self._scores)
            if told < len(self._settings):
                if not is_scored(self._settings[told], records):
                    break
                self._tell(score(self._settings[told], records, self._study.decision))
            elif told < self._budget:
                self._ask()
            else:
                break
        return ArmTuning(arm=self._arm.name, settings=tuple(self._settings), block=self._block)

    @property
    def done(self) -> bool:
        """Whether every setting of the budget has its score."""
        return len(self._scores) == self._budget

    @property
    def to_come(self) -> int:
        """How many settings will be asked for yet."""
        return self._budget - len(self._settings)

    @property
    def best(self) -> tuple[Setting, float]:
        """The best setting when the search is done, and its score."""
        place = best(self._scores)
        return self._settings[place], self._scores[place]

    def _ask(self) -> None:
        """One setting more; all of them where no score leads the way."""
        whole = self._study.tuning.sampler == "quasi_random"
        for number in range(len(self._settings), self._budget if whole else len(self._settings) + 1):
            trial = self._optuna.ask(self._space)
            values = own_values(self._study, self._arm) if number == 0 else dict(trial.params)
            self._settings.append(setting(self._study, self._arm, self._plan.data, values, self._block))
            if whole:
                self._optuna.tell(trial, 0.0)  # the sequence follows from what was told, by its number alone

    def _tell(self, value: float) -> None:
        self._scores.append(value)
        if self._study.tuning.sampler == "tpe":
            self._optuna.tell(len(self._scores) - 1, TOLD_WORST if value == WORST else value)


def _distribution(study: Study, name: str, span: Range) -> optuna.distributions.BaseDistribution:
    import optuna

    if is_whole(study, name):
        return optuna.distributions.IntDistribution(int(span.low), int(span.high))
    return optuna.distributions.FloatDistribution(span.low, span.high, log=span.log)


def _optuna_study(tuning: Tuning, seed: int) -> optuna.Study:
    import optuna

    sampler: optuna.samplers.BaseSampler
    if tuning.sampler == "tpe":
        startup = min(MOST_STARTUP, max(2, (tuning.trials or 0) // 3))
        sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed)
    return study_of(["maximize"], sampler)


def study_of(directions: Sequence[str], sampler: optuna.samplers.BaseSampler | None) -> optuna.Study:
    """An Optuna study in memory; without a sampler it is only told."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        directions=[optuna.study.StudyDirection[one.upper()] for one in directions],
        sampler=sampler or optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
    )
