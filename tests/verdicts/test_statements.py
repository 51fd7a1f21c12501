"""What a reader is told beside the verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ablate.design.record import Measured
from ablate.verdicts.judge import judge


def ran_on(campaign: Any, kernels: dict[str, str]) -> tuple[str, ...]:
    for key, record in campaign.records.items():
        campaign.records[key] = replace(record, measured=Measured(kernels=kernels[record.arm]))
    return judge(campaign.plan, campaign.records).statements


def test_arms_that_ran_on_different_kernels_are_named_with_what_may_not_be_compared(
    campaign: Callable[..., Any],
) -> None:
    made = campaign({"control": [0.9, 0.91, 0.92], "a": [0.8, 0.81, 0.83]})
    (told,) = [said for said in ran_on(made, {"control": "native avx2", "a": "torch"}) if "kernels" in said]
    assert "(native avx2: control; torch: a)" in told
    assert "measured times and memory may not be" in told


def test_arms_on_the_same_kernels_or_of_earlier_versions_that_do_not_say_are_not_spoken_of(
    campaign: Callable[..., Any],
) -> None:
    made = campaign({"control": [0.9, 0.91, 0.92], "a": [0.8, 0.81, 0.83]})
    for kernels in ({"control": "torch", "a": "torch"}, {"control": "", "a": "torch"}, {"control": "", "a": ""}):
        assert not any("kernels" in said for said in ran_on(made, kernels))
