"""What the arms cost, measured once an arm."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from ablate.design.datasets import DataInfo
from ablate.design.identity import digest
from ablate.design.plan import Arm, CampaignPlan
from ablate.files import write_whole
from ablate.measure.cost import Cost, cost

FORMAT = 1
ArmCosts = dict[str, dict[str, float | int | None]]


def arm_cost(arm: Arm, data: DataInfo, batch_size: int, optimizer: str, device: str, threads: int) -> Cost:
    """Counted, checked against two other counters, and timed; loads torch."""
    from ablate.measure.latency import latency_ms

    shape = (data.channels, data.height, data.width)
    return dataclasses.replace(
        cost(arm.spec, shape, batch_size=batch_size, optimizer=optimizer),
        latency_ms=latency_ms(arm.spec, shape, batch_size=1, device=device, threads=threads),
        latency_batch_ms=latency_ms(arm.spec, shape, batch_size=batch_size, device=device, threads=threads),
    )


def measure_costs(plan: CampaignPlan, folder: Path, device: str, threads: int, say: Callable[[str], None]) -> ArmCosts:
    """The costs of every arm, by name; each is kept in ``folder`` and measured once.

    Raises:
        CostError: two counters disagree.
    """
    found: ArmCosts = {}
    for arm in plan.arms:
        recipe = arm.recipe
        asked = [FORMAT, arm.spec.to_dict(), dataclasses.asdict(plan.data), recipe.batch_size, recipe.optimizer]
        path = folder / f"{digest([*asked, device, threads])}.json"
        try:
            found[arm.name] = json.loads(path.read_text())
        except (OSError, ValueError):
            say(f"measuring the cost of {arm.name}")
            measured = arm_cost(arm, plan.data, recipe.batch_size, recipe.optimizer, device, threads)
            found[arm.name] = dataclasses.asdict(measured)
            write_whole(path, json.dumps(found[arm.name]).encode())
    return found
