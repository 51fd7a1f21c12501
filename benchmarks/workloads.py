"""The nets, data and recipes that the parts of the suite share, and the harness's side of every comparison."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from interleaved import Turn, Work
from torch import Tensor
from torch.nn import functional

from ablate.campaign.options import RunOptions
from ablate.campaign.run import run_campaign
from ablate.design.datasets import describe
from ablate.design.plan import CampaignPlan, Trial, make_plan
from ablate.design.study import DataSpec, Plan, Recipe, Study
from ablate.model.fused import with_kernels
from ablate.model.nets import build
from ablate.model.spec import NetSpec
from ablate.model.zoo import NETS
from ablate.training.data import Images, load_images
from ablate.training.feed import Feed
from ablate.training.fit import fit
from ablate.training.optim import make_optimizer
from ablate.training.processor import keep_memory, processor

BATCH = 64
ARMS = 2  # of plan_of


@dataclass(frozen=True)
class Workload:
    """A net with its data.

    Attributes:
        net: name of the zoo.
        shape: channels, height, width.
        train, test: how many images of each there are; 10 % of the former are held back.
    """

    net: str
    shape: tuple[int, int, int]
    train: int
    test: int

    @property
    def spec(self) -> NetSpec:
        return NETS[self.net]()


MNIST = Workload("mobilenet_v2_mnist", (1, 28, 28), 4000, 1000)
CIFAR = Workload("mobilenet_v2_cifar", (3, 32, 32), 1067, 128)  # 960 to train on, 15 steps an epoch
WORKLOADS = {workload.net: workload for workload in (MNIST, CIFAR)}


def data_spec(workload: Workload, folder: Path) -> DataSpec:
    """The real digits that come with the package; noise of CIFAR's shape, which costs what CIFAR costs."""
    if workload is MNIST:
        return DataSpec(name="mnist5k")
    path = folder / "noise.npz"
    if not path.exists():
        random = np.random.default_rng(0)
        channels, height, width = workload.shape
        arrays = {}
        for part, count in (("train", workload.train), ("test", workload.test)):
            arrays[f"{part}_images"] = random.integers(0, 256, (count, height, width, channels), np.uint8)
            arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8) % 10
        np.savez(path, **arrays)
    return DataSpec(name=str(path))


def images_of(workload: Workload, folder: Path) -> Images:
    return load_images(data_spec(workload, folder), folder, folder / "data")


def plan_of(
    workload: Workload, folder: Path, *, seeds: int, epochs: int, first_seed: int = 0, lr: float = 1e-3
) -> CampaignPlan:
    """A campaign of two arms that cost alike: two trials a seed."""
    study = Study(
        name="bench",
        control={"net": workload.net},
        arms={"relu_bottleneck": {"bottleneck": "relu"}},
        data=data_spec(workload, folder),
        recipe=Recipe(epochs=epochs, batch_size=BATCH, optimizer="adam", lr=lr),
        plan=Plan(seeds=seeds, first_seed=first_seed),
    )
    return make_plan(study, folder)


def seeds_of(
    workload: Workload, folder: Path, count: int, *, epochs: int = 1, lr: float = 1e-3
) -> tuple[list[Trial], Images]:
    """Seeds of one arm, and their images."""
    plan = plan_of(workload, folder, seeds=count, epochs=epochs, lr=lr)
    return [trial for trial in plan.trials if trial.arm == "control"], images_of(workload, folder)


def batches(workload: Workload) -> Iterator[tuple[Tensor, Tensor]]:
    """The same few normalised batches over and over, N C H W in memory, so that a step is timed without its data."""
    generator = torch.Generator().manual_seed(0)
    kept = [
        (torch.randn(BATCH, *workload.shape, generator=generator), torch.randint(10, (BATCH,), generator=generator))
        for _ in range(4)
    ]
    return itertools.cycle(kept)


def harness_step(net: str, steps: int, keep: bool = True, fused: bool = True) -> Turn:
    """Forward, backward and step as the training loop takes them, on batches laid out as its feed gives them.

    ``keep``: the allocator keeps what is freed, as in workers. ``fused``: the compiled kernels are used.
    """
    if keep:
        keep_memory()
    workload = WORKLOADS[net]
    model = build(workload.spec).train()
    if fused and torch.get_num_threads() == 1:
        with_kernels(model)
    optimizer = make_optimizer(model, Recipe(batch_size=BATCH, optimizer="adam", lr=1e-3))
    source = ((x.to(memory_format=torch.channels_last), y) for x, y in batches(workload))
    kept = itertools.cycle(list(itertools.islice(source, 4)))

    def turn() -> Work:
        with processor(torch.get_num_threads()):
            for x, y in itertools.islice(kept, steps):
                optimizer.zero_grad(set_to_none=True)
                functional.cross_entropy(model(x), y).backward()
                optimizer.step()
        return Work(steps * BATCH)

    return turn


def harness_epochs(net: str, epochs: int) -> Turn:
    """Training by ``fit`` itself, its data feed and loop with it; evaluation is outside its clock."""
    keep_memory()
    workload = WORKLOADS[net]
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    images = images_of(workload, folder)
    trial = plan_of(workload, folder, seeds=1, epochs=epochs).trials[0]
    steps = Feed(images, trial.recipe, 0).steps_per_epoch

    def turn() -> Work:
        record = fit(trial, images, threads=torch.get_num_threads())
        return Work(epochs * steps * BATCH, record.measured.train_s)

    return turn


def harness_campaign(net: str, epochs: int, jobs: int) -> Turn:
    """A campaign of two trials a worker, with its records, views, checkpoints and evaluation.

    Its clock runs from the first trial's start to the last one's end: what a campaign does once, however many trials
    it has (loading torch and MLflow, costing the arms), is stated by overhead.py.
    """
    workload = WORKLOADS[net]
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    pairs = 2 * -(-jobs // ARMS)  # two trials a worker
    seeds = itertools.count(0, pairs)

    def turn() -> Work:
        plan = plan_of(workload, folder, seeds=pairs, epochs=epochs, first_seed=next(seeds))
        result = run_campaign(plan, RunOptions(runs=folder / "runs", data_root=folder, jobs=jobs))
        if result.missing:
            raise RuntimeError(f"{net}: {result.failed[0].reason if result.failed else 'trials are missing'}")
        measured = [record.measured for record in result.records.values()]
        seconds = max(m.started_at + m.wall_s for m in measured) - min(m.started_at for m in measured)
        return Work(len(measured) * epochs * trained_images(plan, folder), seconds)

    return turn


def trained_images(plan: CampaignPlan, folder: Path) -> int:
    """Images of an epoch of the plan's training part, whole batches alone."""
    kept, _ = describe(plan.study.data, folder).split(plan.study.data.validation)
    return kept // BATCH * BATCH
