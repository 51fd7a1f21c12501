"""The errors a user can cause. The commands print them without a traceback and exit with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class AblateError(Exception):
    """Something the user can mend; the message says what and how.

    ``resumable``: the same command resumes where this stopped it.
    """

    resumable = False


@dataclass(frozen=True)
class Problem:
    """One fault in something a user wrote: where it stands, what was found, what is allowed."""

    where: str  # a file, or the command line option
    key: str  # dotted, as written: "plan.seeds"
    message: str  # "must be at least 1, got 0"

    def __str__(self) -> str:
        return f"{self.where}: {self.key} {self.message}" if self.key else f"{self.where}: {self.message}"


class StudyError(AblateError):
    """Every problem of a study file in one answer."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SpecError(AblateError, ValueError):
    """A field of an architecture spec holds a value that is not allowed."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field} {message}")


class SpecConflictError(SpecError):
    """Fields of an architecture spec hold values that are allowed, but have no meaning together."""


class DataError(AblateError):
    """A data set is missing, damaged or of the wrong shape; the message says how to get it."""


# What other tools call something, and its name here: the first of these that is allowed where it was written.
_CALLED_HERE = {
    "learning_rate": ("lr", "recipe.lr"),
    "max_lr": ("lr", "recipe.lr"),
    "wd": ("weight_decay", "recipe.weight_decay"),
    "bs": ("batch_size", "recipe.batch_size"),
    "batch": ("batch_size", "recipe.batch_size"),
    "num_epochs": ("epochs", "recipe.epochs"),
    "scheduler": ("schedule", "recipe.schedule"),
    "augmentation": ("flip", "recipe.flip"),
    "gradient_clipping": ("grad_clip", "recipe.grad_clip"),
    "clip_grad_norm": ("grad_clip", "recipe.grad_clip"),
    "num_seeds": ("seeds", "plan.seeds"),
    "seed": ("seeds", "plan.seeds"),
    "dataset": ("name", "data.name"),
    "model": ("net", "control.net"),
    "baseline": ("control",),
    "flops": ("macs",),
    "madds": ("macs",),
    "mult_adds": ("macs",),
    "parameters": ("params",),
    "memory": ("peak_memory",),
    "hard_swish": ("hardswish",),
    "swish": ("silu",),
    "onecycle": ("one_cycle",),
    "accuracy": ("test_accuracy",),
    "loss": ("test_loss",),
}
# Names of other things, however near they are to one of ours.
_NO_TYPOS = frozenset(
    ["gelu", "elu", "selu", "celu", "mish", "prelu", "leaky_relu", "tanh", "sigmoid", "adamax", "nadam", "radam"]
)


def nearest(wrong: str, allowed: Iterable[str], *, cutoff: float = 0.5) -> str:
    """``"; did you mean 'x'?"`` for the allowed name nearest to ``wrong``, or nothing.

    A name that differs in capitals alone comes first, then what other tools call it, then the nearest spelling, which
    has to be alike by ``cutoff`` (difflib's ratio, from 0 to 1).
    """
    by_spelling: dict[str, str] = {}
    for name in allowed:
        by_spelling.setdefault(name.casefold(), name)
    spelt = wrong.casefold().replace("-", "_")
    meant = [by_spelling[name] for name in (spelt, *_CALLED_HERE.get(spelt, ())) if name in by_spelling]
    if not meant and spelt not in _NO_TYPOS:
        meant = [by_spelling[name] for name in difflib.get_close_matches(spelt, by_spelling, n=1, cutoff=cutoff)]
    return f"; did you mean {meant[0]!r}?" if meant else ""


def one_of(wrong: object, allowed: Iterable[str]) -> str:
    """``"must be one of a, b; got 'c'; did you mean 'b'?"``."""
    names = list(allowed)
    return f"must be one of {', '.join(names)}; got {wrong!r}{nearest(str(wrong), names)}"
