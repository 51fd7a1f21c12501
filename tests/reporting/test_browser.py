"""The report in a real browser, wide and on a phone: nothing scrolls sideways, nothing is missing, nothing complains.

Skipped where there is no Chromium with its driver, or no selenium. axe-core is taken from ``$AXE_CORE``, the path of
its axe.min.js (nox fetches it with npm); its test is skipped where there is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.reporting.folders import write_report
from ablate.reporting.formats import print_pdf
from ablate.reporting.index import compare, write_index
from ablate.reporting.results import Results
from tests.reporting.chromium import BROKEN, CHROMIUM

AXE = os.environ.get("AXE_CORE")
EMPTY = """return [...document.querySelectorAll('figure')].filter(one =>
  [...one.querySelectorAll('svg')].filter(svg => svg.getBoundingClientRect().height > 40).length != 1).length"""
SMALL = """return [...document.querySelectorAll('svg.chart text')].filter(one => one.textContent.trim())
  .map(one => one.getBoundingClientRect().height).filter(height => height > 0 && height < 9).length"""
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def pages(make_findings: Callable[..., Results], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = make_findings(noise_floor=True)
    return {
        "report": write_report(made, folder / "report"),
        "index": write_index([made, made], folder / "reports"),
        "compare": compare(made, make_findings(recipe={"epochs": 2}), folder / "compare"),
    }


def look_at(browser: Any, page: Path, width: int, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(page.as_uri())


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["report", "index", "compare"])
def test_a_page_fits_its_window_and_nothing_in_it_is_missing(
    browser: Any, pages: dict[str, Path], name: str, width: int
) -> None:
    look_at(browser, pages[name], width)
    across, window = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert (across, window) == (width, width)
    assert browser.execute_script(BROKEN) == []
    assert browser.execute_script(EMPTY) == 0
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_fault(browser: Any, pages: dict[str, Path], width: int, scheme: str) -> None:
    if not AXE:
        pytest.skip("AXE_CORE names no axe.min.js")
    for page in pages.values():
        look_at(browser, page, width, scheme)
        browser.execute_script(Path(AXE).read_text(encoding="utf-8"))
        found = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in grave] == []


@needs_chromium
def test_the_printed_report_is_a_pdf_with_its_folded_parts(pages: dict[str, Path], tmp_path: Path) -> None:
    made = print_pdf(pages["report"], tmp_path / "report.pdf")
    assert made.read_bytes().startswith(b"%PDF-")
    assert made.stat().st_size > 20_000


def test_on_a_phone_the_main_figure_fits_and_every_letter_of_a_figure_can_be_read(
    browser: Any, pages: dict[str, Path]
) -> None:
    look_at(browser, pages["report"], 390)
    across, seen = browser.execute_script(
        "const frame = document.querySelector('figure .wide'); return [frame.scrollWidth, frame.clientWidth]"
    )
    assert across == seen
    assert browser.execute_script(SMALL) == 0
