"""The report from end to end: out of MLflow, without torch, into files that load nothing."""

from __future__ import annotations

import ast
import html.parser
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jupytext
import pytest
from nbformat.v4 import new_notebook

from ablate.campaign.entries import trial_entry
from ablate.campaign.tracking import Tracking
from ablate.reporting import render
from ablate.reporting.render import find_notebook
from ablate.reporting.results import Results, load_results

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_findings: Callable[..., Results]) -> tuple[Path, Results]:
    """A runs folder whose MLflow holds a campaign with hostile texts, and what was put in."""
    results = make_findings(
        title=EVIL, question=f"![x](http://e.example/x.png) {EVIL}", plan={"seeds": 2}, expect={EVIL: "worse"}
    )
    runs = tmp_path_factory.mktemp("runs")
    tracking = Tracking(f"sqlite:///{runs / 'mlflow.db'}", runs / "artifacts")
    campaign = tracking.begin_campaign(results.plan)
    tracking.save_costs(campaign, {arm: dict(costs) for arm, costs in results.costs.items()})
    for trial, record in results.outcomes():
        assert record is not None
        entry = trial_entry(record, trial, results.arm(trial.arm), dict(results.costs[trial.arm]))
        tracking.write(results.plan.study.name, campaign, entry, record.to_json())
    tracking.end_campaign(campaign, complete=True)
    return runs, results


@pytest.fixture(scope="module")
def report(store: tuple[Path, Results], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m ablate.report` writes where torch cannot be imported and another kernel is installed."""
    runs, results = store
    blocker = tmp_path_factory.mktemp("blocker")
    for name in ("torch", "torchvision"):
        (blocker / f"{name}.py").write_text("raise ImportError('not on this machine')")
    kernel = blocker / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": ["/nonexistent"], "display_name": "wrong", "language": "python"})
    )
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(blocker), str(ROOT)]), "JUPYTER_PATH": str(blocker)}
    command = [sys.executable, "-m", "ablate.report", results.plan.study.name, "--runs", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=blocker, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Report:" in done.stdout
    assert "WARNING" not in done.stderr
    return runs / "reports" / results.plan.study.name


class Page(html.parser.HTMLParser):
    """Tags and the addresses they load from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in {"src", "href", "srcset", "action", "data"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_loads_nothing_from_elsewhere_and_runs_no_script(report: Path) -> None:
    text = (report / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.addresses
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_shows_what_the_user_wrote_as_text(report: Path) -> None:
    page = Page((report / "report.html").read_text(encoding="utf-8"))
    assert page.text.count(EVIL) >= 3
    assert "![x](http://e.example/x.png)" in page.text


def test_the_page_says_everything_in_the_order_of_importance(report: Path, store: tuple[Path, Results]) -> None:
    text = Page((report / "report.html").read_text(encoding="utf-8")).text
    order = [
        "cannot reach its level", "Expected by the study file", "Verdicts", "Test accuracy by arm",
        "Differences to the control", "Accuracy against cost", "Learning curves", "Every trial",
        "Where the numbers come from",
    ]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    study = store[1].plan.study
    for told in (study.digest, "2.15.0", "a machine", "0123abc", *(trial.key for trial in store[1].plan.trials)):
        assert told in text


def test_every_figure_is_there_as_svg_and_png(report: Path) -> None:
    names = {"by_arm", "differences", "cost", "validation_curves", "training_curves"}
    assert {path.name for path in (report / "figures").iterdir()} == {f"{n}.{k}" for n in names for k in ("svg", "png")}


def test_the_executed_notebook_has_outputs_and_no_address_of_the_store(
    report: Path, store: tuple[Path, Results]
) -> None:
    text = (report / "report.ipynb").read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    assert sum(bool(cell.get("outputs")) for cell in cells) >= 8
    assert "mlflow.db" not in text
    assert not [o for c in cells for o in c.get("outputs", []) if o["output_type"] in {"stream", "error"}]


def test_mlflow_holds_the_report_and_the_verdicts_as_its_note(report: Path, store: tuple[Path, Results]) -> None:
    runs, _ = store
    stored = {path.relative_to(path.parents[1]).as_posix() for path in (runs / "artifacts").rglob("report.html")}
    assert stored == {"report/report.html"}
    assert "is undecided" in (report / "verdicts.md").read_text(encoding="utf-8").replace("\\", "")


def test_findings_read_back_from_mlflow_are_what_was_put_in(store: tuple[Path, Results]) -> None:
    runs, results = store
    back = load_results(results.plan.study.name, runs=runs)
    assert back.plan.to_json() == results.plan.to_json()
    assert dict(back.records) == dict(results.records)
    assert back.costs == results.costs
    assert [verdict.arm for verdict in back.judgement.verdicts] == ["relu_bottleneck", "full"]


def test_a_disk_that_will_not_take_the_report_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "execute", lambda *_, **__: new_notebook())
    (tmp_path / "reports").write_text("a file where the folder should be")
    with pytest.raises(render.ReportError, match=r"reports.*: the report cannot be written \(Not a directory\)"):
        render.render_report("it", runs=tmp_path)

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(render, "write_whole", full)
    with pytest.raises(render.ReportError, match=r"reports/it: the report cannot be written \(No space left on device"):
        render.render_report("it", runs=tmp_path)


def test_the_notebook_in_git_has_no_outputs_and_defines_nothing() -> None:
    notebook = jupytext.read(find_notebook())
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in code)
    for cell in code:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, kinds)]


def test_no_module_of_the_room_imports_torch() -> None:
    for path in (ROOT / "ablate" / "reporting").glob("*.py"):
        assert not re.search(r"^\s*(import|from) torch", path.read_text(encoding="utf-8"), re.MULTILINE), path.name
