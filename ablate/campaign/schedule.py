"""Which trials a campaign needs: a function of its plan and the records so far.

It grows as records come. The same records give the same schedule, so that a campaign that was cut off resumes as if it
had not been.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from ablate.design.found import with_search, with_settings
from ablate.design.plan import CONTROL, NOISE_FLOOR, CampaignPlan, Trial
from ablate.design.record import Record
from ablate.design.search import Candidate
from ablate.design.study import Study
from ablate.design.tuning import ArmTuning, Values, tuned_by

if TYPE_CHECKING:
    from ablate.campaign.optuna_driver import Search
    from ablate.campaign.optuna_search import Explorer

MOST_NAMED = 3  # arms in one sentence


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What a campaign needs so far.

    Attributes:
        plan: the campaign's, with what was tried in tuning or search so far, and what came of it when that is over.
        trials: those that it needs, with a record or without, in the order to run them.
        to_come: how many more are sure to follow these.
        news: a sentence for each time that the schedule grew.
    """

    plan: CampaignPlan
    trials: tuple[Trial, ...]
    to_come: int = 0
    news: tuple[str, ...] = ()


class Scheduler:
    """Schedules one campaign; ask again as records come.

    Args:
        plan: as made from the study.
    """

    def __init__(self, plan: CampaignPlan) -> None:
        self._plan = plan
        self._searches: dict[tuple[str, int], Search] = {}
        self._news: list[str] = []
        self._confirming: Confirming | None = None
        self._explorer: Explorer | None = None
        if plan.study.searched:
            from ablate.campaign.optuna_search import Explorer

            self._explorer = Explorer(plan)
        if plan.study.tuned:
            from ablate.campaign.optuna_driver import Search

            blocks = range(plan.study.tuning.blocks)
            self._searches = {(arm.name, block): Search(plan, arm, block) for arm in plan.arms for block in blocks}

    def schedule(self, records: Mapping[str, Record]) -> Schedule:
        """What is needed, given these records: tuning or search first, then the seeds that confirm."""
        return self._searched(self._explorer, records) if self._explorer else self._tuned_first(records)

    def _searched(self, explorer: Explorer, records: Mapping[str, Record]) -> Schedule:
        candidates = explorer.advance(records)
        tried = _rung_by_rung(candidates)
        plan = replace(self._plan, search=candidates)
        if not explorer.done:
            study = plan.study
            confirming = (len(plan.arms) + plan.to_find) * study.plan.seeds
            return Schedule(plan=plan, trials=tried, to_come=explorer.to_come + confirming)
        if self._confirming is None:
            best = explorer.best(records)
            named = ", ".join(f"candidate {one.number}" for one in best) or "none: no candidate finished"
            self._news += [*explorer.news, f"the search is over; to be confirmed: {named}"]
            self._confirming = Confirming(with_search(self._plan, best, candidates))
        trials = (*tried, *self._confirming.trials(records))
        return Schedule(plan=self._confirming.plan, trials=trials, news=(*self._news, *self._confirming.news))

    def _tuned_first(self, records: Mapping[str, Record]) -> Schedule:
        tuning = tuple(search.advance(records) for search in self._searches.values())
        tried = [
            trial
            for settings in zip_longest(*(_by_setting(arm) for arm in tuning), fillvalue=())
            for trial in chain(*settings)
        ]
        open_settings = sum(search.to_come for search in self._searches.values())
        if not all(search.done for search in self._searches.values()):
            study = self._plan.study
            to_come = open_settings * study.tuning.seeds + len(self._plan.arms) * study.plan.seeds
            to_come += len(self._plan.level_trials)
            return Schedule(plan=replace(self._plan, tuning=tuning), trials=tuple(tried), to_come=to_come)
        if self._confirming is None:
            self._confirming = Confirming(self._tuned(tuning))
        plan = self._confirming.plan
        trials = (*tried, *self._confirming.trials(records), *plan.level_trials)
        return Schedule(plan=plan, trials=trials, news=(*self._news, *self._confirming.news))

    def _tuned(self, tuning: tuple[ArmTuning, ...]) -> CampaignPlan:
        """The plan with each arm's best recipe, of every block."""
        if not self._searches:
            return self._plan
        study = self._plan.study
        best: dict[str, list[Values]] = {}
        for (name, block), search in self._searches.items():
            found, score = search.best
            which = f"{name}, block {block + 1}," if study.tuning.blocks > 1 else name
            self._news.append(f"{which} is tuned: {described(found.values)} ({told_score(study, score)})")
            best.setdefault(name, []).append(found.values)
        return with_settings(self._plan, best, tuning)


