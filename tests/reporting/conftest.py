"""A synthetic campaign: plan, costs, records and a judgement made by plain arithmetic, without training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ablate.design.datasets import DataInfo
from ablate.design.plan import NOISE_FLOOR, CampaignPlan, Trial, resolve_arms, trials
from ablate.design.record import EpochPoint, Measured, Record
from ablate.design.study import Study
from ablate.reporting.parts import Chart
from ablate.reporting.results import Results
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.verdict import Contrast, Effect, Verdict
from tests.reporting.chromium import started

DATA = DataInfo(name="mnist5k", channels=1, height=28, width=28, num_classes=10, num_train=4000, num_test=1000)
LABELS = np.arange(DATA.num_test) % DATA.num_classes
ONE_CHANGE: dict[str, Any] = {
    "name": "linear_bottleneck",
    "title": "Linear bottlenecks",
    "question": "Does the ReLU after the projection cost accuracy?",
    "source": "arXiv:1801.04381, section 3.2 and figure 6a",
    "expect": {"relu_bottleneck": "worse"},
    "arms": {"relu_bottleneck": {"bottleneck": "relu"}, "full": {"conv": "full"}},
    "recipe": {"epochs": 4},
    "plan": {"seeds": 8},
}
TOGGLES: dict[str, Any] = {
    "name": "toggles",
    "title": "Four toggles",
    "question": "Which of the four choices matters most, and do they interact?",
    "factors": {
        "residual": ["inverted", "classic"],
        "bottleneck": ["linear", "relu"],
        "activation": ["relu6", "relu"],
        "conv": ["depthwise", "full"],
    },
    "recipe": {"epochs": 2},
    "plan": {"seeds": 3},
}


def accuracy(trial: Trial, arm: int) -> float:
    """Deterministic: a level an arm, a wobble a seed shared by the arms, and a small one of their own."""
    level = 0.972 - 0.009 * math.sqrt(arm)
    return level + 0.004 * math.sin(7.0 * trial.seed) + 0.002 * math.sin(3.0 * trial.seed + 5.0 * arm)


def record(trial: Trial, arm: int, **changes: Any) -> Record:
    final = accuracy(trial, arm)
    epochs = trial.recipe.epochs
    curve = tuple(
        EpochPoint(
            epoch=e,
            train_loss=2.0 / e,
            train_accuracy=final * (1 - 0.5 / e),
            val_loss=2.2 / e,
            val_accuracy=final * (1 - 0.3 * (epochs - e) / (e + epochs)),
            lr=0.006 * (1 - e / epochs),
        )
        for e in range(1, epochs + 1)
    )
    metrics = {"test_accuracy": final, "test_loss": 1 - final, "val_accuracy": final, "val_loss": 1.0}
    measured = Measured(
        train_s=9.5, eval_s=0.4, wall_s=10.0, images_per_s=1700.0, peak_bytes=90_000_000, hardware="a machine",
        commit="0123abc", started_at=1.7e9 + trial.seed % 1000, versions={"torch": "2.15.0", "ablate": "0.1"},
    )  # fmt: skip
    right = np.random.default_rng([trial.seed, arm]).random(DATA.num_test) < final
    predictions = np.where(right, LABELS, (LABELS + 1 + np.arange(DATA.num_test) % 3) % DATA.num_classes)
    made = Record(
        predictions=predictions.astype(np.uint8).tobytes(), correct=np.packbits(right).tobytes(),
        key=trial.key, study=trial.study, arm=trial.arm, seed=trial.seed, status="finished", metrics=metrics,
        curve=curve, measured=measured, chance=0.1,
    )  # fmt: skip
    return made if not changes else Record(**{**vars(made), **changes})


def costs(names: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    return {
        name: {
            "params": 243_658 * (1 + i), "macs": 2_586_736 * (1 + i // 2), "flops": 5_173_472 * (1 + i // 2),
            "train_flops": 15_000_000 * (1 + i // 2), "inference_peak_bytes": 150_000 + 9_000 * i,
            "inference_peak_block_bytes": 60_000 + 4_000 * i, "train_peak_bytes": 40_000_000 + 1_000_000 * i,
            "fvcore_flops": 2_700_000 * (1 + i // 2), "latency_ms": 1.5 + 0.1 * i, "latency_batch_ms": None,
        }
        for i, name in enumerate(names)
    }  # fmt: skip


def contrast(plan: CampaignPlan, records: Mapping[str, Record], arm: str) -> Contrast | None:
    own, control = plan.arm_trials(arm), plan.arm_trials("control")
    values = [[records[t.key].metrics["test_accuracy"] for t in group if t.key in records] for group in (own, control)]
    if any(len(group) < len(own) for group in values):
        return None
    differences = [a - b for a, b in zip(*values, strict=True)]
    n, mean = len(differences), statistics.fmean(differences)
    sd = statistics.stdev(differences) if n > 1 else None
    half = 2.365 * sd / n**0.5 if sd is not None else None  # t at 97.5 %, 7 degrees of freedom
    return Contrast(
        arm=arm, metric="test_accuracy", seeds=tuple(t.seed for t in own), differences=tuple(differences),
        control_mean=statistics.fmean(values[1]), arm_mean=statistics.fmean(values[0]), mean_difference=mean,
        sd_difference=sd, correlation=0.7 if n > 2 else None, low=None if half is None else mean - half,
        high=None if half is None else mean + half, p=2 / 2**n, adjusted_p=min(1.0, 2 * 2 / 2**n), detectable=0.004,
        seeds_to_settle=12, equivalence_p=0.9, equivalence_holm_p=1.0, pairing_helps=True,
        welch_low=None if half is None else mean - 2 * half, welch_high=None if half is None else mean + 2 * half,
    )  # fmt: skip


def verdict(plan: CampaignPlan, records: Mapping[str, Record], arm: str) -> Verdict:
    made, expected = contrast(plan, records, arm), plan.study.expect.get(arm)
    if made is None:
        return Verdict(arm=arm, outcome="not judged", why="Seeds are missing.", expected=expected)
    sure = made.low is not None and (made.high or 0) < 0
    outcome = "worse" if sure else "undecided"
    held = (expected == outcome) if expected and sure else None
    return Verdict(arm=arm, outcome=outcome, why="Stated.", contrast=made, expected=expected, held=held)


def judgement(plan: CampaignPlan, records: Mapping[str, Record]) -> Judgement:
    names = [arm.name for arm in plan.arms if arm.name not in ("control", NOISE_FLOOR)]
    floor = verdict(plan, records, NOISE_FLOOR) if plan.study.noise_floor else None
    missing = [t for t in plan.trials if t.key not in records]
    effects = tuple(
        Effect(
            term=term, contrast=words, estimate=-0.004 * (i + 1), low=-0.004 * i - 0.006, high=-0.004 * i - 0.002,
            p=0.01, adjusted_p=0.04,
        )
        for i, (term, words) in enumerate(
            [*((name, f"{levels[1]} - {levels[0]}") for name, levels in plan.study.factors.items()),
             *(("residual:conv", "half the difference of differences"),) * bool(plan.study.factors)]
        )
    )  # fmt: skip
    return Judgement(
        metric="test_accuracy", higher_is_better=True, alpha=0.05, margin=0.005, num_seeds=plan.study.plan.seeds,
        num_contrasts=len(names), stands=True, verdicts=tuple(verdict(plan, records, name) for name in names),
        noise_floor=floor, effects=effects, method="Paired by seed; exact sign-flip test; Holm.",
        statements=(f"{len(missing)} planned seeds have no record.",) if missing else (),
    )  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium under selenium; skips where there is none."""
    with started() as running:
        yield running


