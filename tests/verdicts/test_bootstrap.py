"""Seeds and images as two sources of noise, against an analysis of variance and against known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from ablate.verdicts.bootstrap import components, crossed
from ablate.verdicts.stats import paired_interval


def test_the_components_are_those_of_statsmodels_analysis_of_variance() -> None:
    d = np.random.default_rng(0).normal(size=(4, 6)) + np.random.default_rng(1).normal(size=(4, 1))
    seed, image = np.indices(d.shape)
    frame = pd.DataFrame({"d": d.ravel(), "seed": seed.ravel(), "image": image.ravel()})
    table = anova_lm(ols("d ~ C(seed) + C(image)", frame).fit())["sum_sq"] / [3, 5, 15]
    found = components(d)
    assert found.seeds == pytest.approx((table["C(seed)"] - table["Residual"]) / d.size)
    assert found.images == pytest.approx(max(table["C(image)"] - table["Residual"], 0) / d.size)
    assert found.both == pytest.approx(table["Residual"] / d.size)
    assert sum(found.share_of(source) for source in ("seeds", "images", "both")) == pytest.approx(1)


def test_the_part_that_more_seeds_remove_too_is_not_counted_as_sampling_of_test_images() -> None:
    """Image by seed noise of twice the images' own: two thirds of the variance go away with more seeds."""
    generator = np.random.default_rng(5)
    shares = []
    for _ in range(200):
        d = generator.normal(size=(1, 300)) + np.sqrt(2 * 8) * generator.normal(size=(8, 300))
        shares.append([components(d).share_of(source) for source in ("seeds", "both", "images")])
    assert np.mean(shares, axis=0) == pytest.approx([0, 2 / 3, 1 / 3], abs=0.1)


def test_without_differences_between_seeds_all_variance_is_the_test_set() -> None:
    arm = np.tile(np.random.default_rng(0).random(500) < 0.9, (6, 1))
    control = np.tile(np.random.default_rng(1).random(500) < 0.9, (6, 1))
    found = crossed(arm, control)
    assert found.components.share_of("images") == 1.0
    paired = (arm[0].astype(float) - control[0]).std(ddof=1) / np.sqrt(500)
    assert found.components.total == pytest.approx(paired**2)


def test_an_interval_for_new_images_too_is_wider_than_one_for_new_seeds() -> None:
    generator = np.random.default_rng(2)
    image = generator.normal(1.0, 1.0, (2, 1, 300))
    arm, control = image + generator.normal(0, 0.3, (2, 8, 300)) > 0
    interval = crossed(arm, control).interval
    seeds = paired_interval(arm.mean(axis=1) - control.mean(axis=1))
    assert interval.width is not None
    assert seeds.width is not None
    assert interval.width > 2 * seeds.width


def test_arms_that_agree_on_every_image_have_an_interval_of_no_width() -> None:
    arm = np.random.default_rng(0).random((4, 50)) < 0.8
    found = crossed(arm, arm)
    assert (found.interval.low, found.interval.high, found.components.share_of("images")) == (0.0, 0.0, 0.0)


def test_the_resampling_is_seeded() -> None:
    arm, control = np.random.default_rng(0).random((2, 5, 80)) < 0.8
    assert crossed(arm, control, seed=3) == crossed(arm, control, seed=3)
    assert crossed(arm, control, seed=3) != crossed(arm, control, seed=4)


@pytest.mark.parametrize(("arm", "control"), [((1, 9), (1, 9)), ((3, 9), (4, 9)), ((3, 1), (3, 1))])
def test_shapes_that_cannot_be_crossed_are_refused(arm: tuple[int, int], control: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="2 x 2 or larger"):
        crossed(np.zeros(arm, dtype=bool), np.zeros(control, dtype=bool))
