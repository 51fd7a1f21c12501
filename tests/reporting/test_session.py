"""What `ablate.run` and `ablate.results` return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from ablate.reporting import frames
from ablate.reporting.results import Results
from ablate.reporting.session import StudyResults


@pytest.fixture
def found(make_findings: Callable[..., Results]) -> StudyResults:
    made = make_findings()
    return StudyResults(**{one.name: getattr(made, one.name) for one in fields(made)})


def test_it_prints_as_its_verdicts_and_fits_a_screen(found: StudyResults) -> None:
    lines = repr(found).splitlines()
    assert lines[0] == f"{found.plan.study.name} on {found.plan.data.name}, {len(found.records)} records"
    assert len(lines) <= 40
    for verdict in found.judgement.verdicts:
        assert any(verdict.arm in line and verdict.outcome in line for line in lines[1:])


def test_a_notebook_shows_a_table_with_a_row_for_each_verdict(found: StudyResults) -> None:
    table = found._repr_html_()
    assert table.count("<tr") == 1 + len(found.judgement.verdicts)


def test_its_frames_are_those_that_the_report_prints(found: StudyResults, tmp_path: Path) -> None:
    assert found.frame().equals(frames.trials(found))
    assert found.contrasts().equals(frames.contrasts(found))
    assert found.report(tmp_path).read_text().startswith("<!doctype html>")
