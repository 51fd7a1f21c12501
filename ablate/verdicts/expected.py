"""Whether what a study expected of an arm came true, and whether it could have failed to."""

from __future__ import annotations

from ablate.verdicts.power import reachable
from ablate.verdicts.verdict import Outcome


def held(expected: str | None, outcome: Outcome, found: Outcome | None = None) -> bool | None:
    """Whether an expectation came true; None when nothing was expected, or the question was not answered.

    Args:
        expected: as the study has it.
        outcome: of the arm or effect.
        found: "better" or "worse" where a difference was found although it is smaller than the margin.

    "no worse" has held where "better" came out, too.
    """
    if expected is None or outcome == "not judged":
        return None
    if expected == "undecided":
        return outcome == "undecided"
    if outcome == "undecided":
        return None
    came = {outcome, found}
    if expected == "no worse":
        return bool(came & {"no worse", "better"})
    return bool(came & {"better", "worse"}) if expected == "different" else expected in came


def could_fail(expected: str | None, num_seeds: int, alpha: float) -> bool:
    """Whether so many seeds can contradict the expectation at all; an expectation that cannot fail is not tested.

    A difference of either sign contradicts every expectation but "different", which only equivalence does. Where
    nothing was expected: True.
    """
    difference, equivalence = reachable(num_seeds, alpha), 2.0**-num_seeds <= alpha
    if expected is None:
        return True
    return (
        equivalence
        if expected == "different"
        else difference or (equivalence and expected not in ("equivalent", "no worse"))
    )
