"""PyTorch Lightning's Trainer at its leanest: in-memory batches, no logger, checkpoint, progress bar or evaluation."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import lightning
import torch
from interleaved import Turn, Work
from plain_net import PlainNet
from torch import Tensor, nn
from workloads import BATCH, WORKLOADS, images_of

from ablate.model.nets import build


class Classifier(lightning.LightningModule):
    """A net, cross-entropy and Adam."""

    def __init__(self, net: nn.Module, *, fused: bool) -> None:
        super().__init__()
        self.net = net
        self.fused = fused

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3, fused=self.fused)


class Shuffled:
    """An epoch of whole batches of a tensor that is already normalised: the cheapest loader there is."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y) // BATCH

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(self.y))[: len(self) * BATCH].split(BATCH):
            yield self.x[index], self.y[index]


class Stopwatch(lightning.Callback):
    """Seconds from the first batch's start to the last one's end, without the Trainer's set-up."""

    def on_train_start(self, *_: object) -> None:
        self.began = time.perf_counter()

    def on_train_end(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.began


def lightning_epochs(net: str, epochs: int, *, ours: bool, channels_last: bool, fused: bool) -> Turn:
    """Trains for ``epochs``.

    Args:
        net: name of the zoo.
        epochs: in a turn.
        ours: this project's modules; else torchvision's.
        channels_last: layout of torchvision's modules and of the images.
        fused: torch's fused Adam.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    workload = WORKLOADS[net]
    images = images_of(workload, Path(tempfile.mkdtemp(prefix="bench-")))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    shape = (1, -1, 1, 1)
    x = (images.train - torch.tensor(images.mean).view(shape)) / torch.tensor(images.std).view(shape)
    loader = Shuffled(x.contiguous(memory_format=layout), images.train_labels)
    module = build(workload.spec) if ours else PlainNet(workload.spec).to(memory_format=layout)
    classifier = Classifier(module, fused=fused)

    def turn() -> Work:
        watch = Stopwatch()
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[watch],
        )
        trainer.fit(classifier, loader)
        return Work(epochs * len(loader) * BATCH, watch.seconds)

    return turn
