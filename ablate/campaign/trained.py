"""One trained net of a study: the one that is there, else trained now as the study's campaign would train it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.campaign.api import net_of, one_named
from ablate.campaign.check import forget
from ablate.campaign.options import Observer, RunOptions
from ablate.campaign.planning import planned
from ablate.campaign.records import RecordStore
from ablate.campaign.run import run_campaign
from ablate.campaign.schedule import unfold
from ablate.design.plan import CONTROL, CampaignPlan, Trial
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.errors import AblateError

if TYPE_CHECKING:
    from torch.nn import Module


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201


@dataclass(frozen=True, kw_only=True)
class TrainedNet:
    """A trial and the file of its weights."""

    plan: CampaignPlan
    trial: Trial
    weights: Path

    def load(self) -> Module:
        """The net in eval mode on the CPU."""
        return net_of(self.trial, self.plan.data, self.weights)


def keeping(study: Study) -> Study:
    """The study as one that keeps its weights: its trials have the same keys.

    Raises:
        AblateError: its trials are trained by code of the user's own, so there is no net to load.
    """
    if study.own_training:
        by = "trainer" if study.trainer else "command"
        raise AblateError(
            f"study {study.name!r}: {by} is code of your own, so there is no net that can be loaded here; this takes "
            "studies whose [control] names a net"
        )
    return study.model_copy(update={"keep_weights": True})


def kept_nets(study: Study, arm: str, options: RunOptions) -> list[TrainedNet]:
    """The trained nets of an arm whose weights were kept, in the order of their seeds.

    Raises:
        AblateError: there is no such arm, or the study cannot be planned.
    """
    return _kept(_planned(study, options), arm, options)


def _kept(plan: CampaignPlan, arm: str, options: RunOptions) -> list[TrainedNet]:
    one_named("arm", arm, [one.name for one in plan.arms])
    store = RecordStore(options.runs, plan.study.name)
    found = (TrainedNet(plan=plan, trial=one, weights=store.weights(one.key)) for one in plan.arm_trials(arm))
    return [one for one in found if one.weights.is_file() and store.path(one.trial.key).is_file()]


def load_net(study: Study, arm: str = CONTROL, seed: int | None = None, options: RunOptions | None = None) -> Module:
    """Loads the trained net of one trial, in eval mode on the CPU. The net takes normalised images N C H W.

    Args:
        study: as loaded.
        arm: which arm.
        seed: which seed; None: the first whose weights were kept.
        options: the runs folder; None: the default.

    Raises:
        AblateError: there is no such arm or seed, or the trial kept no weights.

    Example:
        >>> import ablate
        >>> study = ablate.load_study("linear_bottleneck", overrides={"data.name": "synthetic", "recipe.epochs": 1})
        >>> frame = ablate.predictions(study, "relu_bottleneck", test=[0])  # trains a net, keeps its weights
        >>> ablate.load_net(study, "relu_bottleneck", seed=0).spec.num_classes
        4
    """
    return trained_net(study, arm, seed, options, train=False).load()


def trained_net(
    study: Study,
    arm: str = CONTROL,
    seed: int | None = None,
    options: RunOptions | None = None,
    *,
    train: bool = True,
    say: Callable[[str], None] = _to_stderr,
    observer: Observer | None = None,
) -> TrainedNet:
    """A trained net of an arm, trained now where none was kept.

    Args:
        study: as loaded.
        arm: which arm.
        seed: which seed; None: the first whose weights were kept, else the first.
        options: the runs folder and how to train; None: the defaults.
        train: whether a missing one is trained.
        say: told what is trained; by default standard error.
        observer: told how the training goes.

    Raises:
        AblateError: there is no such arm or seed, nothing was trained and ``train`` is false, or the trial failed.
    """
    how = options or RunOptions()
    plan = _planned(study, how, say)
    kept = _kept(plan, arm, how)
    trials = {trial.seed: trial for trial in plan.arm_trials(arm)}
    if seed is None:
        seed = kept[0].trial.seed if kept else min(trials)
    trial = trials[int(one_named("seed", str(seed), map(str, trials)))]
    if here := [one for one in kept if one.trial.key == trial.key]:
        return here[0]
    if not train:
        raise AblateError(
            f"{how.runs}: {arm}, seed {seed} of study {study.name!r} was not trained with its weights kept; "
            f"python -m ablate.predict {study.name} {arm} --seed {seed} trains it now"
        )
    weights = RecordStore(how.runs, study.name).weights(trial.key)
    _train(plan, trial, how, say, observer)
    if not weights.is_file():
        record = RecordStore(how.runs, study.name).read(trial.key)
        reason = record.reason.splitlines()[0] if record and record.reason else "it has no record"
        raise AblateError(f"{arm}, seed {seed} of study {study.name!r} could not be trained: {reason}")
    return TrainedNet(plan=plan, trial=trial, weights=weights)


def _planned(study: Study, options: RunOptions, say: Callable[[str], None] = lambda _: None) -> CampaignPlan:
    """The plan with each arm's own recipe, where the study tunes them.

    Raises:
        AblateError: the tuning or the search was not run to its end.
    """
    store = RecordStore(options.runs, study.name)

    def read(keys: list[str]) -> dict[str, Record]:
        found = {key: store.read(key) for key in keys}
        return {key: record for key, record in found.items() if record is not None}

    plan = planned(keeping(study), options.data_root, say)
    if not study.explores:
        return plan
    schedule, _ = unfold(plan, read)
    if schedule.to_come or not any(trial.phase == "confirm" for trial in schedule.trials):
        raise AblateError(
            f"study {study.name!r} {'searches' if study.searched else 'tunes each arm'} first; run it: "
            f"python -m ablate.study {study.name} --set keep_weights=true"
        )
    return schedule.plan


def _train(
    plan: CampaignPlan, trial: Trial, options: RunOptions, say: Callable[[str], None], observer: Observer | None
) -> None:
    name = f"{trial.arm}, seed {trial.seed}"
    say(f"{name} has no kept weights: it is trained now, as the study {trial.study!r} trains it.")
    for _ in range(2):  # a record without weights may also come from MLflow
        if forget(plan, options, [f"{trial.arm}:{trial.seed}"]):
            say(f"{name} has a record without weights, which is set aside")
        original = planned(plan.study, options.data_root) if plan.study.explores else plan
        result = run_campaign(original, options, observer=observer, only={trial.key})
        if result.trained or RecordStore(options.runs, trial.study).weights(trial.key).is_file():
            return
