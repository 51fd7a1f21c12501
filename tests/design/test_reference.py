"""The documentation's table of keys is the model's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ablate.design.forecast import ELEMENT_S, EVALUATED, MAC_S, START_S
from ablate.design.reference import assumptions, rows, updated

PAGE = Path(__file__).parents[2] / "docs" / "studies.md"


def test_the_documentation_says_what_the_code_says_now() -> None:
    page = PAGE.read_text()
    assert updated(page) == page, "python -m ablate.design.reference docs/studies.md"


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold <!-- keys"):
        updated("# Study files\n")


def test_the_assumptions_are_those_of_the_forecast() -> None:
    found = [float(number) for number in re.findall(r"[\d.]+(?= ps| ns|%| s)", assumptions())]
    assert found == pytest.approx([1e12 * MAC_S, 1e9 * ELEMENT_S, 100 * EVALUATED, START_S], rel=0.02)


def test_every_key_says_what_is_allowed_and_what_it_means() -> None:
    for key, allowed, default, meaning in rows():
        assert allowed, key
        assert default, key
        assert meaning, key


def test_defaults_and_limits_are_the_models() -> None:
    found = {key: (allowed, default) for key, allowed, default, _ in rows()}
    assert found["plan.seeds"] == ("whole number ≥ 1, ≤ 10,000", "`8`")
    assert found["recipe.optimizer"] == ("sgd, adam, adamw, rmsprop", '`"adamw"`')
    assert found["design.kind"][0] == "one_change, factorial, fractional, add_one_in, leave_one_out, search"
