"""The JSON of a judgement: one schema for studies and judged runs, documented, and numbers to the last bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from ablate.reporting.json_output import judgement_json
from ablate.reporting.json_reference import json_schema, reference
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.runs import judge_runs
from ablate.verdicts.runs_by_set import judge_sets
from ablate.verdicts.samples import Question

PAGE = Path(__file__).parents[2] / "docs" / "json.md"


def runs(arms: dict[str, range]) -> dict[str, dict[int, float]]:
    generator = np.random.default_rng(1)
    return {arm: {seed: float(generator.normal(0.9, 0.01)) for seed in seeds} for arm, seeds in arms.items()}


def judgements() -> dict[str, Judgement]:
    question = Question(metric="acc", control="base", higher_is_better=True, margin=0.02, expect={"a": "worse"})
    paired = {"base": range(8), "a": range(8), "b": range(8)}
    mixed = {"base": range(8), "a": range(6), "b": range(20, 25), "again": range(30, 38)}
    floor = Question(metric="acc", control="base", higher_is_better=True, noise_floor="again")
    sets = {f"set {i}": runs(paired) for i in range(3)}
    return {
        "paired": judge_runs(runs(paired), question),
        "mixed": judge_runs(runs(mixed), floor),
        "single": judge_runs({"base": {0: 1.0}, "a": {0: 2.0}}, question),
        "sets": judge_sets(sets, question),
        "not_judged": judge_sets({"only": runs(paired)}, question),
    }


@pytest.mark.parametrize("name", judgements())
def test_every_judgement_of_runs_is_valid_under_the_schema(name: str) -> None:
    jsonschema.validate(json.loads(judgement_json(judgements()[name], control="base")), json_schema())


def test_the_judgement_of_a_study_is_valid_under_the_same_schema(results: Any) -> None:
    document = json.loads(judgement_json(results.judgement, control="control"))
    jsonschema.validate(document, json_schema())
    assert [one["arm"] for one in document["verdicts"]] == [one.arm for one in results.judgement.verdicts]


def test_a_declared_unit_is_told_and_no_unit_is_null(results: Any) -> None:
    declared = replace(results.judgement, unit="BLEU points")
    units = [json.loads(judgement_json(one, control="control"))["unit"] for one in (declared, results.judgement)]
    assert units == ["BLEU points", None]


def test_numbers_are_those_of_the_verdict_unrounded() -> None:
    judgement = judgements()["paired"]
    for written, verdict in zip(
        json.loads(judgement_json(judgement, control="base"))["verdicts"], judgement.verdicts, strict=True
    ):
        contrast = verdict.contrast
        assert contrast is not None
        assert (written["arm"], written["outcome"]) == (verdict.arm, verdict.outcome)
        assert (written["difference"], written["low"], written["high"], written["p"], written["n"]) == (
            contrast.mean_difference,
            contrast.low,
            contrast.high,
            contrast.p,
            8,
        )
        assert written["contrast"]["differences"] == list(contrast.differences)


def test_two_samples_have_no_pairs_and_both_numbers() -> None:
    document = json.loads(judgement_json(judgements()["mixed"], control="base"))
    contrast = document["verdicts"][1]["contrast"]
    assert (contrast["paired"], contrast["n"], contrast["control_n"], contrast["differences"]) == (False, 5, 8, [])
    assert document["margin"] is None
    assert document["noise_floor"]["arm"] == "again"
    assert document["schema"] == 1


def test_the_documentation_carries_the_schema_as_it_is() -> None:
    """``python -m ablate.reporting.json_reference`` prints what docs/json.md ends with."""
    assert PAGE.read_text().endswith(reference())
