"""What stands behind the verdicts, as printed text."""

from __future__ import annotations

import dataclasses

from ablate.reporting import frames, tables, tables_checks
from ablate.reporting.results import Results
from ablate.verdicts.tuning_luck import Sensitivity
from ablate.verdicts.verdict import EffectChecks, FailureRate

MINUS = "\N{MINUS SIGN}"


def with_judgement(results: Results, **fields: object) -> Results:
    return dataclasses.replace(results, judgement=dataclasses.replace(results.judgement, **fields))  # type: ignore[arg-type]


def test_the_checks_are_shown_with_their_degrees_of_freedom(toggles: Results) -> None:
    assert tables_checks.effect_check_rows(with_judgement(toggles, effect_checks=None)).empty
    checks = EffectChecks(lack_of_fit=3.456, lack_of_fit_p=0.031, by_seed=1.2, by_seed_p=0.4, df=(5, 35, 70))
    table = tables_checks.effect_check_rows(with_judgement(toggles, effect_checks=checks))
    assert list(table["F"]) == ["3.46", "1.20"]
    assert list(table["degrees of freedom"]) == ["5, 35", "70, 35"]


def test_failure_rates_are_shown_with_what_the_seeds_do_not_exclude(results: Results) -> None:
    rates = {
        "control": FailureRate(failed=0, of=8, upper=0.312),
        "full": FailureRate(failed=7, of=8, upper=0.99, p=0.001, adjusted_p=0.002),
    }
    table = tables_checks.failure_rows(with_judgement(results, failure_rates=rates))
    assert list(table["failed"]) == ["0 of 8", "7 of 8"]
    assert list(table["not excluded, up to"]) == ["31 %", "99 %"]
    assert list(table["adjusted p against the control"]) == ["–", ".002"]


def test_sensitivity_is_shown_in_points(results: Results) -> None:
    one = Sensitivity(
        arm="full", own=-0.01, at_control=-0.04, at_arm=None, low=-0.04, mean=-0.02, high=0.01, settings=3
    )
    (row,) = tables_checks.sensitivity_rows(with_judgement(results, sensitivities=(one,))).itertuples(index=False)
    assert tuple(row) == ("full", f"{MINUS}1.00", f"{MINUS}4.00", "–", f"[{MINUS}4.00, +1.00]", "3")


def test_the_three_parts_of_the_variance_are_in_a_column_each(results: Results) -> None:
    first, *others = results.judgement.verdicts
    assert first.contrast is not None
    parts = dataclasses.replace(first.contrast, seed_share=0.1, both_share=0.58, image_share=0.32)
    found = with_judgement(results, verdicts=(dataclasses.replace(first, contrast=parts), *others))
    table = tables.power_rows(found, frames.contrasts(found)).set_index("arm").loc[first.arm]
    remove = {what: table[f"variance that {what} would remove"] for what in ("only more seeds", "either")}
    assert remove == {"only more seeds": "10 %", "either": "58 %"}
    assert table["variance that only more test examples would remove"] == "32 %"
