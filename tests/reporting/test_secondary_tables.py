"""What stands beside the verdicts: simple effects of an interaction, failure rates."""

from __future__ import annotations

import dataclasses

from ablate.reporting import tables
from ablate.reporting.page import render_page
from ablate.reporting.results import Results
from ablate.verdicts.verdict import FailureRate, SimpleEffect


def test_an_interaction_that_was_found_is_told_as_the_effects_it_consists_of(toggles: Results) -> None:
    parts = tuple(
        SimpleEffect(
            factor="conv", contrast="full - depthwise", at=at, estimate=size, low=size - 0.01, high=size + 0.01
        )
        for at, size in (("residual = inverted", -0.02), ("residual = classic", 0.0))
    )
    told = dataclasses.replace(toggles.judgement.effects[-1], outcome="worse", simple=parts)
    silent = dataclasses.replace(told, outcome="undecided")
    for effect, rows in ((told, 2), (silent, 0)):
        judged = dataclasses.replace(toggles.judgement, effects=(*toggles.judgement.effects[:-1], effect))
        table = tables.simple_effect_rows(dataclasses.replace(toggles, judgement=judged))
        assert len(table) == rows
    judged = dataclasses.replace(toggles.judgement, effects=(*toggles.judgement.effects[:-1], told))
    table = tables.simple_effect_rows(dataclasses.replace(toggles, judgement=judged))
    assert list(table["estimate (points)"]) == ["−2.00", "0.00"]
    assert table["effect"][0] == "conv at residual = inverted"


def test_failure_rates_are_shown_where_an_arm_failed_and_nowhere_else(results: Results) -> None:
    rates = {"control": FailureRate(failed=0, of=8, upper=0.31), "full": FailureRate(failed=3, of=8, upper=0.71, p=0.2)}
    judged = dataclasses.replace(results.judgement, failure_rates=rates)
    table = tables.failure_rows(dataclasses.replace(results, judgement=judged))
    assert list(table["failed"]) == ["0 of 8", "3 of 8"]
    assert list(table["highest rate not excluded"]) == ["31%", "71%"]
    none = {arm: dataclasses.replace(rate, failed=0) for arm, rate in rates.items()}
    judged = dataclasses.replace(results.judgement, failure_rates=none)
    assert tables.failure_rows(dataclasses.replace(results, judgement=judged)).empty
    assert "How often training failed" not in render_page(results)[0]
