"""docs/results.md: its records are there, and give the page's verdicts without any training."""

from __future__ import annotations

import csv
import html
import importlib.util
import math
import re
import zipfile
from pathlib import Path

import pytest

from ablate.campaign.records import every_sealed_plan
from ablate.design.plan import make_plan
from ablate.design.read import load_study
from ablate.reporting.headline import headline
from ablate.reporting.load import load_results
from ablate.reporting.markdown import escape
from ablate.verdicts.judge import judge

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results.md"
RECORDS = sorted((ROOT / "docs" / "results").glob("*.zip"))

spec = importlib.util.spec_from_file_location("results", ROOT / "benchmarks" / "results.py")
assert spec is not None
assert spec.loader is not None
results = importlib.util.module_from_spec(spec)
spec.loader.exec_module(results)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for path in RECORDS:
        with zipfile.ZipFile(path) as kept:
            kept.extractall(folder)
    return folder / "runs"


def test_the_kept_records_give_the_answers_of_the_page_without_training(runs: Path) -> None:
    page, sealed = PAGE.read_text(), every_sealed_plan(runs)
    assert "linear_bottleneck" in {one.plan.study.name for one in sealed}
    assert len(sealed) == page.count("Campaign `")
    for one in sealed:
        study = one.plan.study
        answer = escape(headline(load_results(study.name, runs=runs, digest=study.digest)))
        assert f"**{answer}**" in page.split(f"### {study.name}, {study.budget}")[1]


def test_every_shipped_study_is_in_the_index_and_what_was_not_run_is_said() -> None:
    page = PAGE.read_text()
    for path in (ROOT / "studies").glob("*.toml"):
        (row,) = re.findall(rf"^\| {re.escape(escape(path.stem))} \|.*$", page.partition("\n## ")[0], re.MULTILINE)
        for budget in results.BUDGETS:
            ran = f"### {path.stem}, {budget}\n\n`python" in page
            assert ran or results.NOT_RUN in row


def test_figures_and_records_of_the_page_are_there_and_small() -> None:
    named = set(re.findall(r"\]\((results/[^)]*)\)", PAGE.read_text()))
    there = {f"results/{path.name}" for path in (ROOT / "docs" / "results").iterdir()}
    assert named | {f"results/{path.name}" for path in RECORDS} == there
    assert all((ROOT / "docs" / name).stat().st_size < 200_000 for name in named)
    assert all(path.stat().st_size < 1_000_000 for path in RECORDS)
    assert sum(path.stat().st_size for path in RECORDS) < 5_000_000


def test_two_campaigns_agree_where_their_verdicts_do(runs: Path) -> None:
    one = next(iter(every_sealed_plan(runs))).plan.study
    found = load_results(one.name, runs=runs, digest=one.digest)
    count = len(found.judgement.verdicts)
    assert results.agreement(found, found).startswith(f"{count} of {count} verdict")
    assert results.agreement(found, None) == "–"


def test_each_result_that_other_pages_quote_is_on_the_page() -> None:
    page = html.unescape(PAGE.read_text()).replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")
    quoted = (ROOT / "README.md").read_text().partition("## What comes out")[2].partition("\n## ")[0]
    told = [line.removeprefix("> ") for line in quoted.splitlines() if line.startswith(("> ", "| "))]
    assert len(told) > 8
    assert all(line in page for line in told if not line.startswith("| ---"))
    assert "finds −0.71 points" in quoted
    assert "| relu_bottleneck | bottleneck: linear → relu | −0.71 |" in page


def test_what_the_statistics_say_of_linear_bottleneck_is_what_its_records_give(runs: Path) -> None:
    told = (ROOT / "docs" / "statistics.md").read_text()
    study = load_study("linear_bottleneck", overrides={"decision.co_primary.test_loss.margin": 0.015})
    found = judge(make_plan(study), load_results(study.name, runs=runs, digest=load_study(study.name).digest).records)
    gain = found.co_primary[0].gains["relu_bottleneck"]
    assert f"it is {gain.ratio:.1f}, with an interval of {gain.low:.2f} to {gain.high:.0f}" in told
    contrast = found.verdict("relu_bottleneck").contrast
    assert contrast is not None
    assert contrast.seed_share == 0


def test_each_result_that_was_replaced_is_shown_with_the_new_one_and_the_interval_for_a_repeat() -> None:
    page = PAGE.read_text().replace("\\", "").replace("\N{MINUS SIGN}", "-")
    rows = page.partition("## Results that were replaced")[2].partition("\n## ")[0]
    with results.EARLIER.open(newline="") as file:
        earlier = list(csv.DictReader(file))
    assert len(earlier) == rows.count(" kernels | ")
    for old in earlier:
        (row,) = re.findall(rf"^\| {old['study']} \| {re.escape(old['arm'])} \|.*$", rows, re.MULTILINE)
        mean, low, high = (float(old[name]) for name in ("difference", "low", "high"))
        assert f"{mean:+.2f} [{low:+.2f}, {high:+.2f}] | {old['verdict']}" in row
        half = math.sqrt(2) * (high - low) / 2
        numbers = [float(number) for number in re.findall(r"\[(\S+), (\S+)\]", row)[1]]
        assert numbers == pytest.approx([mean - half, mean + half], abs=0.011)
        (now,) = re.findall(r"\] \| (\S+) \[", row)
        assert (" yes " in row) == (mean - half <= float(now) <= mean + half)
        assert f"| {now} |" in page
