"""The power of a plan as a figure: the same numbers as the power analysis, and of the spread that was seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.design.plan import make_plan
from ablate.design.record import Record
from ablate.design.study import Study
from ablate.errors import AblateError
from ablate.reporting import power_curve
from ablate.verdicts import power
from ablate.verdicts.power_analysis import analyse_power, seen_contrasts
from ablate.verdicts.priors import upper_sd

STUDY: dict[str, Any] = {"name": "x", "arms": {"a": {"bottleneck": "relu"}}, "plan": {"seeds": 12}}
PLAN = make_plan(Study.model_validate(STUDY))


def records(seeds: int) -> dict[str, Record]:
    rng = np.random.default_rng(1)
    found = {}
    for arm in PLAN.arms:
        for trial in PLAN.arm_trials(arm.name)[:seeds]:
            value = float(rng.normal(0.9, 0.01))
            found[trial.key] = Record.of(trial, "finished", metrics={"test_accuracy": value, "test_loss": 0.1})
    return found


def test_the_curve_is_the_power_at_every_difference_and_number_of_seeds() -> None:
    found = analyse_power(PLAN)
    table = power_curve.curve(PLAN, found)
    assert list(dict.fromkeys(table["seeds"])) == [12, 18, 24]
    for line in table.iloc[::17].itertuples(index=False):
        expected = power.power(line.difference / 100 / found.sd, line.seeds, alpha=0.05, num_contrasts=1)
        assert line.power == pytest.approx(expected)
    for _, one in table.groupby("seeds"):
        assert one["power"].is_monotonic_increasing
    own = table[table["seeds"] == 12]
    assert np.interp(0.8, own["power"], own["difference"]) == pytest.approx(100 * (found.detectable or 0), rel=0.02)


def test_records_so_far_give_the_spread_that_is_planned_with() -> None:
    assert seen_contrasts(PLAN, {}) == ()
    assert seen_contrasts(PLAN, records(2)) == ()
    (one,) = seen_contrasts(PLAN, records(5))
    assert one.n == 5
    assert one.sd_difference is not None
    assert analyse_power(PLAN, [one]).sd == pytest.approx(upper_sd(one.sd_difference, 5))


@pytest.mark.parametrize(("name", "start"), [("a.svg", b"<?xml"), ("a.png", b"\x89PNG")])
def test_it_is_drawn_as_the_ending_says(tmp_path: Path, name: str, start: bytes) -> None:
    power_curve.write(PLAN, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AblateError, match=r"must end in \.svg or \.png"):
        power_curve.write(PLAN, tmp_path / "a.pdf")
