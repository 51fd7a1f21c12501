"""Which of these architecture choices matters, by how much, and at what cost?

Importing this package is light: torch, MLflow and Optuna are loaded when something needs them.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found, unused-ignore]  # Python's own imports enum, which takes longer
import importlib
import sys


def _is_command() -> bool:
    """Whether this process is `ablate ...` or `python -m ablate...`; while -m looks for its module, argv[0] is "-m"."""
    started = sys.argv[0] if getattr(sys, "argv", None) else ""
    if started == "-m":
        return sys.orig_argv[sys.orig_argv.index("-m") + 1].partition(".")[0] == "ablate"
    return started.rpartition("/")[2] == "ablate"


if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C during the imports ends a command without a traceback; command_line.exit_status takes it over from there
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from typing import TYPE_CHECKING, Any  # noqa: E402 - what takes longer to import comes after

if TYPE_CHECKING:
    from ablate.campaign.api import plan
    from ablate.campaign.options import RunOptions
    from ablate.campaign.trained import load_net
    from ablate.design.read import load_study
    from ablate.measure.cost import cost
    from ablate.measure.quantise import quantised
    from ablate.model import zoo
    from ablate.model.nets import build
    from ablate.reporting.session import predictions, records, results, run
    from ablate.training.weights import load_weights

__version__ = "0.2.0"
__all__ = [
    "RunOptions",
    "build",
    "cost",
    "load_net",
    "load_study",
    "load_weights",
    "plan",
    "predictions",
    "quantised",
    "records",
    "results",
    "run",
    "zoo",
]

DISTRIBUTION = "ablate-harness"
_HOMES = {
    "RunOptions": "ablate.campaign.options",
    "build": "ablate.model.nets",
    "cost": "ablate.measure.cost",
    "load_net": "ablate.campaign.trained",
    "load_study": "ablate.design.read",
    "load_weights": "ablate.training.weights",
    "plan": "ablate.campaign.api",
    "predictions": "ablate.reporting.session",
    "quantised": "ablate.measure.quantise",
    "records": "ablate.reporting.session",
    "results": "ablate.reporting.session",
    "run": "ablate.reporting.session",
}


def _refuse_another() -> None:
    """Two distributions that hold a package of this name overwrite each other's files."""
    from importlib import metadata

    try:
        other = metadata.distribution("ablate")
    except metadata.PackageNotFoundError:
        return
    raise ImportError(
        f"the distribution 'ablate' {other.version} is installed too, and holds a package of the same name as "
        f"{DISTRIBUTION}; python -m pip uninstall ablate {DISTRIBUTION}, then install {DISTRIBUTION} again"
    )


_refuse_another()


def __getattr__(name: str) -> Any:
    if name == "zoo":
        return importlib.import_module("ablate.model.zoo")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ablate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
