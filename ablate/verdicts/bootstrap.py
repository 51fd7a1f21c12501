"""Two sources of noise at once: new seeds and new test images.

The paired t interval answers for new seeds on these test images. From the kept predictions comes an interval for new
images as well: a bootstrap over seeds and images, crossed (Owen 2007, The pigeonhole bootstrap, Ann. Appl. Stat. 1).
Such a bootstrap counts the seed-by-image part three times over, and its percentiles are too narrow for a handful of
seeds; so its deviations are scaled to the variance from the components of a two-way layout without replication, and to
Student's t at the degrees of freedom of Satterthwaite 1946.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablate.verdicts.stats import Floats, Interval, t_quantile

RESAMPLES = 1_000


@dataclass(frozen=True)
class Components:
    """Variance of the mean of an array (seeds, images), by source.

    Attributes:
        seeds: what only more seeds would remove.
        images: what only more test images would remove.
        both: what more seeds would remove and more test images as well: that images are right with one seed and wrong
            with another.
        df: Satterthwaite's degrees of freedom of their sum.
    """

    seeds: float
    images: float
    both: float
    df: float

    @property
    def total(self) -> float:
        """Variance of the mean difference for new seeds and new images."""
        return self.seeds + self.images + self.both

    def share_of(self, source: Literal["seeds", "images", "both"]) -> float:
        """Share (0 to 1) of the variance that comes from a source; 0 when there is no variance."""
        part: float = getattr(self, source)
        return part / self.total if self.total > 0 else 0.0


@dataclass(frozen=True)
class Crossed:
    """The interval for new seeds and new images, and where the variance comes from."""

    interval: Interval
    components: Components


def components(differences: Floats) -> Components:
    """Variance components of ``differences`` (seeds, images); both at least 2.

    Var(mean) = (MS_seeds + MS_images - MS_rest) / (seeds x images): MS_seeds - MS_rest from the seeds, MS_images -
    MS_rest from the images, each at least 0, and MS_rest from seeds by images.
    """
    num_seeds, num_images = differences.shape
    mean = float(differences.mean())
    by_seed, by_image = differences.mean(axis=1), differences.mean(axis=0)
    ms_seeds = num_images * float(((by_seed - mean) ** 2).sum()) / (num_seeds - 1)
    ms_images = num_seeds * float(((by_image - mean) ** 2).sum()) / (num_images - 1)
    rest = differences - by_seed[:, None] - by_image[None, :] + mean
    ms_rest = float((rest**2).sum()) / ((num_seeds - 1) * (num_images - 1))
    cells = num_seeds * num_images
    parts = (ms_seeds**2 / (num_seeds - 1), ms_images**2 / (num_images - 1), ms_rest**2 / cells)
    seeds, images = max(ms_seeds - ms_rest, 0.0), max(ms_images - ms_rest, 0.0)
    estimate = seeds + images + ms_rest
    df = estimate**2 / sum(parts) if sum(parts) > 0 else math.inf
    return Components(seeds / cells, images / cells, ms_rest / cells, max(df, num_seeds - 1.0))


def crossed(arm: NDArray[np.bool_], control: NDArray[np.bool_], *, confidence: float = 0.95, seed: int = 0) -> Crossed:
    """Interval of the accuracy difference, arm minus control, for new seeds and new images.

    Args:
        arm: whether each image was classified correctly, (seeds, images).
        control: the same for the control, with the same seeds and images.
        confidence: of the interval.
        seed: of the resampling.

    Raises:
        ValueError: the shapes differ, or there are fewer than two seeds or two images.
    """
    if arm.shape != control.shape or arm.ndim != 2 or min(arm.shape) < 2:
        raise ValueError(
            f"two arrays (seeds, images), 2 x 2 or larger, are needed, got {arm.shape} and {control.shape}"
        )
    differences = arm.astype(np.float64) - control.astype(np.float64)
    found = components(differences)
    mean = float(differences.mean())
    if found.total == 0:
        return Crossed(Interval(mean, mean), found)
    seed_weights, image_weights = _weights(*arm.shape, seed)
    sums = image_weights @ differences.T.astype(np.float32)  # of small whole numbers, and so exact
    resampled = (sums * seed_weights).sum(axis=1) / differences.size
    deviations = (resampled - resampled.mean()) / resampled.std()
    tail = (1 - confidence) / 2
    stretch = math.sqrt(found.total) * t_quantile(confidence, found.df) / t_quantile(confidence, math.inf)
    low, high = np.quantile(deviations, [tail, 1 - tail])
    return Crossed(Interval(mean + stretch * float(low), mean + stretch * float(high)), found)


@lru_cache(maxsize=2)
def _weights(num_seeds: int, num_images: int, seed: int) -> tuple[Floats, NDArray[np.float32]]:
    """How often each seed and each image is drawn: (resamples, seeds) and (resamples, images); shared by all arms."""
    generator = np.random.default_rng(seed)
    drawn = [
        np.stack([np.bincount(row, minlength=size) for row in generator.integers(0, size, (RESAMPLES, size))])
        for size in (num_seeds, num_images)
    ]
    return drawn[0].astype(np.float64), drawn[1].astype(np.float32)
