"""What a study says that it can find, before it trains."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from ablate.verdicts.judge import judge
from ablate.verdicts.power import detectable_effect
from ablate.verdicts.power_analysis import analyse_power
from ablate.verdicts.priors import CIFAR10_MOBILENET, MNIST5K_V1, MNIST5K_V2
from ablate.verdicts.stats import sign_flip_p

Make = Callable[..., Any]
RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results.md"
CONTROL = 0.95 + np.random.default_rng(1).normal(0, 0.002, 10)
NOISE = np.random.default_rng(2).normal(0, 0.001, 10)


def test_the_detectable_difference_is_stated_with_its_prior(campaign: Make) -> None:
    found = analyse_power(campaign({"control": [0.9] * 10, "a": [], "b": [], "c": [], "d": []}).plan)
    effect = detectable_effect(10, num_contrasts=4)
    assert effect is not None
    assert found.detectable == pytest.approx(effect * MNIST5K_V2.sd)
    assert "10 seeds and 4 contrasts find a difference of 1.29 points" in found.sentences[0]
    assert "at least four of five contrasts of MobileNetV2 on mnist5k vary by less" in found.sentences[0]


def test_the_prior_is_by_data_set_net_and_epochs(campaign: Make) -> None:
    def sd(**study: Any) -> float:
        return analyse_power(campaign({"control": [0.9] * 10, "a": []}, **study).plan).sd

    assert sd(control={"net": "mobilenet_v1", "bottleneck": "linear"}) > sd()
    resnet = {"data": {"name": "cifar10"}, "control": {"net": "resnet50", "bottleneck": "linear"}}
    assert sd(**resnet, recipe={"epochs": 4}) == pytest.approx(0.0056 * 2**0.5)
    assert sd(**resnet, recipe={"epochs": 100}) == pytest.approx(0.0015 * 2**0.5)
    assert 0.0015 * 2**0.5 < sd(**resnet, recipe={"epochs": 30}) < 0.0019 * 2**0.5
    mobile = {epochs: sd(data={"name": "cifar10"}, recipe={"epochs": epochs}) for epochs in (4, 9, 16)}
    assert mobile[9] == 0.012
    assert mobile[4] / mobile[16] == pytest.approx(0.0056 / 0.0019)


def shown(section: str) -> list[float]:
    """Standard deviations of the differences that docs/results.md shows below headings like this."""
    parts = re.split(r"^(?=### )", RESULTS.read_text(), flags=re.MULTILINE)
    tables = [part.partition("\nWhat these seeds can tell:\n")[2] for part in parts if re.search(section, part)]
    rows = [row for table in tables for row in re.findall(r"^\| (\S+) \| ([\d.]+) \|", table, re.MULTILINE)]
    return [float(sd) / 100 for arm, sd in rows if arm != r"noise\_floor"]


def test_what_docs_results_shows_is_what_the_prior_says() -> None:
    of_v2 = shown(r"^### (?!.*v1|toggles|recipe|search).*, quick")
    assert len(of_v2) >= 20
    assert 0.8 <= sum(sd < MNIST5K_V2.sd for sd in of_v2) / len(of_v2) <= 0.9
    of_v1 = shown("^### from_v1_to_v2, quick")
    assert 0.4 <= sum(sd < MNIST5K_V1.sd for sd in of_v1) / len(of_v1) <= 0.6
    assert shown("^### linear_bottleneck, laptop") == pytest.approx([CIFAR10_MOBILENET[1]], rel=0.02)


def test_noise_that_was_seen_counts_instead_of_the_prior_and_the_largest_of_it(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": CONTROL + NOISE, "b": CONTROL + 2 * NOISE})
    seen = [verdict.contrast for verdict in judge(made.plan, made.records).verdicts if verdict.contrast]
    found = analyse_power(made.plan, seen)
    upper = 2 * NOISE.std(ddof=1) * (9 / chi2.ppf(0.2, 9)) ** 0.5
    assert found.sd == pytest.approx(upper)
    assert "upper 80 % confidence limit" in found.sentences[0]


def test_how_much_a_found_difference_is_exaggerated_is_said(campaign: Make) -> None:
    found = analyse_power(campaign({"control": [0.9] * 8, "a": []}).plan)
    generator = np.random.default_rng(0)
    drawn = generator.normal(0.005 / MNIST5K_V2.sd, 1, (4000, 8))
    hits = drawn[[sign_flip_p(row) <= 0.05 and row.mean() > 0 for row in drawn]]
    assert found.margin_power == pytest.approx(len(hits) / 4000, abs=0.03)
    assert found.exaggeration == pytest.approx(hits.mean() / (0.005 / MNIST5K_V2.sd), abs=0.06)
    assert f"it seems {found.exaggeration:.1f} times as large as it is" in found.sentences[2]


def test_too_few_seeds_are_said_before_anything_trains(campaign: Make) -> None:
    found = analyse_power(campaign({"control": [0.9] * 5, "a": []}, noise_floor=True).plan)
    assert (found.detectable, found.num_contrasts, found.seeds_to_reach) == (None, 1, 6)
    assert "cannot reach its level with fewer than 6" in found.sentences[0]


def test_a_study_until_settled_says_when_it_looks(campaign: Make) -> None:
    plan = {"seeds": 10, "until": "settled", "max_seeds": 18}
    found = analyse_power(campaign({"control": [0.9] * 10, "a": []}, plan=plan).plan)
    assert found.looks == (10, 14, 18)
    assert "looks after 10, 14, 18 seeds" in found.sentences[-1]
