"""A sealed plan: what a study said, when and at which commit, before its first trial was trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from ablate.design.plan import CampaignPlan, setting
from ablate.design.record import YEAR_10000
from ablate.design.trial import Trial
from ablate.design.tuning import own_values
from ablate.errors import AblateError
from ablate.formats import parse

SEAL_FORMAT = 1
MOST_SEALS = 10**9


@dataclass(frozen=True, kw_only=True)
class SealedPlan:
    """A plan as it was when its first trial started.

    Attributes:
        plan: question, arms, rule, expectations and seeds. Of a study that tunes, as it was before any setting was
            tried.
        sealed_at: seconds since 1970.
        commit: of the code that sealed it; empty if unknown.
        number: counts the study's seals in a runs folder from 1, whatever the clock says; 0 if unknown.
    """

    plan: CampaignPlan
    sealed_at: float
    commit: str
    number: int = 0

    @property
    def order(self) -> tuple[int, float]:
        """Sorts plans of a runs folder, the one that was sealed last at the end."""
        return self.number, self.sealed_at

    def to_json(self) -> str:
        """One line of JSON, the same for the same sealed plan."""
        plain = {
            "format": SEAL_FORMAT,
            "sealed_at": self.sealed_at,
            "commit": self.commit,
            "number": self.number,
            "plan": json.loads(self.plan.to_json()),
        }
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of ``to_json``.

        Raises:
            AblateError: the text is not a sealed plan, or one of another format.
        """
        try:
            plain = parse(text)
            if plain["format"] != SEAL_FORMAT:
                raise AblateError(f"the sealed plan has format {plain['format']}, this version reads {SEAL_FORMAT}")
            plan = CampaignPlan.from_json(json.dumps(plain["plan"]))
            sealed_at = float(plain["sealed_at"])
            if not 0 <= sealed_at < YEAR_10000:
                raise ValueError(f"sealed_at must be seconds since 1970, got {sealed_at}")
            number = plain.get("number", 0)
            if type(number) is not int or not 0 <= number <= MOST_SEALS:
                raise ValueError(f"number must be a count of seals, got {number!r}"[:100])
            return cls(plan=plan, sealed_at=sealed_at, commit=str(plain["commit"]), number=number)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise AblateError(f"not a sealed plan: {error}") from error


def shared_trials(plan: CampaignPlan, other: CampaignPlan) -> frozenset[str]:
    """The trial keys that two plans have in common, those of the tuning included."""
    return frozenset(trial.key for trial in every_trial(plan)) & {trial.key for trial in every_trial(other)}


def every_trial(plan: CampaignPlan) -> tuple[Trial, ...]:
    """Every trial whose result the plan's judgement can depend on.

    Of a study that tunes: the first setting of each arm too, which is tried whatever the scores say. So a plan from
    before the tuning shares trials with the same plan after it.
    """
    study = plan.study
    first = (
        trial
        for arm in (plan.arms if study.tuned else ())
        for block in range(study.tuning.blocks)
        for trial in setting(study, arm, plan.data, own_values(study, arm), block).trials
    )
    return (*plan.trials, *plan.exploring_trials, *first)
