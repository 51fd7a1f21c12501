"""Simple effects of an interaction, shown with the verdicts."""

from __future__ import annotations

import dataclasses

from ablate.reporting import tables
from ablate.reporting.results import Results
from ablate.verdicts.verdict import SimpleEffect


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
