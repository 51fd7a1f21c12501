"""Numbers and findings as sentences for people."""

from __future__ import annotations

from collections.abc import Mapping

from ablate.verdicts.verdict import Contrast, Outcome, Verdict


def amount(value: float, metric: str, *, signed: bool = False) -> str:
    """A difference in the metric's unit: accuracies in percentage points, losses as they are."""
    sign = "+" if signed else ""
    if metric.endswith("accuracy"):
        return f"{100 * value:{sign}.2f} points"
    return f"{value:{sign}.3g}"


def share(p: float) -> str:
    """A p-value: "0.031", or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def interval(contrast: Contrast, confidence: float) -> str:
    """In words: 95 % interval +1.40 points to +2.20 points."""
    if contrast.low is None or contrast.high is None:
        return "no interval from one seed"
    low, high = (amount(value, contrast.metric, signed=True) for value in (contrast.low, contrast.high))
    return f"{100 * confidence:.4g} % interval {low} to {high}"


def why_decided(outcome: Outcome, contrast: Contrast, *, margin: float, confidence: float, also_different: bool) -> str:
    """Why an arm is better, worse or equivalent."""
    difference = amount(contrast.mean_difference, contrast.metric, signed=True)
    seen = f"{difference} over {contrast.n} paired seeds, {interval(contrast, confidence)}"
    if outcome == "equivalent":
        within = f"within the margin of {amount(margin, contrast.metric)}"
        shown = f"Holm p of the equivalence tests {share(contrast.equivalence_holm_p or 0.0)}"
        also = f"; a difference smaller than the margin was found, Holm p {share(contrast.holm_p or 0.0)}"
        return f"{within}: {seen}; {shown}{also if also_different else ''}."
    return f"{seen}; exact p {share(contrast.p)}, Holm p {share(contrast.holm_p or 0.0)}."


def why_undecided(contrast: Contrast, *, margin: float, confidence: float, reach: int | None) -> str:
    """Why nothing was decided: what these seeds could have found, and how many would settle the question.

    ``reach`` is the number of seeds at which the exact test can reach its level, where that is above the seeds run.
    """
    difference = amount(contrast.mean_difference, contrast.metric, signed=True)
    seen = (
        f"{difference} over {contrast.n} paired seed{'s' if contrast.n > 1 else ''}, {interval(contrast, confidence)}"
    )
    parts = [f"{seen}; exact p {share(contrast.p)}"]
    if reach is not None:
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


def held(expected: str | None, outcome: Outcome) -> bool | None:
    """Whether an expectation came true; None when nothing was expected, or the question was not answered."""
    if expected is None or outcome == "not judged":
        return None
    if expected == "undecided":
        return outcome == "undecided"
    if outcome == "undecided":
        return None
    return outcome in ("better", "worse") if expected == "different" else outcome == expected


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
