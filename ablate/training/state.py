"""Everything that changes while a trial trains, and its way through a checkpoint."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from ablate.design.datasets import DataInfo
from ablate.design.initial import sha256, weights_file
from ablate.design.own_block import is_ours
from ablate.design.plan import Trial
from ablate.design.record import EpochPoint, Measured
from ablate.design.study import Recipe
from ablate.errors import AblateError
from ablate.files import write_whole
from ablate.formats import build
from ablate.model.fused import with_kernels
from ablate.model.kernels import Dropout, DropPath
from ablate.model.spec import NetSpec
from ablate.model.torchvision_weights import WeightsError
from ablate.provenance import commit
from ablate.training import checkpoint
from ablate.training.frozen import stop_gradients
from ablate.training.hardware import hardware_name, versions
from ablate.training.optim import make_average, make_optimizer, set_norm_momentum
from ablate.training.own_net import build_model
from ablate.training.streams import seed_globally, stream_seed
from ablate.training.weights import LoadReport, load_weights

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.pt"


@dataclass
class Clock:
    """Seconds by what they were spent on, over all the processes that a trial took."""

    train_s: float = 0.0
    eval_s: float = 0.0
    wall_s: float = 0.0  # of earlier processes
    images: int = 0
    images_per_s: float = 0.0  # of the latest epoch
    started_at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.perf_counter)

    @contextmanager
    def training(self, images: int) -> Iterator[None]:
        """Around an epoch's steps; whoever uses a GPU waits for it inside."""
        before = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - before
            self.train_s += took
            self.images += images
            self.images_per_s = images / max(took, 1e-9)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Around an evaluation."""
        before = time.perf_counter()
        yield
        self.eval_s += time.perf_counter() - before

    def elapsed_s(self) -> float:
        """From the trial's start, without the time between its processes."""
        return self.wall_s + time.perf_counter() - self.began