class Confirming:
    """The trials that the verdicts rest on: all of the plan, or, under ``until = "settled"``, block after block.

    A block is judged when every one of its trials has a record, so that it does not matter which ended first.
    """

    def __init__(self, plan: CampaignPlan) -> None:
        self.news: list[str] = []
        self.plan = plan
        self._settles = plan.study.plan.until == "settled"
        self._wanted = plan.trials
        if self._settles:
            # no look comes before these, so they can be trained before scipy is loaded
            least = plan.study.plan.seeds
            first = {trial.key for arm in plan.arms for trial in plan.arm_trials(arm.name)[:least]}
            self._wanted = tuple(trial for trial in plan.trials if trial.key in first)

    def trials(self, records: Mapping[str, Record]) -> tuple[Trial, ...]:
        """Those needed, given these records."""
        while self._settles and all(trial.key in records for trial in self._wanted):
            from ablate.verdicts.judge import wanted

            before = {trial.key for trial in self._wanted}
            after = before | {trial.key for trial in wanted(self.plan, {key: records[key] for key in before})}
            if after == before:
                break
            grown = tuple(trial for trial in self.plan.trials if trial.key in after)
            self.news.append(_growth(self._wanted, grown))
            self._wanted = grown
        return self._wanted


def unfold(plan: CampaignPlan, read: Callable[[list[str]], Mapping[str, Record]]) -> tuple[Schedule, dict[str, Record]]:
    """The schedule as far as the records go that ``read`` finds for a list of keys, and these records."""
    scheduler, asked = Scheduler(plan), set[str]()
    records: dict[str, Record] = {}
    while True:
        schedule = scheduler.schedule(records)
        new = list(dict.fromkeys(trial.key for trial in schedule.trials if trial.key not in asked))
        if not new:
            return schedule, records
        asked.update(new)
        records |= read(new)


def _rung_by_rung(candidates: Iterable[Candidate]) -> tuple[Trial, ...]:
    """The trials of a search: every candidate's first rung, then every second."""
    rungs = zip_longest(*(one.rungs for one in candidates))
    return tuple(trial for rung in rungs for one in rung if one is not None for trial in one.trials)


def _by_setting(tuning: ArmTuning) -> list[tuple[Trial, ...]]:
    return [setting.trials for setting in tuning.settings]


def described(values: Values) -> str:
    """``lr 0.00714, weight_decay 0.001``."""
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())


def told_score(study: Study, score: float) -> str:
    """``validation accuracy 97.10 %``."""
    if not math.isfinite(score):
        return "no setting finished; the recipe as written"
    name = tuned_by(study.decision.metric).replace("val_", "validation ").replace("_", " ")
    if study.decision.metric.endswith("accuracy"):
        return f"{name} {100 * score:.2f} %"
    value = score if study.decision.wants_high else -score
    return f"{name} {value:.4f} {study.decision.unit}".rstrip()


def _growth(before: Iterable[Trial], after: Iterable[Trial]) -> str:
    """``relu_bottleneck is not settled after 8 seeds: 4 more``."""
    old, new = (Counter(trial.arm for trial in trials) for trials in (before, after))
    grown = [arm for arm in new if new[arm] > old[arm]]
    arms = [arm for arm in grown if arm not in (CONTROL, NOISE_FLOOR)] or grown
    seeds, more = old[arms[0]], new[arms[0]] - old[arms[0]]
    if len(arms) == 1:
        return f"{arms[0]} is not settled after {seeds} seeds: {more} more"
    named = ", ".join(arms) if len(arms) <= MOST_NAMED else f"{len(arms)} arms"
    return f"{named} are not settled after {seeds} seeds: {more} more each"
