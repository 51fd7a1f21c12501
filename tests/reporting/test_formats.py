"""LaTeX, Markdown and PDF."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.errors import AblateError
from ablate.reporting import formats
from ablate.reporting.results import Results

Make = Callable[..., Results]


def test_a_latex_table_has_booktabs_rules_and_a_row_an_arm_with_ticks(toggles: Results) -> None:
    text = formats.as_latex(toggles)
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + 15
    assert len({row.count(" & ") for row in rows}) == 1
    (row,) = [row for row in rows if row.startswith(r"classic+relu\_bottleneck &")]
    assert row.split(" & ")[1:5] == [r"$\times$", r"$\times$", r"\checkmark", r"\checkmark"]
    assert text.count("{") == text.count("}")


def test_an_arm_that_is_not_judged_has_a_dagger(make_findings: Make) -> None:
    made = make_findings(drop=1)
    assert r"$^\dagger$" in formats.as_latex(made)
    assert "†: not judged." in formats.notes(made)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_no_sign_of_a_text_commands_latex(text: str) -> None:
    shown = formats._latex(text)
    known = r"\\textbackslash\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}|\\checkmark|\\[{}&%$#_]|\$[^$]*\$"
    left = re.sub(known, "", shown)
    assert not re.search(r"[\\{}&%$#_^\n]", left)


def test_the_line_of_python_recomputes_every_mean_and_interval(results: Results) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(formats.raw_differences(results), {})
    found = eval(printed.getvalue(), {"np": __import__("numpy")})
    for verdict in results.judgement.verdicts:
        contrast = verdict.contrast
        assert contrast is not None
        mean, (low, high) = found[verdict.arm]
        assert mean == pytest.approx(100 * contrast.mean_difference, abs=1e-3)
        assert (low, high) == pytest.approx((100 * (contrast.low or 0), 100 * (contrast.high or 0)), abs=1e-3)


def test_markdown_shows_what_the_user_wrote_as_text(make_findings: Make, tmp_path: Path) -> None:
    made = make_findings(title="<script>alert(1)</script>", question="![x](http://e.example/x.png) a|b")
    path = formats.write_formats(made, tmp_path, ["md", "tex", "md"])["md"]
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "![x](" not in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + 2
    assert "We compared 2 arms" in text
    assert (tmp_path / "verdicts.tex").exists()


def test_an_unknown_format_is_refused_with_the_nearest(results: Results, tmp_path: Path) -> None:
    with pytest.raises(
        AblateError, match=r"--format must be one of html, pdf, md, tex; got 'htm'; did you mean 'html'"
    ):
        formats.write_formats(results, tmp_path, ["htm"])
    assert not list(tmp_path.iterdir())


def test_without_a_browser_a_pdf_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AblateError, match="none of them is on the PATH"):
        formats.print_pdf(tmp_path / "report.html", tmp_path / "report.pdf")


def test_a_browser_that_prints_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho 'no display' >&2\nexit 1\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(AblateError, match=r"chromium did not print .*: no display"):
        formats.print_pdf(tmp_path / "report.html", tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()
