"""What a campaign needs, told by its plan and the records so far.

It grows as records come, and the same records give the same agenda, so that a campaign which was cut off goes on as if
it had not been.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ablate.design.plan import CONTROL, NOISE_FLOOR, CampaignPlan, Trial
from ablate.design.record import Record

MOST_NAMED = 3  # arms in one sentence


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a campaign needs so far.

    Attributes:
        plan: the campaign's.
        trials: those that it needs, with a record or without, in the order to run them.
        to_come: how many more are sure to follow these.
        news: a sentence for each time that the agenda grew.
    """

    plan: CampaignPlan
    trials: tuple[Trial, ...]
    to_come: int = 0
    news: tuple[str, ...] = ()


class Agenda:
    """The agenda of one campaign; ask again as records come.

    Args:
        plan: as made from the study.
    """

    def __init__(self, plan: CampaignPlan) -> None:
        self._plan = plan
        self._confirming = Confirming(plan)

    def needs(self, records: Mapping[str, Record]) -> Needs:
        """What is needed, given these records."""
        return Needs(plan=self._plan, trials=self._confirming.trials(records), news=tuple(self._confirming.news))


class Confirming:
    """The trials that the verdicts rest on: all of the plan, or, under ``until = "settled"``, block after block.

    A block is judged when every one of its trials has a record, so that it does not matter which ended first.
    """

    def __init__(self, plan: CampaignPlan) -> None:
        self.news: list[str] = []
        self._plan = plan
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
            after = before | {trial.key for trial in wanted(self._plan, {key: records[key] for key in before})}
            if after == before:
                break
            grown = tuple(trial for trial in self._plan.trials if trial.key in after)
            self.news.append(_growth(self._wanted, grown))
            self._wanted = grown
        return self._wanted


def unfold(plan: CampaignPlan, read: Callable[[list[str]], Mapping[str, Record]]) -> tuple[Needs, dict[str, Record]]:
    """The agenda as far as the records go that ``read`` finds for a list of keys, and these records."""
    agenda, asked = Agenda(plan), set[str]()
    records: dict[str, Record] = {}
    while True:
        needs = agenda.needs(records)
        new = list(dict.fromkeys(trial.key for trial in needs.trials if trial.key not in asked))
        if not new:
            return needs, records
        asked.update(new)
        records |= read(new)


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
