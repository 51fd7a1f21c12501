"""What the arms cost, measured once an arm."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from ablate.design.plan import CampaignPlan
from ablate.design.study import digest
from ablate.files import write_whole
from ablate.measure.cost import cost

FORMAT = 1
ArmCosts = dict[str, dict[str, float | int | None]]


def measure_costs(plan: CampaignPlan, folder: Path, device: str, threads: int, say: Callable[[str], None]) -> ArmCosts:
    """The costs of every arm, by name; each is kept in ``folder`` and measured once, arms that are missing in turns.

    Raises:
        CostError: two counters disagree.
    """
    from ablate.measure.latency import with_latency

    recipe, data = plan.study.recipe, plan.data
    shape = (data.channels, data.height, data.width)
    found: ArmCosts = {}
    missing: dict[str, Path] = {}
    for arm in plan.arms:
        asked = [FORMAT, arm.spec.to_dict(), dataclasses.asdict(data), recipe.batch_size, recipe.optimizer]
        path = folder / f"{digest([*asked, device, threads])}.json"
        try:
            found[arm.name] = json.loads(path.read_text())
        except (OSError, ValueError):
            missing[arm.name] = path
    if not missing:
        return found
    say(f"measuring the costs of {', '.join(missing)}")
    specs = {name: plan.arm(name).spec for name in missing}
    counted = {
        name: cost(spec, shape, batch_size=recipe.batch_size, optimizer=recipe.optimizer)
        for name, spec in specs.items()
    }
    timed = with_latency(counted, specs, shape, batch_size=recipe.batch_size, device=device, threads=threads)
    for name, path in missing.items():
        found[name] = dataclasses.asdict(timed[name])
        write_whole(path, json.dumps(found[name]).encode())
    return {arm.name: found[arm.name] for arm in plan.arms}
