"""What is made ready before the first trial: the data, then what each arm costs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from ablate.campaign.local import run_in_subprocess
from ablate.campaign.options import ArmCosts, RunOptions
from ablate.campaign.resources import Layout
from ablate.design.arm_cost import estimated_cost
from ablate.design.datasets import KNOWN, DataInfo
from ablate.design.identity import digest
from ablate.design.imported import Imported, Model
from ablate.design.initial import weights_file
from ablate.design.own_block import is_ours, residual_of
from ablate.design.own_training import OwnTraining
from ablate.design.plan import CONTROL, NOISE_FLOOR, Arm, CampaignPlan
from ablate.design.record import Record
from ablate.design.study import DataSpec
from ablate.errors import AblateError
from ablate.files import read_whole, write_whole
from ablate.formats import LARGEST, parse
from ablate.measure.cost import Cost, cost
from ablate.model.spec import NetSpec
from ablate.model.torchvision_weights import WeightsError

if TYPE_CHECKING:
    from torch.nn import Module

FORMAT = 1
ArmCost = dict[str, float | int | None]
Say = Callable[[str], None]
Prepare = Callable[[CampaignPlan, RunOptions, Layout, Say], ArmCosts]


def prepare_campaign(plan: CampaignPlan, options: RunOptions, layout: Layout, say: Say) -> ArmCosts:
    """Data made ready and costs measured, without loading torch into this process.

    Raises:
        AblateError: the data cannot be had, or two counters disagree about a cost.
    """
    return run_in_subprocess(_prepare, plan, options, layout, say=say, threads=layout.threads)


def _prepare(plan: CampaignPlan, options: RunOptions, layout: Layout, say: Say) -> ArmCosts:
    if plan.study.own_training:
        return _prepare_own(plan)
    import torch

    from ablate.model.fused import absence
    from ablate.training.data import prepare

    reason = absence()  # whatever the device: what $ABLATE_KERNELS must not say is told here
    if reason and layout.device == "cpu" and layout.threads == 1:
        say(f"{reason}: torch's own kernels train, which takes longer (docs/performance.md).")
    every = (plan, *(at.plan for at in plan.levels))
    for data in _distinct(arm.data for one in every for arm in one.arms):
        prepare(data, options.data_root, options.cache / "data", report=say)
    _check_weights(plan, options, say)
    device = layout.device
    if device == "cuda" and not torch.cuda.is_available():  # the nodes of a cluster have what this machine lacks
        say("This machine has no GPU, so that latencies are those of its processor.")
        device = "cpu"
    return measure_costs(plan, options.cache / "costs", device, layout.threads, say)


def _distinct(specs: Iterable[DataSpec]) -> Iterable[DataSpec]:
    """A known data set once; one of the user's own once for each share of it, which may be too small."""
    return {spec.name if spec.name in KNOWN else spec: spec for spec in specs}.values()


def _prepare_own(plan: CampaignPlan) -> ArmCosts:
    """Imports a trainer once, so that one that cannot be called is told before any trial starts."""
    from ablate.training.own import check_trainer

    if isinstance(plan.control.spec, OwnTraining):
        check_trainer(plan.control.spec)
    return {}


def reported_costs(plan: CampaignPlan, records: Mapping[str, Record]) -> ArmCosts:
    """What training of the user's own says that it costs: those of its metrics that are called as a cost, their means.

    An arm that never said has none.
    """
    names = [field.name for field in dataclasses.fields(Cost)]
    found: ArmCosts = {}
    for arm in plan.arms:
        held = [records[trial.key].metrics for trial in plan.arm_trials(arm.name) if trial.key in records]
        values = {name: [metrics[name] for metrics in held if name in metrics] for name in names}
        found[arm.name] = {name: fmean(given) for name, given in values.items() if given and all(map(isfinite, given))}
    return found


def _check_weights(plan: CampaignPlan, options: RunOptions, say: Say) -> None:
    """Loads the weights that arms start from into their nets, once each, and says what was loaded.

    Raises:
        WeightsError: a file cannot be used.
    """
    from ablate.training.own_net import build_model
    from ablate.training.weights import load_weights

    for arm in plan.arms:
        if name := arm.recipe.init_from:
            try:
                report = load_weights(build_model(arm.spec, plan.data, 0), weights_file(name, options.data_root))
            except WeightsError as error:
                raise WeightsError(f"study {plan.study.name}: recipe.init_from of arm {arm.name}: {error}") from error
            say(f"{arm.name} starts from {name}: {report.sentence}")


def measure_costs(plan: CampaignPlan, folder: Path, device: str, threads: int, say: Say) -> ArmCosts:
    """The costs of every arm, by name; each is kept in ``folder`` and measured once.

    Raises:
        CostError: two counters disagree.
    """
    paths = {arm.name: _path(plan, arm, folder, device, threads) for arm in plan.arms}
    missing = [arm for arm in plan.arms if _kept(paths[arm.name]) is None]
    if missing:
        say(f"measuring what {'the arm costs' if len(missing) == 1 else f'{len(missing)} arms cost'}")
        for name, measured in arm_costs(missing, plan.data, device, threads, say).items():
            write_whole(paths[name], json.dumps(dataclasses.asdict(measured)).encode())
    found = {arm: _kept(paths[arm.name]) for arm in plan.arms}
    return {arm.name: _as_trained(arm, kept) for arm, kept in found.items() if kept is not None}