@pytest.fixture(scope="session")
def make_findings() -> Callable[..., Results]:
    """``make_findings(**study fields)``: Results of a campaign that never ran; ``drop`` leaves out so many records."""

    def make(base: dict[str, Any] | None = None, *, drop: int = 0, **changes: Any) -> Results:
        study = Study(**{**(base or ONE_CHANGE), **changes})
        arms = resolve_arms(study, DATA)
        plan = CampaignPlan(study=study, data=DATA, arms=arms, trials=trials(study, arms, DATA))
        place = {arm.name: i for i, arm in enumerate(arms)}
        records = {t.key: record(t, 0 if t.arm == NOISE_FLOOR else place[t.arm]) for t in plan.trials}
        for trial in plan.trials[len(plan.trials) - drop :]:
            del records[trial.key]
        return Results(plan=plan, costs=costs(list(place)), records=records, judgement=judgement(plan, records))

    return make


@pytest.fixture
def toggles(make_findings: Callable[..., Results]) -> Results:
    """The 16-arm factorial campaign, 3 seeds."""
    return make_findings(TOGGLES)


@pytest.fixture
def results(make_findings: Callable[..., Results]) -> Results:
    """Control, two arms, a noise floor, 8 seeds."""
    return make_findings(noise_floor=True)


@pytest.fixture
def plain_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is quick to make, of one empty figure; it tells results apart."""

    def render(results: Results) -> tuple[str, tuple[Chart, ...]]:
        chart = Chart("empty", Figure(figsize=(1, 1)), pd.DataFrame({"x": [1]}), "Nothing.", "Nothing.")
        return f"<html>{results.digest}</html>", (chart,)

    monkeypatch.setattr("ablate.reporting.page.render_page", render)
