"""Equal budgets: the width at which an arm costs what the control costs, solved on specs alone.

A cost is a step function of ``width_mult``, because every width is rounded to a multiple of the divisor. Bisection
finds the step at which it passes the target; then every step around that place is tried, since the cost need not rise
at each (a projection falls away where two widths come to agree).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ablate.design.arms import ArmsError, Draft, Fault
from ablate.design.datasets import DataInfo
from ablate.design.study import Matched, Study
from ablate.measure.cost import Cost, estimate
from ablate.model.spec import NetSpec

LOWEST, HIGHEST = 0.01, 64.0  # the widths that a NetSpec allows
TOLERANCE = 0.1  # further off than this is no equal budget
_CLOSE = 0.01  # near enough to stop looking further around
_NEIGHBOURHOODS = (1.03, 1.15)  # how far around the crossing every step is tried, as a factor
_SPENT: dict[Matched, Callable[[Cost], int]] = {
    "macs": lambda cost: cost.macs,
    "params": lambda cost: cost.params,
    "train_flops": lambda cost: cost.train_flops,
    "peak_memory": lambda cost: cost.train_peak_bytes,
}
Measure = Callable[[NetSpec], float]


@dataclass(frozen=True, kw_only=True)
class Match:
    """What came of matching one arm.

    Attributes:
        quantity: macs, params, train_flops or peak_memory (bytes of a training step).
        width_mult: the width solved for; the arm's own where nothing had to move.
        target, reached: the control's cost and the arm's at that width.
        identity: the arm cost the same beforehand, so its width was left alone.
    """

    quantity: str
    width_mult: float
    target: float
    reached: float
    identity: bool = False

    @property
    def remainder(self) -> float:
        """How far from the target, relative to it: 0.004 is 0.4 % above."""
        return self.reached / self.target - 1

    def __str__(self) -> str:
        if self.identity:
            return f"{self.quantity} equal to the control's as it stands"
        return f"{self.quantity} matched at width_mult {self.width_mult:g}, remainder {self.remainder:+.2%}"


def measure_of(study: Study, data: DataInfo) -> Measure:
    """What the study matches, as a function of a net: arithmetic alone."""
    spent = _SPENT[study.match]
    shape = (data.channels, data.height, data.width)

    def measure(spec: NetSpec) -> float:
        return spent(estimate(spec, shape, batch_size=study.recipe.batch_size, optimizer=study.recipe.optimizer))

    return measure


def match_width(spec: NetSpec, target: float, measure: Measure, *, quantity: str = "macs") -> Match:
    """The ``width_mult`` at which ``spec`` costs what is nearest to ``target``; of two as near, the cheaper.

    All widths move with it: stem, stages, and above 1 the head. A net that costs ``target`` already stays as it is.

    Args:
        spec: the arm.
        target: what the control costs.
        measure: the cost of a net.
        quantity: the name of that cost.
    """
    own = measure(spec)
    if own == target:
        return Match(quantity=quantity, width_mult=spec.width_mult, target=target, reached=own, identity=True)

    def cost_at(width: float) -> float:
        return measure(replace(spec, width_mult=width))

    low, high = _bracket(target, cost_at)
    reached, width = math.inf, 0.0
    for around in _NEIGHBOURHOODS:
        tried = [(cost_at(width), width) for width in _one_each(_edges(spec, low / around, high * around))]
        reached, width = min(tried, key=lambda pair: (abs(pair[0] - target), pair[0], pair[1]))
        if abs(reached / target - 1) <= _CLOSE:
            break
    return Match(quantity=quantity, width_mult=width, target=target, reached=reached)


def _bracket(target: float, cost_at: Callable[[float], float]) -> tuple[float, float]:
    """Two widths close together between which the cost passes the target; an end of the range if it never does."""
    low, high = LOWEST, HIGHEST
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        if cost_at(middle) < target:
            low = middle
        else:
            high = middle
    return low, high


def _edges(spec: NetSpec, low: float, high: float) -> list[float]:
    """The places between ``low`` and ``high`` at which a rounded width jumps, and the ends."""
    low, high = max(low, LOWEST), min(high, HIGHEST)
    divisor = spec.divisor
    edges = {low, high}
    for channels in {spec.stem_channels, spec.head_channels, *(stage.channels for stage in spec.stages)} - {0}:
        first, last = int(low * channels / divisor), math.ceil(high * channels / divisor)
        for multiple in range(first, last + 1):
            # half way to the next multiple, unless rounding down by 10 % is reached before
            width = min((multiple + 0.5) * divisor, multiple * divisor / 0.9) if multiple else divisor / 0.9
            edges.add(width / channels)
    return sorted(edge for edge in edges if low <= edge <= high)


def _one_each(edges: Iterable[float]) -> list[float]:
    """A width within each step: the shortest decimal that lies safely inside."""
    edges = list(edges)
    return [_shortest(left, right) for left, right in itertools.pairwise(edges) if right - left > 1e-9] or edges


def _shortest(left: float, right: float) -> float:
    room = (right - left) / 10
    for digits in range(12):
        width = round((left + right) / 2, digits)
        if left + room <= width <= right - room:
            return width
    return (left + right) / 2


def matched(study: Study, data: DataInfo, drafts: Sequence[Draft]) -> list[tuple[Draft, Match | None]]:
    """The arms that a study runs: as they are, and at the control's cost where it asks for that.

    The control comes first. An arm of equal cost stands once; another one twice, as it is and as ``NAME@macs``, or
    only as the latter without ``unmatched``.

    Raises:
        ArmsError: an arm that cannot cost what the control costs, or that is another one once its width is solved.
    """
    if study.match == "none":
        return [(draft, None) for draft in drafts]
    measure = measure_of(study, data)
    target = measure(drafts[0].spec)
    solved = [(draft, match_width(draft.spec, target, measure, quantity=study.match)) for draft in drafts]
    faults = [_too_far(draft, match) for draft, match in solved if abs(match.remainder) > TOLERANCE]
    names = {draft.name: draft.name if match.identity else f"{draft.name}@{study.match}" for draft, match in solved}
    runs: list[tuple[Draft, Match | None]] = []
    widths: dict[NetSpec, str] = {}
    for draft, match in solved:
        spec = replace(draft.spec, width_mult=match.width_mult)
        twin = widths.setdefault(replace(spec, width_mult=1), draft.name)
        if twin != draft.name:
            faults.append(Fault("match", f"= {study.match!r} leaves no difference between {draft.name} and {twin}"))
        if not match.identity and study.unmatched:
            runs.append((replace(draft, factors={}), None))
        runs.append((replace(draft, name=names[draft.name], spec=spec, parent=names[draft.parent]), match))
    if faults:
        raise ArmsError(faults)
    return runs


def _too_far(draft: Draft, match: Match) -> Fault:
    divisor = draft.spec.divisor
    finer = f" (divisor = {divisor}; a smaller one allows finer widths)" if divisor > 1 else ""
    nearest = f"{match.reached:,.0f} ({match.remainder:+.1%}) at width_mult {match.width_mult:g}"
    message = (
        f"cannot be reached by the arm {draft.name}: the nearest to the control's {match.target:,.0f} is {nearest}"
    )
    return Fault("match", f"= {match.quantity!r} {message}{finer}")
