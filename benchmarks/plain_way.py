"""The training loop as most people would write it: the reference that the harness is compared with.

A data set of PIL images with torchvision's transforms image by image, a DataLoader, N C H W, torchvision's own modules,
Adam, an evaluation after each epoch and a test at the end.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from interleaved import Turn, Work
from PIL import Image
from plain_net import PlainNet
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from workloads import BATCH, WORKLOADS, batches, images_of


class ImageList(Dataset[tuple[Tensor, int]]):
    """Written as torchvision's MNIST and CIFAR10 are: an array, and an image made of an item when it is asked for."""

    def __init__(self, data: Tensor, labels: Tensor, mean: list[float], std: list[float]) -> None:
        self.data = data.permute(0, 2, 3, 1).squeeze(3).numpy()
        self.labels = labels.tolist()
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.labels[index]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, loader: Iterable[tuple[Tensor, Tensor]]) -> int:
    """One pass; how many images it saw."""
    model.train()
    seen = 0
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        seen += len(x)
    return seen


@torch.no_grad()
def evaluate(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share of images that are right."""
    model.eval()
    right = total = 0
    for x, y in loader:
        right += int((model(x).argmax(1) == y).sum())
        total += len(y)
    return right / total


def plain_step(net: str, steps: int) -> Turn:
    """Forward, backward and step alone, on prepared N C H W batches."""
    workload = WORKLOADS[net]
    model = PlainNet(workload.spec)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    kept = batches(workload)
    return lambda: Work(train(model, optimizer, itertools.islice(kept, steps)))


def plain_trial(net: str, epochs: int, workers: int) -> Turn:
    """A whole trial, with ``workers`` processes of the DataLoader."""
    workload = WORKLOADS[net]
    images = images_of(workload, Path(tempfile.mkdtemp(prefix="bench-")))
    scale = [m / 255 for m in images.mean], [s / 255 for s in images.std]
    context = "fork" if workers else None

    def loader(data: Tensor, labels: Tensor, *, shuffle: bool) -> DataLoader[tuple[Tensor, int]]:
        listed = ImageList(data, labels, *scale)
        return DataLoader(
            listed, BATCH, shuffle=shuffle, drop_last=shuffle, num_workers=workers, multiprocessing_context=context
        )

    def turn() -> Work:
        model = PlainNet(workload.spec)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        training = loader(images.train, images.train_labels, shuffle=True)
        seen = 0
        for _ in range(epochs):
            seen += train(model, optimizer, training)
            evaluate(model, loader(images.val, images.val_labels, shuffle=False))
        evaluate(model, loader(images.test, images.test_labels, shuffle=False))
        return Work(seen)

    return turn
