"""The documentation's table of keys is the model's."""

from __future__ import annotations

from pathlib import Path

from ablate.design.reference import rows, table

PAGE = Path(__file__).parents[2] / "docs" / "studies.md"


def test_the_documentation_holds_the_table_as_it_is_made_now() -> None:
    assert table() in PAGE.read_text(), "python -m ablate.design.reference prints what belongs into docs/studies.md"


def test_every_key_says_what_is_allowed_and_what_it_means() -> None:
    for key, allowed, default, meaning in rows():
        assert allowed, key
        assert default, key
        assert meaning, key


def test_defaults_and_limits_are_the_models() -> None:
    found = {key: (allowed, default) for key, allowed, default, _ in rows()}
    assert found["plan.seeds"] == ("whole number ≥ 1, ≤ 10,000", "`8`")
    assert found["recipe.optimizer"] == ("sgd, adam, adamw, rmsprop", '`"adamw"`')
    assert found["design.kind"][0] == "one_change, factorial, fractional, add_one_in, leave_one_out"
