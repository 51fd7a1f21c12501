"""One alpha over many questions: what all studies of a runs folder asked, found, and would find by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.design.plan import CampaignPlan
from ablate.verdicts.verdict import Judgement, Verdict


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The count over several studies.

    Attributes:
        studies, contrasts: that were asked.
        sealed: contrasts of judgements whose plan was sealed before the first trial.
        different: contrasts that were told from the control, those smaller than their margin included.
        by_chance: if no arm of any study differed, the most studies in which a difference is expected all the same: the
            sum of their alphas.
        survive: (study, arm) of the contrasts that stay different after Holm over the studies.
    """

    studies: int
    contrasts: int
    sealed: int
    different: int
    by_chance: float
    survive: tuple[tuple[str, str], ...]

    @property
    def sentence(self) -> str:
        """For a list of studies."""
        asked = f"{_count(self.studies, 'study', 'studies')} asked {_count(self.contrasts, 'contrast', 'contrasts')}"
        studies = "study" if self.by_chance == 1 else "studies"
        return (
            f"{asked}, {self.sealed} of them sealed beforehand; {self.different} came out different. If no arm "
            f"differed, up to {self.by_chance:.2g} {studies} would show a difference by "
            f"chance. Corrected over all studies (Holm), {len(self.survive)} stay different."
        )


def tally(judged: Sequence[tuple[CampaignPlan, Judgement]]) -> Tally:
    """Counts over judgements, one a study, and corrects over them.

    Every study holds its family-wise error at its own alpha. Over several studies the p-values of a study, which are
    adjusted within it, are multiplied by Holm's factor of the study: the number of studies whose smallest p is not
    below its own. The probability that any arm of any study is wrongly among ``survive`` is then at most alpha.

    Args:
        judged: plan and judgement of each study; of two judgements of one study give the sealed one.
    """
    ranked = sorted(judged, key=lambda pair: _smallest(pair[1]))
    survive: list[tuple[str, str]] = []
    for rank, (plan, judgement) in enumerate(ranked):
        factor = len(ranked) - rank
        if _smallest(judgement) * factor > judgement.alpha:
            break
        survive += [
            (plan.study.name, one.arm)
            for one in judgement.verdicts
            if _is_different(one, judgement) and _p(one) * factor <= judgement.alpha
        ]
    every = [judgement for _, judgement in judged]
    return Tally(
        studies=len(every),
        contrasts=sum(one.num_contrasts for one in every),
        sealed=sum(one.num_contrasts for one in every if one.registration and one.registration.is_confirmatory),
        different=sum(_is_different(verdict, one) for one in every for verdict in one.verdicts),
        by_chance=sum(one.alpha for one in every if one.num_contrasts),
        survive=tuple(survive),
    )


def _smallest(judgement: Judgement) -> float:
    return min((_p(one) for one in judgement.verdicts if _is_different(one, judgement)), default=1.0)


def _p(verdict: Verdict) -> float:
    contrast = verdict.contrast
    return 1.0 if contrast is None or contrast.adjusted_p is None else contrast.adjusted_p


def _is_different(verdict: Verdict, judgement: Judgement) -> bool:
    """Better, worse, or within the margin and yet told from zero."""
    contrast = verdict.contrast
    if verdict.outcome in ("not judged", "undecided") or contrast is None or contrast.low is None:
        return False
    outside = contrast.low > 0 or (contrast.high or 0.0) < 0
    return outside and _p(verdict) <= judgement.alpha


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
