"""What a repeat will show, and which kernels and version of torch computed the numbers."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from ablate.reporting import frames, sections, tables, words
from ablate.reporting.results import Results, results_of
from ablate.reporting.terminal import print_results
from ablate.verdicts.stats import repeat_interval

Make = Callable[..., Results]


def measured(results: Results, **changes: Any) -> Results:
    """The same records, as if computed by other kernels, and judged."""
    records = {
        key: dataclasses.replace(one, measured=dataclasses.replace(one.measured, **changes))
        for key, one in results.records.items()
    }
    return results_of(results.plan, results.costs, records)


def test_the_interval_of_a_repeat_is_that_of_the_difference_of_two_means() -> None:
    d = np.random.default_rng(3).normal(-0.01, 0.004, 9)
    found = repeat_interval(d, 0.9)
    half = stats.t.ppf(0.95, 8) * d.std(ddof=1) * math.sqrt(1 / 9 + 1 / 9)
    assert (found.low, found.high) == pytest.approx((d.mean() - half, d.mean() + half))
    assert repeat_interval([0.1]).low is None


def test_report_and_terminal_name_kernels_torch_and_processor(results: Results) -> None:
    made = measured(results, kernels="native avx2")
    told = "computed by native avx2 kernels, torch 2.15.0, on a machine"
    assert words.computed(made) == told
    provenance = tables.provenance(made, frames.trials(made)).set_index("what")["value"]
    assert provenance["kernels"] == "native avx2"
    out = io.StringIO()
    print_results(made, Console(file=out, width=400))
    assert told in out.getvalue()
    assert "native avx2 kernels" in words.methods(made)


def test_the_report_says_where_a_repeat_is_expected(results: Results) -> None:
    made = measured(results, kernels="native avx2")
    told = words.repeatability(made)
    for verdict in made.judgement.verdicts:
        contrast = verdict.contrast
        assert contrast is not None
        expected = repeat_interval(contrast.differences)
        assert (contrast.repeat_low, contrast.repeat_high) == (expected.low, expected.high)
        assert f"{verdict.arm} {made.unit.interval(expected.low, expected.high)}" in told
    assert "the same seeds act as new ones" in told
    (origin,) = [one for one in sections.SECTIONS if one.name == "origin"]
    assert told in [getattr(part, "text", "") for part in origin.parts(made)]


def test_nothing_is_said_of_a_repeat_where_nothing_was_compared(make_findings: Make) -> None:
    assert words.repeatability(measured(make_findings(plan={"seeds": 2}))) == ""
    assert words.computed(measured(make_findings(), versions={}, kernels="")) == ""
