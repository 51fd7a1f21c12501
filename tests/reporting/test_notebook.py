"""The notebook: written once, in step with its source and with the page, and it runs where the report lies."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable
from pathlib import Path

import jupytext
import nbformat
import pytest

from ablate.campaign.records import RecordStore, seal
from ablate.reporting.folders import ReportError, report_folder
from ablate.reporting.load import load_results
from ablate.reporting.notebook import execute_notebook, find_notebook, read_notebook
from ablate.reporting.results import Results
from ablate.reporting.sections import SECTIONS

REPORTS = Path(__file__).parents[2] / "reports"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_findings: Callable[..., Results]) -> tuple[Path, Results]:
    """A runs folder that holds a campaign, and what was put in."""
    results = make_findings(plan={"seeds": 2})
    runs = tmp_path_factory.mktemp("tree") / "runs"
    runs.mkdir()
    seal(results.plan, runs)
    store = RecordStore(runs, results.plan.study.name)
    for record in results.records.values():
        store.put(record)
    return runs, results


def test_findings_read_back_are_what_was_put_in(store: tuple[Path, Results]) -> None:
    runs, results = store
    back = load_results(results.plan.study.name, runs=runs)
    assert back.plan.to_json() == results.plan.to_json()
    assert dict(back.records) == dict(results.records)
    assert [verdict.arm for verdict in back.judgement.verdicts] == ["relu_bottleneck", "full"]


def test_the_notebook_is_in_step_with_its_source_and_has_no_outputs() -> None:
    source = jupytext.read(REPORTS / "study_report.py")
    notebook = nbformat.read(find_notebook(), as_version=4)
    for ours, theirs in zip(notebook.cells, source.cells, strict=True):
        assert (ours.cell_type, ours.source) == (theirs.cell_type, theirs.source)
        assert ours.metadata.get("tags") == theirs.metadata.get("tags")
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def test_page_and_notebook_have_the_same_sections_in_the_same_order() -> None:
    headings = [
        line.removeprefix("## ")
        for cell in read_notebook().cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    assert headings == [section.title for section in SECTIONS]


def test_the_notebook_draws_every_figure_of_the_page() -> None:
    code = "\n".join(cell.source for cell in read_notebook().cells if cell.cell_type == "code")
    drawing = [section.name for section in SECTIONS if "chart" in inspect.getsource(section.make)]
    assert len(drawing) > 5
    assert [name for name in drawing if f'sections.figures("{name}", results)' not in code] == []


def test_the_notebook_defines_nothing_and_holds_one_idea_a_cell() -> None:
    code = [cell for cell in read_notebook().cells if cell.cell_type == "code"]
    for cell in code:
        tree = ast.parse(cell.source)
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        assert not [node for node in ast.walk(tree) if isinstance(node, kinds)]
        assert len(cell.source.splitlines()) <= 8


def test_the_notebook_runs_into_the_reports_folder_and_again_from_there(store: tuple[Path, Results]) -> None:
    runs, results = store
    folder = report_folder(runs, results.plan)
    path = execute_notebook(results, folder, runs=runs)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
    (parameters,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    found: dict[str, str] = {}
    exec("".join(parameters["source"]), found)  # as "Run all" does, from the notebook's own folder
    assert (folder / found["runs"]).resolve() == runs.resolve()
    assert not Path(found["runs"]).is_absolute()


def test_a_campaign_that_is_not_there_ends_the_notebook_in_a_sentence(
    store: tuple[Path, Results], make_findings: Callable[..., Results], tmp_path: Path
) -> None:
    other = make_findings(name="never_run")
    with pytest.raises(ReportError, match="the notebook of never_run: AblateError"):
        execute_notebook(other, tmp_path, runs=store[0])
    assert not (tmp_path / "report.ipynb").exists()