@dataclass
class State:
    """A trial under way; ``curve`` has a point for every epoch done."""

    trial: Trial
    net: nn.Module
    optimizer: Optimizer
    average: AveragedModel | None
    path: Path | None
    curve: list[EpochPoint] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    resumed: int = 0

    @property
    def evaluated(self) -> nn.Module:
        """The net whose accuracy counts: the averaged one where the recipe asks for one."""
        return self.net if self.average is None else self.average.module

    def seed_dropout(self, epoch: int) -> None:
        """Starts the epoch's streams of dropout masks and of dropped paths; a foreign net draws globally."""
        if not is_ours(self.trial.spec):
            seed_globally(stream_seed(self.trial.seeds, "dropout", epoch))
        device = next(self.net.parameters()).device
        masks, paths = (
            torch.Generator(device).manual_seed(stream_seed(self.trial.seeds, stream, epoch))
            for stream in ("dropout", "drop_path")
        )
        for module in self.net.modules():
            if isinstance(module, Dropout | DropPath):
                module.generator = masks if isinstance(module, Dropout) else paths

    def save(self) -> None:
        """Keeps the state after an epoch, if there is a folder for it."""
        if self.path is None:
            return
        state = {
            "key": self.trial.key,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "curve": [dataclasses.asdict(point) for point in self.curve],
            "notes": self.notes,
            "clock": dataclasses.asdict(self.clock) | {"wall_s": self.clock.elapsed_s()},
            "resumed": self.resumed,
        }
        checkpoint.save(self.path, state)

    def restore(self, saved: dict[str, Any]) -> None:
        """Resumes from what ``save`` kept."""
        self.net.load_state_dict(saved["net"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.curve = [build(EpochPoint, point, "checkpoint") for point in saved["curve"]]
        self.notes = list(saved["notes"])
        self.clock = Clock(**(saved["clock"] | {"began": self.clock.began}))
        self.resumed = saved["resumed"] + 1

    def keep_weights(self, path: Path) -> None:
        """Writes the evaluated net's state dict, for ``torch.load(path, weights_only=True)``.

        Raises:
            AblateError: the file cannot be written.
        """
        content = io.BytesIO()
        torch.save({name: tensor.cpu() for name, tensor in self.evaluated.state_dict().items()}, content)
        try:
            write_whole(path, content.getvalue())
        except OSError as error:
            raise AblateError(f"{path}: the weights cannot be written ({error.strerror or error})") from error

    def measured(
        self, *, device: str, threads: int, kernels: str, peak_bytes: int, settings: tuple[str, ...]
    ) -> Measured:
        """What the clock and the machine said."""
        return Measured(
            train_s=self.clock.train_s,
            eval_s=self.clock.eval_s,
            wall_s=self.clock.elapsed_s(),
            images_per_s=self.clock.images / max(self.clock.train_s, 1e-9),
            peak_bytes=peak_bytes,
            device=device,
            threads=threads,
            kernels=kernels,
            settings=settings,
            hardware=hardware_name(device),
            commit=commit(),
            started_at=self.clock.started_at,
            resumed=self.resumed,
            versions=versions(),
        )


def start(
    trial: Trial,
    info: DataInfo,
    *,
    device: str,
    folder: Path | None,
    native: bool = False,
    init_file: Path | None = None,
) -> State:
    """The trial as its folder's checkpoint has it, or from its initial weights; on compiled kernels if ``native``.

    A checkpoint that cannot be used is set aside, which the record's notes say; the trial then starts again.

    Raises:
        WeightsError: the recipe starts from a file of weights that cannot be used, or is not the one of the plan.
    """
    path = None if folder is None else folder / CHECKPOINT
    if path is None or not path.exists():
        return _begun(trial, info, device, path, native, init_file)
    try:
        saved = checkpoint.load(path, key=trial.key, device=device)
    except checkpoint.DamagedError as error:
        state = _begun(trial, info, device, path, native, init_file)
        aside = checkpoint.set_aside(path)
        state.notes.append(f"started again from the first epoch: {error}; set aside as {aside.name}")
        return state
    state = _fresh(trial, info, device, path, native)
    state.restore(saved)
    return state


def _begun(trial: Trial, info: DataInfo, device: str, path: Path | None, native: bool, init_file: Path | None) -> State:
    """Before its first step: with initial weights, those of a file laid over them where the recipe names one."""
    state = _fresh(trial, info, device, path, native)
    if trial.recipe.init_from:
        report = _loaded(state.net, trial, init_file)
        print(report)  # noqa: T201 - to the trial's log, whole
        state.notes.append(f"started from {trial.recipe.init_from}: {report.sentence}")
        state.average = make_average(state.net, trial.recipe)
    return state


def _loaded(net: nn.Module, trial: Trial, file: Path | None) -> LoadReport:
    recipe = trial.recipe
    path = file or weights_file(recipe.init_from)
    if recipe.init_sha256 and (found := sha256(path)) != recipe.init_sha256:
        raise WeightsError(
            f"{path}: has sha256 {found}, but the plan was made for {recipe.init_sha256}; plan again if the file was "
            "changed on purpose"
        )
    return load_weights(net, path)


def _fresh(trial: Trial, info: DataInfo, device: str, path: Path | None, native: bool) -> State:
    # drawn on the CPU, so that every device starts from the same weights
    net = build_model(trial.spec, info, trial.seeds).to(device)
    if isinstance(trial.spec, NetSpec) or trial.recipe.bn_momentum != Recipe().bn_momentum:
        set_norm_momentum(net, trial.recipe)  # a net of the user's own keeps its own, unless the recipe says otherwise
    stop_gradients(net, trial.recipe.freeze)
    if native:
        with_kernels(net)
    return State(
        trial=trial,
        net=net,
        optimizer=make_optimizer(net, trial.recipe),
        average=make_average(net, trial.recipe),
        path=path,
    )
