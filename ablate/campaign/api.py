"""Reads a campaign from a runs folder: its plan, its records, its trained nets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.campaign.options import CampaignResult, RunOptions
from ablate.campaign.planning import planned
from ablate.campaign.records import RecordStore, plan_path, sealed_plans, writable
from ablate.design.datasets import DataInfo
from ablate.design.plan import CampaignPlan, Trial
from ablate.design.record import Record
from ablate.design.sealed import SealedPlan
from ablate.design.study import Study
from ablate.errors import AblateError, one_of
from ablate.files import write_whole

if TYPE_CHECKING:
    from torch.nn import Module


def plan(study: Study, *, data_root: Path | None = None) -> CampaignPlan:
    """Plans the arms and trials of a study.

    Args:
        study: as loaded.
        data_root: the folder of data sets; None: the default.

    Raises:
        StudyError, DataError: the arms or the data cannot be used.

    Example:
        >>> import ablate
        >>> planned = ablate.plan(ablate.load_study("linear_bottleneck"))
        >>> [arm.name for arm in planned.arms], len(planned.trials)
        (['control', 'relu_bottleneck'], 16)
    """
    return planned(study, data_root)


def net_of(trial: Trial, data: DataInfo, weights: Path) -> Module:
    """The net of a trial with the weights that it kept, in eval mode on the CPU."""
    import torch

    from ablate.training.own_net import build_model

    net = build_model(trial.spec, data, trial.seed)
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return net.eval()


def one_named(what: str, value: str, allowed: Iterable[str]) -> str:
    """``value``, where it is one of the names that are allowed; else an AblateError that lists them."""
    names = list(allowed)
    if value not in names:
        raise AblateError(f"the {what} {one_of(value, names)}")
    return value


def load(options: RunOptions, study: str, digest: str | None = None) -> CampaignResult:
    """A campaign as the runs folder holds it; where it holds none, it is pulled from MLflow. Trains nothing.

    Neither the study file nor torch is needed.

    Args:
        options: the runs folder, and MLflow's address.
        study: its name.
        digest: which campaign, by the first of its 16 hex digits; None: the newest.

    Raises:
        AblateError: there is no such campaign.
    """
    from ablate.campaign.prepare import known_costs
    from ablate.campaign.schedule import unfold

    found = [one for one in sealed_plans(options.runs, study) if one.plan.study.digest.startswith(digest or "")]
    if not found:
        found = _pulled(options, study, digest)
    if not found:
        which = f" {digest}" if digest else ""
        raise AblateError(f"{options.runs}: holds no campaign{which} of the study {study!r}; run the study first")
    store = RecordStore(options.runs, study)
    here = store.keys()

    def read(keys: list[str]) -> dict[str, Record]:
        records = {key: _sound(store, key) for key in keys if key in here}
        return {key: record for key, record in records.items() if record is not None}

    schedule, records = unfold(found[-1].plan, read)
    costs, _ = known_costs(schedule.plan, options.cache / "costs", records)
    return CampaignResult(
        plan=schedule.plan, needed=tuple(trial.key for trial in schedule.trials), records=records, costs=costs
    )


def _sound(store: RecordStore, key: str) -> Record | None:
    try:
        return store.read(key)
    except AblateError:
        return None


def _pulled(options: RunOptions, study: str, digest: str | None) -> list[SealedPlan]:
    """The campaign's sealed plan from MLflow, its records written to the runs folder; empty where MLflow has none."""
    from ablate.campaign.mlflow_view import MlflowView
    from ablate.campaign.schedule import unfold

    view, store = MlflowView(options.mlflow_uri, options.runs), RecordStore(options.runs, study)
    text = view.pull_plan(study, digest) if view.store.exists else ""
    if not text:
        return []
    sealed = SealedPlan.from_json(text)

    def read(keys: list[str]) -> dict[str, Record]:
        for key, content in view.pull(study, keys).items():
            store.accept(key, content)
        return {key: record for key in keys if (record := _sound(store, key)) is not None}

    with writable(options.runs):
        write_whole(plan_path(options.runs, sealed.plan.study), text.encode())
        unfold(sealed.plan, read)
    return [sealed]
