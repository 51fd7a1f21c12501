"""What further levels say: the tables, sentences, figure and JSON of a judgement with levels."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from ablate.reporting import charts, sections, stability
from ablate.reporting.canvas import draw
from ablate.reporting.json_output import judgement_json
from ablate.reporting.results import Results
from ablate.verdicts.random_effects import pooled
from ablate.verdicts.stability import Interaction, LevelContrast, Stability, TermStability

MINUS = "\N{MINUS SIGN}"


def at(level: Any, estimate: float, outcome: Any = "worse", *, own: bool = False) -> LevelContrast:
    return LevelContrast(
        level=level, own=own, n=8, estimate=estimate, standard_error=0.002, low=estimate - 0.004, high=estimate + 0.004,
        adjusted_p=0.008, outcome=outcome, claims=(outcome,),
    )  # fmt: skip


def found(field: str = "recipe.epochs", levels: tuple[Any, ...] = (2, 4, 8), **more: Any) -> Stability:
    sizes = (-0.021, -0.0154, 0.001)
    ones = tuple(
        at(level, size, "worse" if size < -0.01 else "undecided", own=level == levels[1])
        for level, size in zip(levels, sizes, strict=False)
    )
    between = Interaction(
        first=levels[0], second=levels[-1], estimate=0.022, low=0.01, high=0.034, p=0.0078, adjusted_p=0.0234
    )
    term = TermStability(
        term="full", word="fades", why="a difference was found at 2; at 8 none was", levels=ones,
        interactions=(between,),
        pooled=pooled(sizes[: len(levels)], (0.002,) * len(levels)) if field == "data.name" else None,
    )  # fmt: skip
    return Stability(field=field, levels=levels, own=levels[1], alpha=0.05, num_seeds=8, terms=(term,), **more)


def having(results: Results, one: Stability | None) -> Results:
    return dataclasses.replace(results, judgement=dataclasses.replace(results.judgement, stability=one))


def test_the_tables_have_every_level_and_what_lies_between(results: Results) -> None:
    made = having(results, found())
    (row,) = stability.level_rows(made).to_dict("records")
    assert row["recipe.epochs = 4 (own)"] == f"{MINUS}1.54 [{MINUS}1.94, {MINUS}1.14] worse"
    assert row["recipe.epochs = 8"] == f"+0.10 [{MINUS}0.30, +0.50] undecided"
    assert row["together"] == "fades"
    (row,) = stability.interaction_rows(made).to_dict("records")
    assert (row["levels"], row["joint interval"], row["adjusted p"]) == (f"8 {MINUS} 2", "[+1.00, +3.40]", ".023")
    assert stability.pooled_rows(made).empty
    plain = having(results, None)
    assert stability.level_rows(plain).empty
    assert stability.sentences(plain) == []
    assert charts.stability(plain) is None


def test_the_sentence_names_levels_word_and_sizes(results: Results) -> None:
    (told,) = stability.sentences(having(results, found()))
    assert told.startswith("full over recipe.epochs = 2, 4, 8 fades: a difference was found at 2; at 8 none was")
    assert told.endswith(f"({MINUS}2.10, {MINUS}1.54, +0.10 points)")


def test_the_rule_says_what_does_not_rest_on_it_and_what_three_data_sets_can(results: Results) -> None:
    told = stability.rule(having(results, found(exploratory="it was not sealed")))
    assert "No verdict depends on this section; it has its own alpha (0.05)." in told
    assert told.endswith("Exploratory: it was not sealed.")
    told = stability.rule(having(results, found("data.name", ("mnist", "mnist5k", "kmnist"))))
    assert "2 degrees of freedom, the interval for a new data set has 1." in told
    assert "3 data sets show what holds on these 3." in told


@pytest.mark.parametrize(
    ("sizes", "margin", "told"),
    [
        ((-0.02, -0.02, -0.02, -0.02), 0.005, "beyond the margin"),
        ((0.0, 0.0, 0.0, 0.0), 0.05, "within the margin"),
        ((-0.02, -0.021, -0.019, -0.02), 0.0199, "of one sign, its size is open"),
        ((-0.02, 0.02, -0.02, 0.02), 0.005, "open"),
        ((-0.02, 0.02), 0.005, "two data sets predict nothing"),
    ],
)
def test_a_new_data_set_is_held_against_the_margin(sizes: tuple[float, ...], margin: float, told: str) -> None:
    assert stability.against_margin(pooled(sizes, (0.0005,) * len(sizes)), margin) == told


@pytest.mark.parametrize("field", ["recipe.epochs", "data.name"])
def test_the_figure_draws_every_level_and_the_section_shows_all(results: Results, field: str) -> None:
    levels = (2, 4, 8) if field == "recipe.epochs" else ("mnist", "mnist5k", "kmnist")
    made = having(results, found(field, levels))
    chart = charts.stability(made)
    assert chart is not None
    assert list(chart.data["level"]) == list(levels)
    assert draw(chart.figure, "svg").startswith(b"<?xml")
    (section,) = [one for one in sections.SECTIONS if one.name == "stability"]
    assert len(section.parts(made)) == (4 if field == "recipe.epochs" else 5)
    assert section.parts(having(results, None)) == ()


def test_the_json_has_it_with_numbers_that_are_not_rounded(results: Results) -> None:
    plain = json.loads(judgement_json(having(results, found()).judgement, control="control"))
    one = plain["stability"]
    assert (one["field"], one["terms"][0]["word"]) == ("recipe.epochs", "fades")
    assert one["terms"][0]["levels"][1] == {
        "level": 4, "own": True, "n": 8, "difference": -0.0154, "standard_error": 0.002, "low": -0.0154 - 0.004,
        "high": -0.0154 + 0.004, "adjusted_p": 0.008, "outcome": "worse", "why": "",
    }  # fmt: skip
    assert one["terms"][0]["interactions"][0]["second"] == 8
    assert json.loads(judgement_json(results.judgement, control="control"))["stability"] is None
