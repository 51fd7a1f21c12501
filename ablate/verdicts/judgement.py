"""Everything that a study's records say: the verdicts and what goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ablate.verdicts.registration import Registration
from ablate.verdicts.stability import Stability
from ablate.verdicts.tuning_luck import Sensitivity
from ablate.verdicts.verdict import Contrast, Effect, EffectChecks, FailureRate, Verdict


@dataclass(frozen=True, kw_only=True)
class SeedGain:
    """How many times as many seeds the deciding metric needs to find its difference as a co-primary one does.

    Attributes:
        ratio, low, high: with its interval at 1 - alpha; below 1 the co-primary metric needs more.
    """

    ratio: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class CoPrimaryFindings:
    """The verdicts in a co-primary metric; they share the study's family with those in the deciding one.

    Attributes:
        metric, higher_is_better, margin, unit: as declared.
        verdicts: one an arm, in the order of the plan.
        gains: arm -> the gain in seeds, where the difference was found in both metrics.
    """

    metric: str
    higher_is_better: bool
    margin: float
    unit: str
    verdicts: tuple[Verdict, ...]
    gains: Mapping[str, SeedGain] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Everything a study's records say, under the rule that was fixed before the runs.

    Attributes:
        metric, higher_is_better, alpha, margin, unit: the rule; a margin of 0 says that none was declared.
        num_seeds: seeds planned (under ``until = "settled"``: seeds run so far).
        num_contrasts: the size of the family: every arm but control and noise floor, in each metric that decides.
        stands: False when the noise floor failed or could not be checked: then every verdict is "not judged".
        verdicts: one an arm, in the order of the plan, without control and noise floor.
        noise_floor: the A/A arm's own verdict; None when the study has none. "undecided" and "equivalent" pass.
        statements: what a reader must know beside the table, the gravest first.
        divergence: arm -> (diverged, planned) seeds, for every arm, when any seed diverged; else empty.
        failure_rates: arm -> how often its training failed, the control's included.
        co_primary: the verdicts in further metrics that were declared to decide, in one family with ``verdicts``.
        exploratory: contrasts of the further metrics, unadjusted; no verdict rests on them.
        steps: where arms are built one upon another, each arm minus the arm before it, adjusted over the steps; no
            verdict rests on them.
        effects: of a factorial study, else empty.
        per_set: of runs on several data sets, the contrast of each arm on each of them, unadjusted; no verdict rests on
            one of them alone.
        effect_checks: what the table of effects leaves out; None where that cannot be tested.
        stability: of a study that asks for further levels of a field, what they say of each contrast; no verdict rests
            on it, and it has an alpha of its own. None: it asks for none.
        sensitivities: of a study that tunes, each arm's contrast at other settings; else empty.
        method: the rule in words, for the foot of the table.
        registration: whether this judgement was sealed before its trials; None where the sealed plans were not given.
        as_sealed: of an exploratory judgement, the one under the sealed plan; None where nothing was sealed.
    """

    metric: str
    higher_is_better: bool
    alpha: float
    margin: float
    num_seeds: int
    num_contrasts: int
    stands: bool
    verdicts: tuple[Verdict, ...]
    unit: str = ""
    noise_floor: Verdict | None = None
    statements: tuple[str, ...] = ()
    divergence: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    failure_rates: Mapping[str, FailureRate] = field(default_factory=dict)
    co_primary: tuple[CoPrimaryFindings, ...] = ()
    exploratory: tuple[Contrast, ...] = ()
    steps: tuple[Contrast, ...] = ()
    effects: tuple[Effect, ...] = ()
    per_set: tuple[Contrast, ...] = ()
    effect_checks: EffectChecks | None = None
    sensitivities: tuple[Sensitivity, ...] = ()
    stability: Stability | None = None
    method: str = ""
    registration: Registration | None = None
    as_sealed: Judgement | None = None

    @property
    def every_verdict(self) -> tuple[Verdict, ...]:
        """The verdicts of the whole family: in the deciding metric, then in each co-primary one."""
        return (*self.verdicts, *(one for found in self.co_primary for one in found.verdicts))

    def verdict(self, arm: str) -> Verdict:
        """The verdict of the arm of that name, the noise floor's included.

        Raises:
            KeyError: the judgement has no such arm.
        """
        every = self.verdicts if self.noise_floor is None else (*self.verdicts, self.noise_floor)
        for verdict in every:
            if verdict.arm == arm:
                return verdict
        raise KeyError(arm)
