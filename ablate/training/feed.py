"""Batches of a trial: shuffled, augmented and normalised, in whole tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ablate.design.study import Recipe
from ablate.design.trial import Seeds
from ablate.training.augment import Draws, crop, erased, pad, rand_augmented
from ablate.training.data import Images
from ablate.training.mixing import mix
from ablate.training.streams import generator, stream_seed

# Large enough to keep the processor busy, small enough that a worker's peak memory stays that of training.
EVAL_BATCH = 256


class Feed:
    """The data of one trial on its device.

    Training batches all have ``recipe.batch_size`` images: what is left of an epoch after the last whole one is
    dropped (each epoch drops other images), so that every step weighs alike and batch norm never sees a rump.
    A training part smaller than a batch is one batch.
    """

    def __init__(self, images: Images, recipe: Recipe, seed: int | Seeds, device: str = "cpu") -> None:
        self.images = images.to(device)
        self.seed = seed
        self.device = device
        self.recipe = recipe
        self.num_train = len(images.train_labels)
        self.batch_size = min(recipe.batch_size, self.num_train)
        self.steps_per_epoch = self.num_train // self.batch_size
        self.augmented = bool(recipe.crop_padding or recipe.flip)
        self._train = pad(self.images.train, recipe.crop_padding) if recipe.crop_padding else self.images.train
        std = torch.tensor(images.std, device=device).view(-1, 1, 1)
        self._scale = 1 / std
        self._shift = -torch.tensor(images.mean, device=device).view(-1, 1, 1) / std

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of float images B C H W, mean 0 and deviation 1 a channel, and labels B, or targets B K if mixed."""
        labels, recipe = self.images.train_labels, self.recipe
        order = torch.randperm(self.num_train, generator=generator(self.seed, "order", epoch)).to(labels.device)
        draws = Draws.sample(
            self.num_train,
            padding=recipe.crop_padding,
            flip=recipe.flip,
            generator=generator(self.seed, "augmentation", epoch),
        ).to(labels.device)
        erasing = generator(self.seed, "erasing", epoch)
        mixing = np.random.default_rng(stream_seed(self.seed, "mixing", epoch))
        first_seed = stream_seed(self.seed, "rand_augment", epoch)
        for step, index in enumerate(order[: self.steps_per_epoch * self.batch_size].split(self.batch_size)):
            if self.augmented:
                batch = crop(self._train, index, draws, padding=recipe.crop_padding)
            else:
                batch = self._train[index]
            if recipe.rand_augment:
                batch = rand_augmented(batch, recipe.rand_augment, first_seed + step)
            batch = self.normalise(batch)
            if recipe.random_erasing:
                batch = erased(batch, recipe.random_erasing, erasing)
            yield mix(batch, labels[index], recipe, self.images.info.num_classes, mixing)

    def whole(self, images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, as they are, in large batches."""
        for some, their_labels in zip(images.split(EVAL_BATCH), labels.split(EVAL_BATCH), strict=True):
            yield self.normalise(some), their_labels

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 to float in one operation, channels_last kept."""
        return torch.addcmul(self._shift, images, self._scale)
