"""Numbers and findings as sentences for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablate.verdicts.explored import Luck
from ablate.verdicts.tuning_luck import Sensitivity
from ablate.verdicts.verdict import Contrast, EffectChecks, FailureRate, Outcome, Verdict

MOST_NAMES = 3  # of arms in a sentence


def amount(value: float, metric: str, unit: str = "", *, signed: bool = False) -> str:
    """A difference in the metric's unit: accuracies in percentage points, others as they are with ``unit`` behind."""
    sign = "+" if signed else ""
    if metric.endswith("accuracy"):
        return f"{100 * value:{sign}.2f} points"
    return f"{value:{sign}.3g} {unit}".rstrip()


def _size(contrast: Contrast, value: float, *, signed: bool = False) -> str:
    return amount(value, contrast.metric, contrast.unit, signed=signed)


def share(p: float) -> str:
    """A p-value: "0.031", or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def interval(contrast: Contrast, low: float | None, high: float | None, confidence: float) -> str:
    """In words: 95 % interval +1.40 points to +2.20 points."""
    if low is None or high is None:
        return "no interval from one seed"
    ends = (_size(contrast, value, signed=True) for value in (low, high))
    return f"{100 * confidence:.4g} % interval {' to '.join(ends)}"


def why_decided(outcome: Outcome, contrast: Contrast, *, margin: float, alpha: float, also_different: bool) -> str:
    """Why an arm is better, worse, equivalent or no worse; the latter two with the interval of their tests."""
    no_failure = 1 - 0.05 ** (1 / contrast.n)  # Clopper & Pearson's 95 % bound for no failure in n
    difference = _size(contrast, contrast.mean_difference, signed=True)
    seen = f"{difference} over {contrast.n} paired seeds"
    if outcome in ("equivalent", "no worse"):
        ends = interval(contrast, contrast.tost_low, contrast.tost_high, 1 - 2 * alpha)
        tests = "equivalence tests" if outcome == "equivalent" else "one-sided test"
        size = _size(contrast, margin)
        within = f"within the margin of {size}" if outcome == "equivalent" else f"not worse by {size} or more"
        shown = f"Holm p of the {tests} {share(contrast.equivalence_holm_p or 0.0)}"
        also = f"; a difference smaller than the margin was found, adjusted p {share(contrast.adjusted_p or 0.0)}"
        rare = f"; no seed of {contrast.n} collapsed, which does not exclude a rate of {100 * no_failure:.0f} %"
        told = f"{also if also_different else ''}{'' if contrast.outliers else rare}"
        return f"{within}: {seen}, {ends}; {shown}{told}."
    ends = interval(contrast, contrast.low, contrast.high, 1 - alpha)
    tests = f"exact p {share(contrast.p)}, adjusted p {share(contrast.adjusted_p or 0.0)}"
    return f"{seen}, {ends}; {tests}{exaggerated(contrast, margin)}."


def exaggerated(contrast: Contrast, margin: float) -> str:
    """How much larger than it is a difference of the margin would seem; empty where it is found with 80 % power."""
    if contrast.exaggeration is None or (contrast.margin_power or 0.0) >= 0.8:
        return ""
    return (
        f"; a true difference of {_size(contrast, margin)} would be found with "
        f"{100 * (contrast.margin_power or 0.0):.0f} % power and then seem {contrast.exaggeration:.1f} times as large"
    )


def why_undecided(contrast: Contrast, *, margin: float, alpha: float, reach: int | None) -> str:
    """Why nothing was decided: what these seeds could have found, and how many would settle the question.

    ``reach`` is the fewest seeds at which the exact test can reach its level; None where no number of them does.
    """
    difference = _size(contrast, contrast.mean_difference, signed=True)
    ends = interval(contrast, contrast.low, contrast.high, 1 - alpha)
    seen = f"{difference} over {contrast.n} paired seed{'s' if contrast.n > 1 else ''}, {ends}"
    parts = [f"{seen}; exact p {share(contrast.p)}"]
    if reach is None:
        parts.append("the exact test cannot reach its level with any number of seeds")
    elif reach > contrast.n:
        parts.append(f"with this few seeds the exact test cannot reach its level: {reach} are needed")
    elif contrast.detectable is not None:
        size = _size(contrast, contrast.detectable)
        parts.append(f"the smallest difference that these seeds find with 80 % power is {size}")
        if contrast.seeds_to_settle is None:
            parts.append(f"more than 10,000 seeds would be needed at the margin of {_size(contrast, margin)}")
        elif contrast.seeds_to_settle > contrast.n:
            parts.append(f"about {contrast.seeds_to_settle} seeds would settle it at the margin")
    parts += [told] if (told := more_of_what(contrast)) else []
    return "; ".join(parts) + "."


def lack_of_fit(checks: EffectChecks | None, alpha: float) -> tuple[str, ...]:
    """A sentence where the interactions of three and more factors are more than noise."""
    if checks is None or checks.lack_of_fit_p > alpha:
        return ()
    ratio = f"F({checks.df[0]}, {checks.df[1]}) = {checks.lack_of_fit:.1f}, p {share(checks.lack_of_fit_p)}"
    return (
        f"Interactions of three or more factors are more than noise ({ratio}): the table of effects leaves them out.",
    )


def more_of_what(contrast: Contrast) -> str:
    """Whether more seeds or more test images would make the difference known better; empty where that is not known."""
    if contrast.seed_share is None or contrast.image_share is None or contrast.both_share is None:
        return ""
    seeds, images = ((one + contrast.both_share) / 2 for one in (contrast.seed_share, contrast.image_share))
    return (
        f"twice the seeds would remove {100 * seeds:.0f} % of the variance over new seeds and test examples, twice the "
        f"test examples {100 * images:.0f} %"
    )


def outlying(verdicts: tuple[Verdict, ...]) -> str:
    """Which seeds lie far from the others, or ""."""
    each = [
        f"{one.arm} seed{'s' * (len(one.contrast.outliers) > 1)} {', '.join(map(str, one.contrast.outliers))} "
        f"(median difference {_size(one.contrast, one.contrast.median_difference or 0.0, signed=True)}, "
        f"mean {_size(one.contrast, one.contrast.mean_difference, signed=True)})"
        for one in verdicts
        if one.contrast and one.contrast.outliers
    ]
    if not each:
        return ""
    return (
        f"Seeds whose difference is far from the others: {'; '.join(each)}. Means and intervals of so few seeds do "
        "not describe rare failures; compare the medians and the failure rates."
    )


def asymmetric(verdicts: tuple[Verdict, ...]) -> str:
    """Which equivalences rest on differences that are not symmetric, or ""."""
    arms = [
        one.arm
        for one in verdicts
        if one.outcome in ("equivalent", "no worse") and one.contrast and one.contrast.asymmetric
    ]
    if not arms:
        return ""
    return (
        f"The differences of {', '.join(arms)} are more skewed than 95 % of normal samples: the equivalence tests "
        "assume symmetric ones, and their error rate may be above alpha."
    )


def failures(rates: Mapping[str, FailureRate], alpha: float) -> str:
    """How often the training of each arm failed, where any did, and whether that differs from the control's rate."""
    if not any(rate.failed for rate in rates.values()):
        return ""
    each = ", ".join(
        f"{arm} {rate.failed} of {rate.of} (up to {100 * rate.upper:.0f} % is not excluded{_against(rate, alpha)})"
        for arm, rate in rates.items()
        if rate.failed or rate.adjusted_p is None
    )
    return f"Seeds that diverged or ended far worse than the others: {each}."


