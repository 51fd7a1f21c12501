"""What a reader must know in addition to the table of verdicts, and the rule in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ablate.design.record import Record
from ablate.design.study import SOURCES, Study
from ablate.verdicts import wording
from ablate.verdicts.contrast import Rule
from ablate.verdicts.gather import ArmResults
from ablate.verdicts.power import seeds_to_reach
from ablate.verdicts.sequential import Look
from ablate.verdicts.verdict import FailureRate, Verdict

MOST_FAULTS = 3  # that a sentence names; each arm's own reason is with its verdict
DIFFERENT = (
    "Differences are arm minus control, paired by seed. Better and worse: the sign-flip p, adjusted over the study's "
    "contrasts by step-down max-T, is at most alpha and the t interval does not contain zero."
)
EQUIVALENT = (
    "Equivalent: two one-sided tests against the margin (Holm-adjusted t tests, and exact tests), whose interval at "
    "1 - 2 alpha is then within the margin; it takes precedence over better and worse."
)
NO_WORSE = (
    "No worse: a one-sided test against the margin (a Holm-adjusted t test, and an exact test), whose bound at "
    "1 - alpha is then within the margin; it takes precedence over worse, and better over it."
)


def method(looks: tuple[Look, ...], *, no_worse: bool = False) -> str:
    """The decision rule in words, for the foot of the table."""
    rule = f"{DIFFERENT} {NO_WORSE if no_worse else EQUIVALENT}"
    if len(looks) == 1:
        return rule
    sizes = ", ".join(str(look.seeds) for look in looks)
    return (
        f"{rule} Looks were planned after {sizes} seeds; p-values and intervals hold over all of them (alpha is "
        "spent as t^2, Kim & DeMets 1987, and added up by the union bound)."
    )


_SOURCES = {
    "weights": "initial weights",
    "order": "the order of the images",
    "augmentation": "augmentation and dropout",
    "split": "which training images are held back for validation",
}


def covered(study: Study) -> str:
    """What the intervals cover: the sources that a seed moves, and what stayed the same in every trial."""
    if study.own_training:
        return "Intervals cover what the training draws from its seed, and nothing that stays the same in every trial."
    vary = study.vary
    moved = [_SOURCES[one] for one in SOURCES if one in vary]
    fixed = [*(_SOURCES[one] for one in SOURCES if one not in vary), "the test images"]
    return f"Seeds move {_listed(moved)}; intervals cover these. They do not cover {_listed(fixed)}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def mixed_kernels(records: Iterable[Record]) -> str:
    """Which arms ran on which kernels, where they differ; "" where they do not, or where earlier records do not say.

    Times and memory are not to be compared then.
    """
    arms: dict[str, set[str]] = {}
    for record in records:
        if record.measured.kernels:
            arms.setdefault(record.measured.kernels, set()).add(record.arm)
    if len(arms) < 2:
        return ""
    told = "; ".join(f"{kernels}: {', '.join(sorted(names))}" for kernels, names in sorted(arms.items()))
    return (
        f"Trials ran on different kernels ({told}). Their accuracies may be compared, since the kernels agree up to "
        "rounding; measured times and memory may not be, and are left out."
    )


def at_chance(arms: tuple[ArmResults, ...], n: int, rule: Rule) -> bool:
    """Whether one of the arms learned nothing, by its first n seeds; not known of the user's own training code."""
    return rule.num_classes > 0 and any(arm.at_chance(n, rule.num_classes, rule.num_test) for arm in arms)


def statements(
    verdicts: tuple[Verdict, ...],
    floor: Verdict | None,
    *,
    stands: bool,
    rates: Mapping[str, tuple[int, int]],
    failed: Mapping[str, FailureRate],
    every: tuple[ArmResults, ...],
    rule: Rule,
    run: int,
) -> tuple[str, ...]:
    """The sentences, the gravest first.

    Args:
        verdicts: of the arms.
        floor: the noise floor's verdict, if there is such an arm.
        stands: whether the noise floor lets the verdicts stand.
        rates: diverged and planned seeds by arm, where any diverged.
        failed: how often each arm's training failed.
        every: the results of all arms, control and noise floor included.
        rule: of the study.
        run: seeds judged so far.
    """
    first = rule.looks[0].seeds
    said = [_floor(floor, rule, stands=stands)] if not stands else []
    if all(one.sound >= first and at_chance((one,), first, rule) for one in every):
        said.append("Every arm is at chance level: there is no winner.")
    if rates:
        said.append(wording.divergence(rates))
    faults = [one.fault for one in every if one.fault and one.sound < run]
    if faults:
        more = len(faults) - MOST_FAULTS
        told = "; ".join([*faults[:MOST_FAULTS], *([f"and {more} more"] if more > 0 else [])])
        said.append(f"Not every planned seed has a sound record: {told}.")
    said += [
        mixed_kernels(record for one in every for record in one.records),
        wording.failures(failed, rule.alpha),
        wording.outlying(verdicts),
        wording.asymmetric(verdicts),
        _out_of_reach(rule),
        _floor(floor, rule, stands=stands) if stands else "",
        wording.pairing(verdicts),
    ]
    return tuple(sentence for sentence in said if sentence)


def _floor(floor: Verdict | None, rule: Rule, *, stands: bool) -> str:
    if floor is None:
        return ""
    itself = f"the control against itself under other seeds: {floor.why}"
    if stands:
        return f"{_passed(floor, rule)} {itself[0].upper()}{itself[1:]}"
    found = "could not be checked" if floor.outcome == "not judged" else "failed"
    return f"The noise floor {found}: no verdict of this study is valid; {itself}"


def _passed(floor: Verdict, rule: Rule) -> str:
    """What a noise floor without a difference says: nothing, where its seeds could not have shown one."""
    contrast = floor.contrast
    num_seeds = contrast.n if contrast else 0
    reach = seeds_to_reach(rule.alpha)
    if reach is None or num_seeds < reach:
        needed = "no number of seeds can" if reach is None else f"it could not fail with fewer than {reach} seeds"
        return f"The noise floor cannot tell: {needed}, and has {num_seeds}."
    size = contrast.detectable if contrast else None
    told = "" if size is None else wording.amount(size, rule.metric, rule.unit)
    could = f"; it would have found one of {told} with 80 % power" if told else ""
    own = " It was tuned separately, with its own tuning seeds." if rule.tuned else ""
    return f"The noise floor passed, no difference was found{could}.{own}"


def _out_of_reach(rule: Rule) -> str:
    last = rule.looks[-1]
    reach = seeds_to_reach(rule.alpha * last.share)
    if rule.num_contrasts == 0 or (reach is not None and reach <= last.seeds):
        return ""
    needed = "any number of" if reach is None else f"fewer than {reach}"
    return (
        f"With {last.seeds} seeds the exact test cannot reach its level: no arm can come out better or worse with "
        f"{needed} seeds."
    )
