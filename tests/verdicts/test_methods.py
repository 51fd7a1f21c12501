"""The methods paragraph says what was done, and cites what it names, and nothing else."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ablate.design.record import Measured
from ablate.design.sealed import SealedPlan
from ablate.verdicts.judge import judge
from ablate.verdicts.methods import methods_paragraph

Make = Callable[..., Any]
CONTROL = 0.95 + np.random.default_rng(3).normal(0, 0.004, 10)
WORSE = CONTROL - 0.018


def paragraph(made: Any, **options: Any) -> str:
    return methods_paragraph(made.plan, judge(made.plan, made.records, **options), made.records)


def test_it_states_arms_seeds_tests_margin_alpha_and_versions(campaign: Make) -> None:
    made = campaign({"control": CONTROL, "a": WORSE, "b": CONTROL})
    for key, record in made.records.items():
        measured = Measured(versions={"torch": "2.15.0"}, commit="1f2e3d4", hardware="AMD EPYC", started_at=2.0)
        made.records[key] = dataclasses.replace(record, measured=measured)
    told = paragraph(made, sealed=[SealedPlan(plan=made.plan, sealed_at=1.0, commit="1f2e3d4")])
    for part in (
        "2 arms with a control (mobilenet_v2_mnist) on mnist5k (4,000 training and 1,000 test images), 10 seeds each",
        "4 epochs with adamw, a batch size of 64",
        "step-down max-T over joint sign flips",
        "family-wise alpha of 0.05",
        "a margin of 0.50 points",
        "The plan is sealed 1970-01-01 00:00 UTC at commit 1f2e3d4, 1 s before the first trial.",
        "Trained with torch 2.15.0; AMD EPYC; commit 1f2e3d4.",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("study", "there", "absent"),
    [
        ({"decision": {"ask": "no_worse"}}, "called no worse if a one-sided t test", "Schuirmann"),
        ({"noise_floor": True}, "trained again with other seeds", "no worse"),
        ({"plan": {"seeds": 8, "until": "settled", "max_seeds": 12}}, "Kim K, DeMets", "noise"),
        (
            {"tuning": {"trials": 2, "space": {"lr": {"low": 1e-3, "high": 1e-1}}}},
            "lr of every arm, the control included, was tuned",
            "Kim",
        ),
        ({}, "Schuirmann", "tuned"),
    ],
)
def test_it_states_what_the_study_did_and_nothing_else(
    campaign: Make, study: dict[str, Any], there: str, absent: str
) -> None:
    told = paragraph(campaign({"control": CONTROL, "a": WORSE, "noise_floor": CONTROL + 0.0001}, **study))
    assert there in told
    assert absent not in told


def test_every_reference_is_cited_and_every_citation_has_its_reference(campaign: Make) -> None:
    told = paragraph(campaign({"control": CONTROL, "a": WORSE}, images=True))
    text, references = told.split("\n\n")
    cited = sorted(set(re.findall(r"\[\d+\]", text)))
    assert cited == sorted(line.split(" ")[0] for line in references.splitlines())
    assert "Owen" in references
