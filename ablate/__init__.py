"""Which of these architecture choices matters, by how much, and at what cost?

Importing this package is light: torch, MLflow and Optuna are loaded when something needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.campaign.api import judge, plan, run
    from ablate.design.read import load_study
    from ablate.measure.cost import cost
    from ablate.measure.quantise import quantised
    from ablate.model import zoo
    from ablate.model.nets import build

__version__ = "0.1.0"
__all__ = ["build", "cost", "judge", "load_study", "plan", "quantised", "run", "zoo"]

_HOMES = {
    "build": "ablate.model.nets",
    "cost": "ablate.measure.cost",
    "judge": "ablate.campaign.api",
    "load_study": "ablate.design.read",
    "plan": "ablate.campaign.api",
    "quantised": "ablate.measure.quantise",
    "run": "ablate.campaign.api",
}


def __getattr__(name: str) -> Any:
    if name == "zoo":
        return importlib.import_module("ablate.model.zoo")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ablate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
