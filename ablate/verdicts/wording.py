"""Numbers and findings as sentences for people."""

from __future__ import annotations

from collections.abc import Mapping

from ablate.verdicts.verdict import Contrast, EffectChecks, Outcome, Verdict


def amount(value: float, metric: str, *, signed: bool = False) -> str:
    """A difference in the metric's unit: accuracies in percentage points, losses as they are."""
    sign = "+" if signed else ""
    if metric.endswith("accuracy"):
        return f"{100 * value:{sign}.2f} points"
    return f"{value:{sign}.3g}"


def share(p: float) -> str:
    """A p-value: "0.031", or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def interval(low: float | None, high: float | None, metric: str, confidence: float) -> str:
    """In words: 95 % interval +1.40 points to +2.20 points."""
    if low is None or high is None:
        return "no interval from one seed"
    ends = (amount(value, metric, signed=True) for value in (low, high))
    return f"{100 * confidence:.4g} % interval {' to '.join(ends)}"


def why_decided(outcome: Outcome, contrast: Contrast, *, margin: float, alpha: float, also_different: bool) -> str:
    """Why an arm is better, worse or equivalent; equivalence with the interval that belongs to its tests."""
    difference = amount(contrast.mean_difference, contrast.metric, signed=True)
    seen = f"{difference} over {contrast.n} paired seeds"
    if outcome == "equivalent":
        ends = interval(contrast.tost_low, contrast.tost_high, contrast.metric, 1 - 2 * alpha)
        within = f"within the margin of {amount(margin, contrast.metric)}"
        shown = f"Holm p of the equivalence tests {share(contrast.equivalence_holm_p or 0.0)}"
        also = f"; a difference smaller than the margin was found, adjusted p {share(contrast.adjusted_p or 0.0)}"
        return f"{within}: {seen}, {ends}; {shown}{also if also_different else ''}."
    ends = interval(contrast.low, contrast.high, contrast.metric, 1 - alpha)
    return f"{seen}, {ends}; exact p {share(contrast.p)}, adjusted p {share(contrast.adjusted_p or 0.0)}."


def why_undecided(contrast: Contrast, *, margin: float, alpha: float, reach: int | None) -> str:
    """Why nothing was decided: what these seeds could have found, and how many would settle the question.

    ``reach`` is the fewest seeds at which the exact test can reach its level; None where no number of them does.
    """
    difference = amount(contrast.mean_difference, contrast.metric, signed=True)
    ends = interval(contrast.low, contrast.high, contrast.metric, 1 - alpha)
    seen = f"{difference} over {contrast.n} paired seed{'s' if contrast.n > 1 else ''}, {ends}"
    parts = [f"{seen}; exact p {share(contrast.p)}"]
    if reach is None:
        parts.append("the exact test cannot reach its level with any number of seeds")
    elif reach > contrast.n:
        parts.append(f"with so few seeds the exact test cannot reach its level at all: {reach} are needed")
    elif contrast.detectable is not None:
        size = amount(contrast.detectable, contrast.metric)
        parts.append(f"the smallest difference that these seeds find with 80 % power is {size}")
    if contrast.seeds_to_settle is not None and contrast.seeds_to_settle > contrast.n:
        parts.append(f"about {contrast.seeds_to_settle} seeds would settle it at the margin")
    elif contrast.sd_difference is not None and contrast.seeds_to_settle is None:
        parts.append(
            f"more than 10,000 seeds would be needed to settle it at the margin of {amount(margin, contrast.metric)}"
        )
    return "; ".join(parts) + "."


def lack_of_fit(checks: EffectChecks | None, alpha: float) -> tuple[str, ...]:
    """A sentence where the interactions of three and more factors are more than noise."""
    if checks is None or checks.lack_of_fit_p > alpha:
        return ()
    ratio = f"F({checks.df[0]}, {checks.df[1]}) = {checks.lack_of_fit:.1f}, p {share(checks.lack_of_fit_p)}"
    return (
        f"Interactions of three or more factors are more than noise ({ratio}): the table of effects leaves them out.",
    )


def divergence(rates: Mapping[str, tuple[int, int]]) -> str:
    """The divergence rate of each arm in a sentence."""
    each = ", ".join(f"{arm} {diverged} of {planned}" for arm, (diverged, planned) in rates.items())
    return (
        f"Training diverged (seeds by arm): {each}. Accuracy is not judged where a seed of the arm or the control did."
    )


def pairing(verdicts: tuple[Verdict, ...]) -> str:
    """Where pairing by seed gains nothing, or ""."""
    idle = [verdict.arm for verdict in verdicts if verdict.contrast and verdict.contrast.pairing_helps is False]
    if not idle:
        return ""
    return (
        f"Pairing by seed gains nothing for {', '.join(idle)}: compare Welch's interval, shown beside the paired one."
    )
