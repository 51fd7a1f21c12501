"""Which of these architecture choices matters, by how much, and at what cost?

Importing this package is light: torch, MLflow and Optuna are loaded when something needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.campaign.api import judge as judgement
    from ablate.campaign.api import plan, run
    from ablate.design.read import load_study
    from ablate.measure.cost import cost
    from ablate.model import zoo
    from ablate.model.nets import build

__version__ = "0.1.0"
__all__ = ["build", "cost", "judgement", "load_study", "plan", "run", "zoo"]

_HOMES = {
    "build": "ablate.model.nets:build",
    "cost": "ablate.measure.cost:cost",
    "judgement": "ablate.campaign.api:judge",  # ablate.judge is a command: its module would hide a function
    "load_study": "ablate.design.read:load_study",
    "plan": "ablate.campaign.api:plan",
    "run": "ablate.campaign.api:run",
}


def __getattr__(name: str) -> Any:
    if name == "zoo":
        return importlib.import_module("ablate.model.zoo")
    if name in _HOMES:
        module, function = _HOMES[name].split(":")
        return getattr(importlib.import_module(module), function)
    if name == "judge":
        raise AttributeError(
            "ablate.judge is a command (python -m ablate.judge); the function is ablate.judgement(study)"
        )
    raise AttributeError(f"module 'ablate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
