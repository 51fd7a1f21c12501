"""What a study file says of a search: the ranges among its factors, and the table ``[search]``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ablate.design.noun import Noun, Range

Sampler = Literal["tpe", "nsga2", "random"]
Against = Literal["macs", "params", "latency"]
Pruner = Literal["none", "successive_halving", "hyperband"]
MOST_CONFIRMED = 64


class Span(Range):
    """A factor of a search that is a range: ``{ low = 0.001, high = 0.03, log = true }``."""

    step: float | None = Field(default=None, gt=0, description="tries low, low + step, ... only; not with log")


class Search(Noun):
    """How the space of ``[factors]`` is searched, and how many of its candidates are confirmed.

    Candidates are scored on the validation images, with seeds of their own. The first candidate is the control.
    """

    trials: int | None = Field(
        default=None, ge=3, le=10_000, description="candidates that are tried, the control among them"
    )
    sampler: Sampler = Field(
        default="tpe",
        description="tpe: led by the scores; nsga2: by the scores and a cost; random: the same whatever the scores",
    )
    against: Against | None = Field(
        default=None, description='nsga2: the cost that the score is traded against; not written: "macs"'
    )
    confirm: int = Field(
        default=3,
        ge=1,
        le=MOST_CONFIRMED,
        description="candidates that are confirmed: the best ones, with nsga2 members of the Pareto front",
    )
    seeds: int = Field(default=1, ge=1, le=1_000, description="search seeds that each candidate is trained with")
    at_once: int = Field(
        default=4,
        ge=1,
        le=1_000,
        description="tpe, nsga2: candidates tried at a time; the sampler gets their scores in their order",
    )
    pruner: Pruner = Field(default="none", description="which candidates are trained with fewer epochs only")
    min_epochs: int = Field(default=1, ge=1, le=100_000, description="with a pruner: the fewest epochs of a candidate")
    reduction: int = Field(
        default=3, ge=2, le=10, description="with a pruner: one in this many candidates gets this many times the epochs"
    )

    @model_validator(mode="after")
    def _goes_together(self) -> Search:
        if self.against is not None and self.sampler != "nsga2":
            raise ValueError(f'against needs sampler = "nsga2", got {self.sampler!r}')
        if self.sampler == "nsga2" and self.pruner != "none":
            raise ValueError('pruner does not go with sampler = "nsga2": a cost cannot stop a candidate early')
        for name in ("min_epochs", "reduction"):
            if self.pruner == "none" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} needs a pruner: successive_halving or hyperband")
        if self.sampler == "random" and self.at_once != type(self).model_fields["at_once"].default:
            raise ValueError('at_once is not read with sampler = "random": all candidates are known beforehand')
        if self.trials is not None and self.confirm >= self.trials:
            message = f"confirm must be below trials = {self.trials}, one of which is the control"
            raise ValueError(f"{message}; got {self.confirm}")
        return self

    @property
    def cost(self) -> Against:
        """The cost that candidates are shown against, and traded against where the sampler does."""
        return self.against or "macs"
