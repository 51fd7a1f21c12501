"""The page: everything a user wrote shows as text, nothing is loaded, and it says what came out at its top."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.reporting import frames, parts, sections
from ablate.reporting.page import laid, lay_out, lay_table, render_page
from ablate.reporting.results import Results
from ablate.reporting.sections import SECTIONS, main_chart
from tests.reporting.pagereader import Page

EVIL = "<script>alert('x')</script>\"><img src=http://e.example/x.png onerror=alert(1)>"


def page_of(*shown: parts.Part) -> Page:
    return Page(lay_out("title", "heading", "", [laid("one", "One", shown)]))


def made_of(name: str, results: Results) -> tuple[parts.Part, ...]:
    """The parts of one section of the report."""
    (found,) = [section for section in SECTIONS if section.name == name]
    return found.parts(results)


def section(name: str, results: Results) -> str:
    """A page of one section of the report."""
    return lay_out("title", "heading", "", [laid(name, name, made_of(name, results))])


@pytest.fixture(scope="module")
def whole(make_findings: Callable[..., Results]) -> str:
    """The page of the results that the fixture of that name makes."""
    return render_page(make_findings(noise_floor=True))[0]


@pytest.fixture(scope="module")
def page(make_findings: Callable[..., Results]) -> Page:
    made = make_findings(title=EVIL, question=f"![x](http://e.example/x.png) {EVIL}", expect={EVIL: "worse"})
    return Page(render_page(made)[0])


def test_no_text_of_a_part_becomes_a_tag() -> None:
    frame = pd.DataFrame({EVIL: [EVIL], "arm": [EVIL]})
    every = [
        parts.Prose(EVIL, EVIL), parts.Bullets((EVIL,)), parts.Notice((EVIL,), EVIL), parts.Listing(EVIL, EVIL),
        parts.Table(frame, EVIL), parts.Table(frame, EVIL, folded=True),
    ]  # fmt: skip
    page = page_of(*every)
    assert not {"script", "img"} & page.tags
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    assert page.text.count("alert('x')") == 13  # each text once, the tables' four twice


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_no_control_character_reaches_the_page(text: str) -> None:
    shown = lay_out("t", text, text, [laid("one", text, [parts.Prose(text), parts.Listing(text, text)])])
    table = lay_table(pd.DataFrame({"arm": [text], "remark": [text]}))
    whole = shown + "".join(str(cell["text"]) for row in table["rows"] for cell in row)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", whole)


def test_numbers_stand_to_the_right_words_to_the_left_and_verdicts_have_a_class() -> None:
    page = page_of(parts.Table(pd.DataFrame({"arm": ["a+b"], "p": [".008"], "verdict": ["not judged"]}), "Verdicts"))
    cells = [(tag, attributes.get("class")) for tag, attributes in page.found if tag in ("td", "th")][3:]
    assert cells == [("th", "word"), ("td", "number"), ("td", "word not-judged")]
    assert "a+b" in page.text


def test_the_page_loads_nothing_and_runs_no_script(page: Page) -> None:
    assert page.addresses("src", "srcset", "action", "data", "poster") == []
    links = page.addresses("href", "xlink:href")
    assert links
    assert all(link.startswith(("#", "figures/", "data:image/png;base64,")) for link in links)
    assert not {"script", "link", "iframe", "object", "embed", "base", "img"} & page.tags


def test_the_style_loads_nothing(whole: str) -> None:
    style = whole[whole.index("<style>") : whole.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_what_the_user_wrote_shows_as_text(page: Page) -> None:
    assert page.text.count(EVIL) >= 3
    assert "![x](http://e.example/x.png)" in page.text


def test_every_id_stands_once_and_every_link_within_the_page_leads_somewhere(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    within = {link[1:] for link in page.addresses("href", "xlink:href") if link.startswith("#")}
    assert within <= set(page.ids)
    assert {section.name for section in SECTIONS if section.name in within} >= {"answer", "verdicts", "cost", "origin"}


def test_the_title_names_study_verdict_and_data(whole: str) -> None:
    assert "<title>Linear bottlenecks: 2 worse (mnist5k)</title>" in whole


def test_question_answer_and_figure_come_first_and_everything_else_after(whole: str, results: Results) -> None:
    text = Page(whole).text
    order = [
        "Does the ReLU after the projection", "relu_bottleneck is worse than the control: its test accuracy",
        "Each dot is one seed's difference", "Paired by seed; exact sign-flip test", "Mean test accuracy (%) of every",
        "Computation, one image", "Validation accuracy after each epoch: every seed thin", "Provenance",
    ]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    for told in (results.plan.study.digest, "2.15.0", "a machine", "0123abc", *(t.key for t in results.plan.trials)):
        assert told in text


def test_a_study_of_one_arm_has_one_contrast(make_findings: Callable[..., Results]) -> None:
    text = Page(section("verdicts", make_findings(arms={"relu_bottleneck": {"bottleneck": "relu"}}))).text
    assert "1 contrast," in text
    assert "1 contrasts" not in text


def test_a_factorial_study_opens_with_its_effects_and_folds_its_arms(toggles: Results) -> None:
    chart = main_chart(toggles)
    assert chart is not None
    assert chart.name == "effects"
    text = section("verdicts", toggles)
    folded = text[text.index("<details>") :]
    assert "15 arms</summary>" in folded[: folded.index("</summary>") + 12]


def test_a_roadmap_opens_with_its_figure_and_each_row_names_its_step_alone(
    make_findings: Callable[..., Results],
) -> None:
    control = {"net": "mobilenet_v2_mnist", "bottleneck": "relu", "activation": "relu"}
    made = make_findings(
        control=control, arms={}, expect={}, design={"kind": "add_one_in", "to": {"net": "mobilenet_v2_mnist"}}
    )
    chart = main_chart(made)
    assert chart is not None
    assert chart.name == "roadmap"
    shown = section("verdicts", made)
    rows = [row.replace("\N{NO-BREAK SPACE}", " ") for row in re.findall(r"<tr>.*?</tr>", shown)]
    (second,) = [row for row in rows if "2-activation" in row and "activation: relu" in row]
    assert "+ activation: relu → relu6" in second
    assert "bottleneck" not in second


def test_one_epoch_has_no_learning_curve(make_findings: Callable[..., Results]) -> None:
    assert 'id="figure-' not in section("curves", make_findings(recipe={"epochs": 1}))


def test_two_seeds_have_no_interval_but_a_word(make_findings: Callable[..., Results]) -> None:
    text = Page(render_page(make_findings(plan={"seeds": 2}))[0]).text
    assert "too few seeds" in text
    assert "the large dot is the mean, too few seeds for an interval" in text
    assert "leave the frame" not in text
    assert "would settle it" not in text


@pytest.mark.parametrize("changes", [{"drop": 3}, {"plan": {"seeds": 1}, "drop": 1}, {"drop": 24}])
def test_a_campaign_that_is_not_complete_has_a_page(make_findings: Callable[..., Results], changes: Any) -> None:
    made = make_findings(expect={}, **changes)
    assert "Where the numbers come from" in render_page(made)[0]


def test_of_very_many_trials_the_page_has_a_part_with_every_unfinished_one(
    make_findings: Callable[..., Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_findings(expect={}, drop=3)
    monkeypatch.setattr(sections, "MOST_ROWS", 5)
    (table,) = made_of("trials", made)
    assert isinstance(table, parts.Table)
    assert list(table.frame["status"]) == ["missing"] * 3 + ["finished"] * 2
    assert f"{len(frames.trials(made))} planned trials" in table.caption
    assert "5 of them, the unfinished first" in table.caption
