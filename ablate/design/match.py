"""Equal budgets: the width at which an arm costs what the control costs, solved on specs alone.

A cost is a step function of ``width_mult``, because every width is rounded to a multiple of the divisor. Bisection
finds the step at which it passes the target; then every step around that place is tried, since the cost need not rise
at each (a projection falls away where two widths come to agree).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from ablate.design.arms import WIDTH_MULT, Arm, Match, Setup
from ablate.design.datasets import DataInfo
from ablate.design.imported import Imported, Model
from ablate.design.own_block import is_ours
from ablate.design.study import DataSpec, Level, Matched, Recipe, Study
from ablate.design.validation import FieldError, FieldsError
from ablate.measure.cost import estimate
from ablate.model.spec import Change, NetSpec

Trained = TypeVar("Trained", bound=Setup)
LOWEST, HIGHEST = 0.01, 64.0  # the widths that a NetSpec allows
TOLERANCE = 0.1  # further off than this is no equal budget
_CLOSE = 0.01  # near enough to stop looking further around
_NEIGHBOURHOODS = (1.03, 1.15)  # how far around the crossing every step is tried, as a factor
# What a study can match, and the field of Cost that says what a net spends of it.
COST_FIELDS: dict[Matched, str] = {
    "macs": "macs",
    "params": "params",
    "train_flops": "train_flops",
    "peak_memory": "train_peak_bytes",
}
Measure = Callable[[NetSpec], float]
Solve = Callable[[Study, DataInfo, Sequence[Arm]], dict[str, Match]]


def measure_of(study: Study, data: DataInfo, setup: Setup | None = None) -> Measure:
    """What the study matches, as a function of a net: arithmetic alone.

    Args:
        study: says what is matched, and holds the control's recipe.
        data: decides the image size.
        setup: whose recipe and data the net is trained with; None: the control's. ``train_flops`` of an arm that sees
            other numbers of images than the control count in proportion: twice the epochs, twice the FLOPs.
    """
    field, shape = COST_FIELDS[study.match], (data.channels, data.height, data.width)
    recipe = setup.recipe if setup else study.recipe
    share = 1.0
    if setup and study.match == "train_flops":
        share = images_seen(setup.recipe, setup.data, data) / images_seen(study.recipe, study.data, data)

    def measure(spec: NetSpec) -> float:
        cost = estimate(spec, shape, batch_size=recipe.batch_size, optimizer=recipe.optimizer)
        spent: int = getattr(cost, field)
        return spent if share == 1 else spent * share

    return measure


def images_seen(recipe: Recipe, spec: DataSpec, data: DataInfo) -> int:
    """How many training images a trial takes in all its epochs."""
    return recipe.epochs * data.split(spec)[0]


def match_width(spec: NetSpec, target: float, measure: Measure, *, quantity: Matched = "macs") -> Match:
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


def by_arithmetic(study: Study, data: DataInfo, arms: Sequence[Arm]) -> dict[str, Match]:
    """How each arm's width is solved, by the arm's name, where every net is one of ours; the control comes first."""
    specs = {arm.name: arm.spec for arm in arms if isinstance(arm.spec, NetSpec)}
    target = measure_of(study, data, arms[0])(specs[arms[0].name])
    return {
        arm.name: match_width(specs[arm.name], target, measure_of(study, data, arm), quantity=study.match)
        for arm in arms
    }


def matched(study: Study, data: DataInfo, arms: Sequence[Arm], solve: Solve | None = None) -> list[Arm]:
    """The arms that a study runs: as they are, and at the control's cost where it asks for that.

    The control comes first. An arm of equal cost stands once; another one twice, as it is and as ``NAME@macs``, or
    only as the latter without ``unmatched``.

    Args:
        study: what is matched, and by which field.
        data: decides the image size.
        arms: before any width is solved.
        solve: solves the widths of imported nets, which have to be built for it; None: they cannot be.

    Raises:
        FieldsError: an arm that cannot cost what the control costs, or that is another one once its width is solved.
    """
    named = all(isinstance(arm.spec, NetSpec) for arm in arms)
    if study.match_field != WIDTH_MULT and (named or study.match == "none"):
        message = (
            f"= {study.match_field!r} is read with match and imported nets; ablate's own are solved by {WIDTH_MULT}"
        )
        raise FieldsError([FieldError("match_field", message)])
    if study.match == "none":
        return list(arms)
    solver = by_arithmetic if all(is_ours(arm.spec) for arm in arms) else solve
    if solver is None:
        raise FieldsError(
            [
                FieldError(
                    "match", f"= {study.match!r} of imported nets is solved when the study is run, which builds them"
                )
            ]
        )
    matches = solver(study, data, arms)
    solved = [(arm, matches[arm.name]) for arm in arms]
    errors = [_too_far(arm, match) for arm, match in solved if abs(match.remainder) > TOLERANCE]
    names = {arm.name: arm.name if match.identity else f"{arm.name}@{study.match}" for arm, match in solved}
    runs: list[Arm] = []
    widths: dict[Setup, str] = {}
    for arm, match in solved:
        twin = widths.setdefault(_of_width(arm.setup, match.field, 1), arm.name)
        if twin != arm.name:
            errors.append(FieldError("match", f"= {study.match!r} leaves no difference between {arm.name} and {twin}"))
        if not match.identity and study.unmatched:
            runs.append(replace(arm, factors={}))
        moved = _of_width(arm, match.field, match.width_mult)
        moved = replace(moved, name=names[arm.name], parent=names[arm.parent], match=match)
        runs.append(replace(moved, changes=_with_width(arm.changes, match.field, arms[0].spec, match.width_mult)))
    if errors:
        raise FieldsError(errors)
    return runs


def width_of(spec: Model, field: str) -> Level | None:
    """The value that a net has of the field that is solved; None where an imported one is not given it."""
    return dict(spec.keywords).get(field) if isinstance(spec, Imported) else getattr(spec, field)


def _of_width(setup: Trained, field: str, width: float) -> Trained:
    return replace(setup, spec=setup.spec.with_changes({field: width}))


def _with_width(changes: tuple[Change, ...], field: str, control: Model, after: float) -> tuple[Change, ...]:
    others = tuple(change for change in changes if change.field != field)
    own = isinstance(control, Imported) or field == WIDTH_MULT
    before = width_of(control, field) if own else None
    return others if after == before else (*others, Change(field, "" if before is None else before, after))


def _too_far(arm: Arm, match: Match) -> FieldError:
    divisor = getattr(arm.spec, "divisor", 1)
    finer = f" (divisor = {divisor}; a smaller one allows finer widths)" if divisor > 1 else ""
    nearest = f"{match.reached:,.0f} ({match.remainder:+.1%}) at {match.field} {match.width_mult:g}"
    message = f"cannot be reached by the arm {arm.name}: the nearest to the control's {match.target:,.0f} is {nearest}"
    return FieldError("match", f"= {match.quantity!r} {message}{finer}")
