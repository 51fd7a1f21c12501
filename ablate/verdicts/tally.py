"""One alpha over many questions: what all campaigns of a runs folder asked, found, and would find by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.design.plan import CampaignPlan
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The count over several campaigns.

    Attributes:
        campaigns, contrasts: that were asked.
        sealed: contrasts of judgements whose plan was sealed before the first trial.
        different: contrasts that were told from the control, those smaller than their margin included.
        not_judged: contrasts without a verdict, such as those whose seeds are not all trained.
        by_chance: if no arm differed anywhere, the most campaigns that are expected to find a difference all the same:
            the sum of their alphas.
        survive: (study, arm) of the contrasts that stay different after Holm over the campaigns.
    """

    campaigns: int
    contrasts: int
    sealed: int
    different: int
    not_judged: int
    by_chance: float
    survive: tuple[tuple[str, str], ...]

    @property
    def sentence(self) -> str:
        """For a list of studies."""
        asked = f"{count(self.campaigns, 'campaign')} asked {count(self.contrasts, 'contrast')}"
        left = f" and {self.not_judged} {'is' if self.not_judged == 1 else 'are'} not judged" if self.not_judged else ""
        return (
            f"{asked}, {self.sealed} of them sealed beforehand; {self.different} came out different{left}. If no "
            f"arm differed, up to {count(self.by_chance, 'campaign')} would show a difference by chance. Corrected "
            f"over all campaigns (Holm), {len(self.survive)} {'stays' if len(self.survive) == 1 else 'stay'} different."
        )


def tally(judged: Sequence[tuple[CampaignPlan, Judgement]]) -> Tally:
    """Counts over judgements, one a campaign, and corrects over them.

    Every campaign holds its family-wise error at its own alpha. Over several, the p-values of a campaign, which are
    adjusted within it, are multiplied by Holm's factor of the campaign: the number of campaigns whose smallest p is not
    below its own. The probability that any arm of any campaign is wrongly among ``survive`` is then at most alpha.

    Args:
        judged: plan and judgement of each campaign. A study that was asked again, with other seeds or another rule, is
            another campaign: whoever shows only the last one has looked more than once.
    """
    ranked = sorted(judged, key=lambda pair: _smallest(pair[1]))
    survive: list[tuple[str, str]] = []
    for rank, (plan, judgement) in enumerate(ranked):
        factor = len(ranked) - rank
        if _smallest(judgement) * factor > judgement.alpha:
            break
        survive += [
            (plan.study.name, one.arm)
            for one in judgement.every_verdict
            if _is_different(one, judgement) and _p(one) * factor <= judgement.alpha
        ]
    every = [judgement for _, judgement in judged]
    return Tally(
        campaigns=len(every),
        contrasts=sum(one.num_contrasts for one in every),
        sealed=sum(one.num_contrasts for one in every if one.registration and one.registration.is_confirmatory),
        different=sum(_is_different(verdict, one) for one in every for verdict in one.every_verdict),
        not_judged=sum(verdict.outcome == "not judged" for one in every for verdict in one.every_verdict),
        by_chance=sum(one.alpha for one in every if one.num_contrasts),
        survive=tuple(survive),
    )


def _smallest(judgement: Judgement) -> float:
    return min((_p(one) for one in judgement.every_verdict if _is_different(one, judgement)), default=1.0)


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


def count(number: float, noun: str) -> str:
    """``"1 contrast"``, ``"0.05 contrasts"``."""
    told = f"{number:.3g}"
    return f"{told} {noun}{'s' * (told != '1')}"