def _against(rate: FailureRate, alpha: float) -> str:
    if rate.adjusted_p is None:
        return ""
    told = "different" if rate.adjusted_p <= alpha else "not distinguishable"
    return f"; {told} from the control's rate, Fisher's adjusted p {share(rate.adjusted_p)}"


def tuning_luck(
    found: Sequence[Sensitivity], metric: str, unit: str, *, tuned: bool, blocks: int = 1
) -> tuple[str, ...]:
    """What the intervals of a tuned study do not hold, and how the contrasts move with the settings."""
    if not tuned:
        return ()
    if blocks > 1:
        told = f"Each of the {blocks} seeds confirms its own tuning, with its own tuning seeds and settings"
        return (
            f"{told}: intervals and p-values hold for new tunings with new seeds, the luck of the tuning included.",
        )

    def at(value: float | None) -> str:
        return "not tried" if value is None else amount(value, metric, unit, signed=True)

    each = "; ".join(
        f"{one.arm} {at(one.own)} with each at its own best setting, {at(one.at_control)} at the control's, "
        f"{at(one.at_arm)} at the arm's, {at(one.low)} to {at(one.high)} over all {one.settings} settings"
        for one in found
    )
    shown = f" By the tuning's own trials on validation data: {each}." if each else ""
    once = "The recipes were tuned once: intervals and p-values hold for these recipes with new seeds"
    return (f"{once}, and do not include the luck of the tuning.{shown}",)


def search_luck(found: Sequence[Luck], metric: str, unit: str) -> tuple[str, ...]:
    """How much of the lead that confirmed candidates had in the search was luck; nothing where none was searched."""
    if not found:
        return ()
    each = "; ".join(
        f"{one.arm} led the control by {amount(one.search_lead, metric, unit, signed=True)} in the search and leads by "
        f"{amount(one.confirmed_lead, metric, unit, signed=True)} with fresh seeds"
        for one in found
    )
    return (f"The best of many scores is partly luck. On validation data, {each}.",)


def divergence(rates: Mapping[str, tuple[int, int]]) -> str:
    """The divergence rate of each arm in a sentence."""
    each = ", ".join(f"{arm} {diverged} of {planned}" for arm, (diverged, planned) in rates.items())
    return f"Training diverged (seeds by arm): {each}. An arm is not judged where a seed of it or of the control did."


def pairing(verdicts: tuple[Verdict, ...]) -> str:
    """Which of the arms that are judged gain nothing from pairing by seed, or ""."""
    judged = [one for one in verdicts if one.outcome != "not judged"]
    idle = [one.arm for one in judged if one.contrast and one.contrast.pairing_helps is False]
    if not idle:
        return ""
    more = f" and {len(idle) - MOST_NAMES} more" if len(idle) > MOST_NAMES else ""
    named = f"{', '.join(idle[:MOST_NAMES])}{more}"
    return f"Pairing by seed does not narrow the interval of {named}; the report has Welch's interval as well."