def arm_costs(arms: Sequence[Arm], data: DataInfo, device: str, threads: int, say: Say) -> dict[str, Cost]:
    """Counted, checked against two other counters, and timed in turns; loads torch, and imports the user's own nets.

    Raises:
        CostError: two counters disagree about a net of ours.
        AblateError: a net of the user's own cannot be made, or does not answer images with logits.
    """
    from ablate.measure.latency import with_latency

    shape = (data.channels, data.height, data.width)
    specs: dict[str, NetSpec | Module] = {}
    counted: dict[str, Cost] = {}
    for arm in arms:
        recipe = arm.recipe
        if is_ours(arm.spec):
            specs[arm.name] = arm.spec
            counted[arm.name] = cost(arm.spec, shape, batch_size=recipe.batch_size, optimizer=recipe.optimizer)
        else:
            specs[arm.name], counted[arm.name] = _own_net(arm, data, say)
    _say_shared(arms, specs, say)
    sizes = {arm.name: arm.recipe.batch_size for arm in arms}
    return with_latency(counted, specs, shape, batch_sizes=sizes, device=device, threads=threads)


def _own_net(arm: Arm, data: DataInfo, say: Say) -> tuple[Module, Cost]:
    """The net of an arm that imports it, with its cost; says what the counters have to say."""
    from ablate.measure.modules import module_cost
    from ablate.training.own_net import answer, build_model

    try:
        net = build_model(arm.spec, data, 0)
        answer(net, arm.spec, data)
    except AblateError as error:
        raise AblateError(f"arm {arm.name}: {error}") from error
    shape, recipe = (data.channels, data.height, data.width), arm.recipe
    counted, remarks = module_cost(net, shape, batch_size=recipe.batch_size, optimizer=recipe.optimizer)
    for remark in remarks:
        say(f"cost of {arm.name} ({_own_path(arm.spec)}): {remark}")
    return net, counted


def _own_path(model: Model) -> str:
    if isinstance(model, Imported):
        return model.path
    return residual_of(model)


def _say_shared(arms: Sequence[Arm], nets: Mapping[str, NetSpec | Module], say: Say) -> None:
    """How many tensors of each imported net start as the control's do, under one seed."""
    control = nets.get(CONTROL)
    if control is None or isinstance(control, NetSpec):
        return
    own = control.state_dict()
    for arm in arms:
        net = nets[arm.name]
        if arm.name in (CONTROL, NOISE_FLOOR) or isinstance(net, NetSpec):
            continue
        state = net.state_dict()
        alike = [name for name, value in state.items() if name in own and value.shape == own[name].shape]
        same = sum(bool((state[name] == own[name]).all()) for name in alike)
        of = f"{same} of the {len(alike)} tensors that it shares with the control by name and shape"
        say(f"{arm.name} starts, under one seed, with the same numbers in {of}; it has {len(state)}")


def known_costs(plan: CampaignPlan, folder: Path, records: dict[str, Record]) -> tuple[ArmCosts, bool]:
    """The costs without measuring anything, and whether all of them were measured before.

    What was not measured here is counted by arithmetic, which leaves latency out. Torch is not loaded.
    """
    if plan.study.own_training:
        return reported_costs(plan, records), True
    data = plan.data
    threads = {record.measured.threads for record in records.values()}
    places = [(device, number) for device in ("cuda", "cpu") for number in sorted(threads)]
    found: ArmCosts = {}
    whole = True
    for arm in plan.arms:
        kept = next((cost for place in places if (cost := _kept(_path(plan, arm, folder, *place)))), None)
        if kept is None:
            whole = False
            counted = estimated_cost(arm, data)
            kept = dataclasses.asdict(counted) if counted else None
        if kept is not None:
            found[arm.name] = _as_trained(arm, kept)
    return found, whole


def _as_trained(arm: Arm, kept: ArmCost) -> ArmCost:
    """The costs of training are those of a step that trains the whole net: unknown for an arm that freezes a part."""
    return {**kept, "train_flops": None, "train_peak_bytes": None} if arm.recipe.freeze else kept


def _path(plan: CampaignPlan, arm: Arm, folder: Path, device: str, threads: int) -> Path:
    recipe = arm.recipe
    asked = [FORMAT, arm.spec.to_dict(), dataclasses.asdict(plan.data), recipe.batch_size, recipe.optimizer]
    return folder / f"{digest([*asked, device, threads])}.json"


def _kept(path: Path) -> ArmCost | None:
    try:
        plain = parse(read_whole(path))
    except (OSError, ValueError, AblateError):
        return None
    return plain if isinstance(plain, dict) and all(map(_is_cost, plain.values())) else None


def _is_cost(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value < LARGEST)
