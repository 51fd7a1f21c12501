"""What is said of runs trained elsewhere: the numbers behind a verdict, and what the runs cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.verdicts.maxt import smallest_p as smallest_paired_p
from ablate.verdicts.power import seeds_to_reach
from ablate.verdicts.samples import Sample
from ablate.verdicts.statements import EQUIVALENT, NO_WORSE
from ablate.verdicts.two_samples import runs_to_reach, smallest_p
from ablate.verdicts.verdict import Contrast, Outcome, Verdict
from ablate.verdicts.wording import share

UNKNOWN = (
    "These runs were trained elsewhere, so three things are not known: whether runs with the same seed share initial "
    "weights and order of the data, whether every arm was tuned as much as the control and had the same budget, and "
    "whether runs were left out."
)
NO_MARGIN = "No margin was declared (--margin), so no arm can come out equivalent or no worse."
PAIRED = (
    "Better and worse, for paired arms: the exact two-sided sign-flip p, adjusted over the arms, is at most alpha, and "
    "the t interval of the paired differences does not contain zero. P-values are adjusted by step-down max-T where "
    "all arms have the same pairs, otherwise by Holm's procedure."
)
UNPAIRED = (
    "Better and worse, for arms without pairs: the permutation p of Welch's t (exact up to 200,000 splits, else 99,999 "
    "sampled ones), adjusted over the arms by Holm's procedure, is at most alpha, and Welch's interval does not "
    "contain zero."
)


def number(value: float, *, signed: bool = False) -> str:
    """Four significant digits, in the metric's own unit."""
    return f"{value:{'+' if signed else ''}.4g}"


def counted(contrast: Contrast) -> str:
    """``"8 paired seeds"``, ``"8 runs against 10"``, or ``"17 data sets"``."""
    if contrast.pooled is not None:
        return f"{contrast.n} data sets"
    if contrast.control_runs is not None:
        return f"{contrast.n} run{'s' * (contrast.n != 1)} against {contrast.control_runs}"
    return f"{contrast.n} paired seed{'s' * (contrast.n != 1)}"


def why(outcome: Outcome, contrast: Contrast, *, alpha: float, also_different: bool) -> str:
    """One or two sentences: the difference, its interval, the p-values, and what would settle an open question."""
    parts = [f"{number(contrast.mean_difference, signed=True)} over {counted(contrast)}, {_interval(contrast, alpha)}"]
    parts.append(f"p {share(contrast.p)}, adjusted p {share(_known(contrast.adjusted_p))}")
    if outcome in ("equivalent", "no worse"):
        parts.append(f"adjusted p of the margin's tests {share(_known(contrast.equivalence_holm_p))}")
        if also_different:
            parts.append("a difference smaller than the margin was found")
    if outcome == "undecided":
        if contrast.detectable is not None:
            parts.append(f"the smallest difference found with 80 % power is {number(contrast.detectable)}")
        if contrast.seeds_to_settle is not None and contrast.seeds_to_settle > contrast.n:
            parts.append(f"about {contrast.seeds_to_settle} seeds would settle it at the margin")
    return "; ".join(parts) + "."


def comparison(samples: Sequence[Sample], *, unpaired: bool) -> list[str]:
    """How each arm is compared with the control, and which runs that leaves out."""
    told = []
    alone = [one.arm for one in samples if not one.paired]
    if alone and not unpaired:
        told.append(f"No seed is shared with the control by {_names(alone)}: compared as two samples, without pairs.")
    for one in samples:
        if one.left_out:
            seeds = _names([str(seed) for seed in one.left_out])
            told.append(
                f"{one.arm}: left out, because only one of arm and control ran with it: seed {seeds}. "
                f"{len(one.seeds)} pairs are compared. If runs are absent because they failed, the difference of the "
                "others can be biased. --unpaired compares all runs."
            )
    return told


def pairing(verdicts: Sequence[Verdict]) -> list[str]:
    """Where pairing by seed gains nothing, with the interval that ignores the pairs."""
    told = []
    for contrast in (
        one.contrast for one in verdicts if one.contrast is not None and one.contrast.pairing_helps is False
    ):
        if contrast.welch_low is not None and contrast.welch_high is not None:
            ends = f"{number(contrast.welch_low, signed=True)} to {number(contrast.welch_high, signed=True)}"
            told.append(f"{contrast.arm}: pairing by seed gains nothing; without pairs the interval is {ends}.")
    return told


def outliers(verdicts: Sequence[Verdict]) -> list[str]:
    """Seeds whose difference lies far from the others, with the median that they do not move."""
    told = []
    for contrast in (one.contrast for one in verdicts if one.contrast is not None and one.contrast.outliers):
        median = number(contrast.median_difference or 0.0, signed=True)
        seeds = _names([str(seed) for seed in contrast.outliers])
        told.append(f"{contrast.arm}: the difference of seed {seeds} lies far from the others; the median is {median}.")
    return told


def out_of_reach(samples: Sequence[Sample], alpha: float) -> list[str]:
    """Where the exact test cannot reach its level however large the difference."""
    same = all(one.paired and one.seeds == samples[0].seeds for one in samples)
    level = alpha if same else alpha / len(samples)
    short = [one for one in samples if _smallest(one) > level]
    if not short:
        return []
    needed = [seeds_to_reach(level) if one.paired else runs_to_reach(level) for one in short]
    enough = "no number of runs is enough" if None in needed else f"{max(one or 0 for one in needed)} are needed"
    sentence = (
        f"{_names([one.arm for one in short])}: with so few runs the exact test cannot reach its level, so that "
        f"neither better nor worse can come out; {enough}."
    )
    return [sentence]


def method(samples: Sequence[Sample], *, no_worse: bool = False) -> str:
    """The rule in words."""
    said = [PAIRED] if any(one.paired for one in samples) else []
    said += [UNPAIRED] if any(not one.paired for one in samples) else []
    return " ".join(["Differences are arm minus control.", *said, NO_WORSE if no_worse else EQUIVALENT])


def floor_failed(floor: Verdict) -> str:
    """The gravest statement."""
    return f"The noise floor failed: no verdict of these runs is valid. {floor.arm} against the control: {floor.why}"


def floor_passed(floor: Verdict) -> str:
    """That no difference was found where there is none."""
    return f"The noise floor passed, no difference was found. {floor.arm} against the control: {floor.why}"


def _smallest(one: Sample) -> float:
    if one.paired:
        return smallest_paired_p(len(one.seeds))
    return smallest_p(one.values.size, one.against.size)


def _interval(contrast: Contrast, alpha: float) -> str:
    if contrast.low is None or contrast.high is None:
        return "no interval from one run"
    low, high = number(contrast.low, signed=True), number(contrast.high, signed=True)
    return f"{100 * (1 - alpha):.4g} % interval {low} to {high}"


def _known(p: float | None) -> float:
    return 1.0 if p is None else p


def _names(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"
