"""A finished campaign in the running MLflow UI, in a real browser: what was asked, what came out, and every run.

Skipped where there is no Chromium with its driver, or no selenium.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.records import RecordStore, seal
from ablate.campaign.views import Item
from ablate.reporting.conclusion import conclusion_of
from ablate.reporting.folders import publish
from ablate.reporting.headline import headline
from ablate.reporting.results import Results
from tests.reporting.chromium import BROKEN

LONGEST_S = 120  # a page of MLflow loads megabytes of script, on a machine that may be busy
MLFLOWS_OWN = ("/static-files/", "/mlflow/users/current")  # what its own scripts and its missing accounts complain of


class Window:
    """What a person does with a page, and sees of it."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def text(self) -> str:
        """What the page shows."""
        return str(self.browser.execute_script("return document.body ? document.body.innerText : ''"))

    def until(self, what: Callable[[], Any]) -> Any:
        """The first answer that says something; a page that was changed meanwhile is asked again."""
        from selenium.common.exceptions import WebDriverException

        end = time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            with contextlib.suppress(WebDriverException):
                if found := what():
                    return found
            time.sleep(0.1)
        raise AssertionError(f"never seen; the page shows: {self.text()}")

    def shows(self, *texts: str) -> None:
        """Waits until the page shows all of these."""
        self.until(lambda: all(one in self.text() for one in texts))

    def click(self, path: str) -> None:
        """Clicks the first element of an XPath as soon as it is there."""
        self.until(lambda: self.browser.find_element("xpath", path).click() is None)

    def rows(self) -> list[str]:
        """The names of the runs in the list, from top to bottom."""
        links = self.browser.find_elements("css selector", ".ag-row a[href*='/runs/']")
        return [link.text for link in sorted(links, key=lambda link: link.location["y"])]

    def select(self, name: str) -> None:
        """Ticks the run of this name in the list."""
        link = self.until(lambda: self.browser.find_element("xpath", f"//a[normalize-space() = '{name}']"))
        run_id = link.get_attribute("href").rpartition("/runs/")[2].partition("?")[0]
        box = self.browser.find_element("css selector", f".ag-row[row-id='{run_id}'] input.ag-checkbox-input")
        self.browser.execute_script("arguments[0].click()", box)

    def search(self, text: str) -> None:
        """Puts a search in place of that which is in the box."""
        from selenium.webdriver.common.keys import Keys

        box = self.browser.find_element("css selector", "[data-testid=search-box]")
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(text, Keys.ENTER)


@pytest.fixture(scope="module")
def campaign(make_findings: Callable[..., Results]) -> Results:
    return make_findings(plan={"seeds": 3})


@pytest.fixture(scope="module")
def runs(browser: Any, campaign: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder as a finished campaign leaves it; nothing is made where there is no browser to look at it."""
    folder = tmp_path_factory.mktemp("mlflow") / "runs"
    plan, store, items = campaign.plan, RecordStore(folder, campaign.plan.study.name), []
    view = MlflowView(f"sqlite:///{folder}/mlflow.db", folder, seal(plan, folder).to_json())
    view.known(plan, campaign.costs)
    for trial, record in campaign.outcomes():
        assert record is not None
        store.put(record)
        items.append(Item.of(store, trial, record))
        view.push(plan, items[-1], campaign.costs)
    report = publish(campaign, folder).parent
    view.finish(plan, items, conclusion_of(campaign, complete=True, report=report), campaign.costs)
    view.close()
    return folder


@pytest.fixture(scope="module")
def link(runs: Path) -> Iterator[str]:
    """What `ablate ui STUDY` prints, while it serves."""
    command = [sys.executable, "-m", "ablate.ui", "linear_bottleneck", "--runs", str(runs), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "DISPLAY": ""})
    assert process.stdout is not None
    yield next(word for line in process.stdout for word in line.split() if word.startswith("http://127.0.0.1"))
    process.send_signal(signal.SIGTERM)
    assert process.wait() in (0, -signal.SIGTERM)
    process.stdout.close()


@pytest.fixture(scope="module")
def window(browser: Any) -> Window:
    browser.set_window_size(1600, 1000)
    return Window(browser)


@pytest.fixture(autouse=True)
def calm(window: Window) -> Iterator[None]:
    """Whatever a test looks at: no complaint but MLflow's own, no picture missing, nothing asked of other machines."""
    yield
    said = [one["message"] for one in window.browser.get_log("browser") if one["level"] == "SEVERE"]
    assert [one for one in said if not any(own in one for own in MLFLOWS_OWN)] == []
    assert window.browser.execute_script(BROKEN) == []
    events = [json.loads(one["message"])["message"] for one in window.browser.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {urlsplit(one).hostname for one in sent if one.startswith("http")} <= {"127.0.0.1"}


def test_the_link_opens_the_arms_of_the_study_and_its_campaign(window: Window, link: str, campaign: Results) -> None:
    window.browser.get(link)
    window.shows(campaign.plan.study.question, "4 matching runs", "test_accuracy", "bottleneck")
    best, *_, last = window.until(window.rows)
    assert sorted([best, *_]) == sorted(arm.name for arm in campaign.plan.arms)
    assert best == "control"
    assert last.startswith("linear_bottleneck on mnist5k, quick, 3 seeds")


def test_a_search_shows_the_trials_of_an_arm(window: Window, link: str) -> None:
    window.browser.get(link)
    window.shows("4 matching runs")
    window.search("tags.`ablate.kind` = 'trial' AND tags.arm = 'relu_bottleneck'")
    window.shows("3 matching runs")
    assert all(name.startswith("relu_bottleneck") for name in window.until(window.rows))


def test_trials_can_be_grouped_by_arm(window: Window, link: str, campaign: Results) -> None:
    window.browser.get(link)
    window.shows("4 matching runs")
    window.search("tags.`ablate.kind` = 'trial'")
    window.shows("9 matching runs")
    window.click("//button[contains(., 'Group by')]")
    window.click("//*[@role = 'menuitemcheckbox'][normalize-space() = 'arm']")
    window.shows(*(f"Group: {arm.name}" for arm in campaign.plan.arms))


def test_the_run_of_the_campaign_shows_the_verdict_and_the_report(window: Window, link: str, campaign: Results) -> None:
    window.browser.get(link)
    window.click("//a[contains(., 'linear_bottleneck on mnist5k')]")
    window.shows(headline(campaign).partition(".")[0][:60], "difference/relu_bottleneck", "best/test_accuracy")
    window.click("//*[@role='tab'][contains(., 'Artifacts')]")
    window.click("//*[text() = 'report']")
    window.click("//*[text() = 'report.html']")
    frame = window.until(lambda: window.browser.find_element("css selector", "iframe"))
    window.browser.switch_to.frame(frame)
    window.shows(campaign.plan.study.question, "Verdicts", "Where the numbers come from")
    assert window.browser.execute_script(BROKEN) == []
    window.browser.switch_to.default_content()


def test_the_comparison_of_two_runs_shows_the_toggle_that_differs(window: Window, link: str) -> None:
    window.browser.get(link)
    window.shows("4 matching runs")
    for arm in ("control", "relu_bottleneck"):
        window.select(arm)
    window.click("//button[@data-testid = 'runs-compare-button']")
    window.shows("Comparing 2 Runs from 1 Experiment", "bottleneck\tlinear\trelu")
