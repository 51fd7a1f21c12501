"""The search for an arm's best setting, by one of Optuna's samplers.

Nothing of it is kept: the sampler is seeded and is told the scores in the order of the settings, so that the records
alone give the same settings again, in another process as in this one. Every arm starts from the same seed: quasi-random
settings are the same for all arms.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablate.design.plan import Arm, CampaignPlan, setting
from ablate.design.record import Record
from ablate.design.study import Range, Tuning
from ablate.design.tuning import WHOLE, ArmTuning, Setting, own_values, tuning_seeds
from ablate.verdicts.search import WORST, best, is_scored, score

if TYPE_CHECKING:
    import optuna

TOLD_WORST = -1e30  # what the sampler hears of a setting that failed; it goes by the order of the scores
MOST_STARTUP = 10  # random settings before tpe goes by the scores, Optuna's own number; a third of a smaller budget


class Search:
    """The settings of one arm, as far as the scores lead.

    Args:
        plan: the campaign's.
        arm: of it.
    """

    def __init__(self, plan: CampaignPlan, arm: Arm) -> None:
        self._plan = plan
        self._arm = arm
        self._study = plan.study
        self._budget = plan.study.tuning.trials or 0
        self._settings: list[Setting] = []
        self._scores: list[float] = []
        self._optuna = _optuna_study(plan.study.tuning, tuning_seeds(plan.study)[0])
        self._space = {name: _distribution(name, span) for name, span in plan.study.tuning.space.items()}
        self._optuna.enqueue_trial(own_values(plan.study, arm))

    def advance(self, records: Mapping[str, Record]) -> ArmTuning:
        """The settings that are to be tried, given these records; they grow as records come."""
        while True:
            told = len(self._scores)
            if told < len(self._settings):
                if not is_scored(self._settings[told], records):
                    break
                self._tell(score(self._settings[told], records, self._study.decision.metric))
            elif told < self._budget:
                self._ask()
            else:
                break
        return ArmTuning(arm=self._arm.name, settings=tuple(self._settings))

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
            self._settings.append(setting(self._study, self._arm, self._plan.data, values))
            if whole:
                self._optuna.tell(trial, 0.0)  # the sequence goes on from what was told, and by its number alone

    def _tell(self, value: float) -> None:
        self._scores.append(value)
        if self._study.tuning.sampler == "tpe":
            self._optuna.tell(len(self._scores) - 1, TOLD_WORST if value == WORST else value)


def _distribution(name: str, span: Range) -> optuna.distributions.BaseDistribution:
    import optuna

    if name in WHOLE:
        return optuna.distributions.IntDistribution(int(span.low), int(span.high))
    return optuna.distributions.FloatDistribution(span.low, span.high, log=span.log)


def _optuna_study(tuning: Tuning, seed: int) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler: optuna.samplers.BaseSampler
    if tuning.sampler == "tpe":
        startup = min(MOST_STARTUP, max(2, (tuning.trials or 0) // 3))
        sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed)
    return optuna.create_study(direction="maximize", sampler=sampler)
