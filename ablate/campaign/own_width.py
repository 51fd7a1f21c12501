"""Equal budgets for the user's own nets: finds, by measuring, the keyword that gives an arm the control's cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ablate.campaign.local import run_in_subprocess
from ablate.design.arms import WIDTH_MULT, Arm, Match
from ablate.design.datasets import DataInfo
from ablate.design.imported import Imported
from ablate.design.match import COST_FIELDS, images_seen, match_width, measure_of, width_of
from ablate.design.own_block import is_ours
from ablate.design.study import Study
from ablate.design.validation import FieldError, FieldsError
from ablate.errors import AblateError
from ablate.model.spec import NetSpec

MOST_DOUBLINGS = 12  # of the keyword, either way
FINE = 1.001  # how near the two ends of a keyword that is no whole number come


def solve_widths(study: Study, data: DataInfo, arms: Sequence[Arm]) -> dict[str, Match]:
    """How each arm's width is solved, by its name; nets are built and counted in a process of their own.

    Raises:
        FieldsError: an imported net is not given the keyword, or a net cannot be built with the values tried.
    """
    for arm in arms:
        own = width_of(arm.spec, study.match_field) if isinstance(arm.spec, Imported) else 1
        if isinstance(own, bool) or not isinstance(own, int | float) or own <= 0:
            place = "control" if arm is arms[0] else f"arm {arm.name}"
            message = f"must be a keyword with a number above 0, which widens the net; {place} has {study.match_field}"
            raise FieldsError([FieldError("match_field", f"{message} = {own!r}" if own else f"{message} nowhere")])
    try:
        return run_in_subprocess(_solve, study, data, tuple(arms), say=lambda _: None)
    except AblateError as error:
        raise FieldsError([FieldError("match", f"= {study.match!r} cannot be solved: {error}")]) from error


def _solve(study: Study, data: DataInfo, arms: Sequence[Arm], say: Callable[[str], None]) -> dict[str, Match]:  # noqa: ARG001
    target = _spent(study, data, arms[0])(width_of(arms[0].spec, _field(study, arms[0])))
    return {arm.name: _match(study, data, arm, target) for arm in arms}


def _field(study: Study, arm: Arm) -> str:
    return WIDTH_MULT if isinstance(arm.spec, NetSpec) else study.match_field


def _match(study: Study, data: DataInfo, arm: Arm, target: float) -> Match:
    if is_ours(arm.spec):
        return match_width(arm.spec, target, measure_of(study, data, arm), quantity=study.match)
    field, spent = _field(study, arm), _spent(study, data, arm)
    own = width_of(arm.spec, field)
    assert isinstance(own, int | float)
    own = float(own) if field == WIDTH_MULT else own
    if (cost := spent(own)) == target:
        return Match(quantity=study.match, width_mult=own, target=target, reached=cost, identity=True, field=field)
    width = nearest_width(spent, own, target)
    return Match(quantity=study.match, width_mult=width, target=target, reached=spent(width), field=field)


def _spent(study: Study, data: DataInfo, arm: Arm) -> Callable[[object], float]:
    """What an arm spends of the matched quantity at a value of its field; each value is built once."""
    from ablate.measure.cost import estimate
    from ablate.measure.modules import module_cost
    from ablate.training.own_net import build_model

    shape, recipe, kept = (data.channels, data.height, data.width), arm.recipe, dict[object, float]()
    share = 1.0
    if study.match == "train_flops":
        share = images_seen(recipe, arm.data, data) / images_seen(study.recipe, study.data, data)

    def spent(value: object) -> float:
        if value not in kept:
            spec = arm.spec.with_changes({_field(study, arm): value})
            if is_ours(spec):
                cost = estimate(spec, shape, batch_size=recipe.batch_size, optimizer=recipe.optimizer)
            else:
                net = build_model(spec, data, 0)
                cost, _ = module_cost(
                    net, shape, batch_size=recipe.batch_size, optimizer=recipe.optimizer, by_fvcore=False
                )
            kept[value] = share * getattr(cost, COST_FIELDS[study.match])
        return kept[value]

    return spent


def nearest_width(spent: Callable[[float], float], own: float, target: float) -> float:
    """The value at which a cost that grows with it is nearest to ``target``; of two as near, the smaller.

    Args:
        spent: the cost at a value; a whole number stays one.
        own: where the search begins.
        target: the cost to reach.

    Example:
        >>> nearest_width(lambda width: 10 * width * width, 8, 1000)
        10
    """
    whole = isinstance(own, int)
    low = high = own
    for _ in range(MOST_DOUBLINGS):
        if spent(high) < target:
            low, high = high, high * 2
        elif spent(low) > target and (not whole or low > 1):
            low, high = (low // 2 if whole else low / 2), low
        else:
            break
    while (high - low > 1) if whole else (high / low > FINE):
        middle = (low + high) // 2 if whole else math.sqrt(low * high)
        low, high = (middle, high) if spent(middle) < target else (low, middle)
    return min((low, high), key=lambda width: (abs(spent(width) - target), width))
