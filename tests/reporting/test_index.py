"""Several campaigns on a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.reporting import index
from ablate.reporting.folders import publish
from ablate.reporting.headline import headline
from ablate.reporting.results import Results
from tests.reporting.pagereader import Page

Make = Callable[..., Results]


@pytest.mark.usefixtures("plain_page")
def test_the_index_has_every_campaign_with_its_answer_and_the_way_to_its_report(
    make_findings: Make, tmp_path: Path
) -> None:
    made = [make_findings(plan={"seeds": 2}), make_findings(plan={"seeds": 2}, budget="full", title="<b>Bold</b>")]
    pages = [publish(results, tmp_path) for results in made]
    place = index.write_index(made, tmp_path / "reports")
    page = Page(place.read_text(encoding="utf-8"))
    assert [(place.parent / link).resolve() for link in page.addresses("href") if "report" in link] == [
        page.resolve() for page in pages
    ]
    assert "b" not in page.tags
    assert "<b>Bold</b>" in page.text
    contrasts = sum(results.judgement.num_contrasts for results in made)
    assert f"2 campaigns asked {contrasts} contrasts, 0 of them sealed beforehand" in page.text
    assert all(headline(results) in page.text for results in made)


def test_the_index_says_why_no_arm_is_judged(make_findings: Make, tmp_path: Path) -> None:
    page = Page(index.write_index([make_findings(drop=24)], tmp_path).read_text(encoding="utf-8"))
    assert "24 planned seeds have no record." in page.text


def test_two_campaigns_stand_side_by_side_with_what_sets_them_apart(make_findings: Make, tmp_path: Path) -> None:
    first, second = make_findings(), make_findings(recipe={"epochs": 2}, plan={"seeds": 6}, data={"name": "mnist"})
    place = index.compare(first, second, tmp_path)
    page = Page(place.read_text(encoding="utf-8"))
    assert "figure-compared" in page.ids
    table = index.compared_rows(first, second).set_index("arm")
    contrast = first.judgement.verdict("full").contrast
    assert contrast is not None
    assert table.loc["full", "A (points)"] == first.unit.signed(contrast.mean_difference)
    apart = index.apart_rows(first, second).set_index("what")
    assert tuple(apart.loc["recipe.epochs"]) == ("4", "2")
    assert tuple(apart.loc["data.name"]) == ('"mnist5k"', '"mnist"')
    assert "recipe.lr" not in apart.index
    assert (place.parent / "figures" / "compared.csv").exists()


@pytest.mark.usefixtures("plain_page")
def test_a_comparison_in_a_reports_folder_leaves_the_report_whole(make_findings: Make, tmp_path: Path) -> None:
    first = make_findings(plan={"seeds": 2})
    page = publish(first, tmp_path)
    before = sorted(page.parent.rglob("*"))
    index.compare(first, make_findings(plan={"seeds": 3}), page.parent)
    assert set(before) < set(page.parent.rglob("*"))


@pytest.mark.parametrize("other", [{"arms": {"relu": {"activation": "relu"}}}, {"drop": 24}])
def test_campaigns_without_a_common_arm_are_said_to_have_none(make_findings: Make, tmp_path: Path, other: dict) -> None:  # type: ignore[type-arg]
    place = index.compare(make_findings(), make_findings(expect={}, **other), tmp_path)
    assert "no arm in common that both judged" in place.read_text(encoding="utf-8")
