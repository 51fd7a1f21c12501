"""What an arm costs by arithmetic alone, where its net is one of ours."""

from __future__ import annotations

from ablate.design.arms import Setup
from ablate.design.datasets import DataInfo
from ablate.design.own_block import is_ours
from ablate.measure.cost import Cost, estimate


def estimated_cost(setup: Setup, data: DataInfo) -> Cost | None:
    """The cost of a setup's net on images of this size; None for a net that would have to be imported."""
    if not is_ours(setup.spec):
        return None
    shape, recipe = (data.channels, data.height, data.width), setup.recipe
    return estimate(setup.spec, shape, batch_size=recipe.batch_size, optimizer=recipe.optimizer)
