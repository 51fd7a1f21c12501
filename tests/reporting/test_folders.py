"""Reports on disk: none overwrites another's, a link is never followed, and nothing is made twice."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ablate import report as command
from ablate.errors import AblateError
from ablate.reporting import folders
from ablate.reporting.folders import is_current, mark_latest, publish, report_folder, write_report
from ablate.reporting.results import Results

ROOT = Path(__file__).parents[2]
Make = Callable[..., Results]


@pytest.mark.usefixtures("plain_page")
def test_an_interrupted_report_ends_in_a_sentence_and_leaves_the_earlier_one_whole(
    make_findings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C comes while the page is drawn, and while its first figure is being written."""
    earlier = make_findings(plan={"seeds": 2})
    folder = publish(earlier, tmp_path).parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    newer = dataclasses.replace(earlier, records=dict(list(earlier.records.items())[:-1]))
    monkeypatch.setattr(command, "results_of", lambda *_: newer)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("ablate.reporting.page.render_page", "ablate.reporting.folders.write_charts"):
        with monkeypatch.context() as patched:
            patched.setattr(place, interrupted)
            assert command.main(["linear_bottleneck", "--runs", str(tmp_path)]) == 130
        assert capsys.readouterr().err == "ablate report: interrupted; the earlier report is as it was\n"
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_every_campaign_has_a_folder_of_its_own(make_findings: Make, tmp_path: Path) -> None:
    made = [make_findings(), make_findings(budget="full"), make_findings(plan={"seeds": 2})]
    places = [report_folder(tmp_path, results.plan) for results in made]
    assert len(set(places)) == 3
    assert {place.parent for place in places} == {tmp_path / "reports" / "linear_bottleneck"}
    assert places[0].name == f"quick-mnist5k-{made[0].plan.study.digest}"


@pytest.mark.parametrize("name", ["../../etc/passwd.npz", "/data/../x y.npz", "C:\\sets\\mine.npz", "...npz"])
def test_the_folder_of_an_npz_file_lies_below_the_study(make_findings: Make, tmp_path: Path, name: str) -> None:
    results = make_findings(data={"name": name})
    place = report_folder(tmp_path, results.plan)
    assert place.resolve().parent == (tmp_path / "reports" / "linear_bottleneck").resolve()
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", place.name)


def test_a_report_is_a_page_with_a_picture_and_the_data_of_each_figure(results: Results, tmp_path: Path) -> None:
    page = write_report(results, tmp_path / "here")
    assert page == tmp_path / "here" / "report.html"
    names = {path.stem for path in (tmp_path / "here" / "figures").iterdir()}
    assert names >= {"by_arm", "differences", "validation_curves", "training_loss", "training_accuracy"}
    for name in names:
        assert (tmp_path / "here" / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert f'id="figure-{name}"' in page.read_text(encoding="utf-8")
    scores = pd.read_csv(tmp_path / "here" / "figures" / "by_arm.csv")
    control = [100 * r.metrics["test_accuracy"] for t, r in results.outcomes() if r is not None and t.arm == "control"]
    assert list(scores.loc[scores["arm"] == "control", "value"]) == pytest.approx(control)


@pytest.mark.usefixtures("plain_page")
def test_a_report_is_made_again_only_if_something_in_it_changed(results: Results, tmp_path: Path) -> None:
    page = publish(results, tmp_path)
    first = page.stat().st_ino
    assert publish(results, tmp_path).stat().st_ino == first
    key = results.plan.trials[0].key
    changed = dataclasses.replace(results.records[key], notes=("a remark",))
    again = dataclasses.replace(results, records={**results.records, key: changed})
    assert not is_current(again, page.parent)
    assert publish(again, tmp_path).stat().st_ino != first
    with pytest.MonkeyPatch.context() as edited:
        edited.setattr("ablate.provenance.code", lambda: "another")
        assert not is_current(dataclasses.replace(again), page.parent)
    assert is_current(dataclasses.replace(again), page.parent)
    page.unlink()
    assert not is_current(again, page.parent)


@pytest.mark.usefixtures("plain_page")
def test_latest_leads_to_the_report_made_last(make_findings: Make, tmp_path: Path) -> None:
    quick, full = make_findings(plan={"seeds": 2}), make_findings(plan={"seeds": 2}, budget="full")
    first, second = publish(quick, tmp_path), publish(full, tmp_path)
    assert first.exists()
    latest = second.parent.with_name("latest")
    assert (latest / "report.html").resolve() == second.resolve()
    publish(quick, tmp_path)
    assert (latest / "report.html").resolve() == first.resolve()


def test_where_links_are_not_possible_latest_is_a_page_that_leads_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: object, target_is_directory: bool = False) -> None:
        raise OSError("no links on this file system")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    mark_latest(tmp_path / "quick-mnist5k-0123")
    assert "url=quick-mnist5k-0123/report.html" in (tmp_path / "latest.html").read_text()
    assert not (tmp_path / "latest").exists()


@pytest.mark.usefixtures("plain_page")
def test_a_report_folder_that_is_a_link_is_replaced_and_its_target_left_alone(results: Results, tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "figures" / "mine.png"
    kept.parent.mkdir(parents=True)
    kept.touch()
    (tmp_path / "report").symlink_to(tmp_path / "kept")
    write_report(results, tmp_path / "report")
    assert sorted(path.name for path in (tmp_path / "kept").rglob("*")) == ["figures", "mine.png"]


def test_a_link_in_the_target_is_never_followed(results: Results, tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "report"
    outside.mkdir()
    folder.mkdir()
    precious = outside / "precious.png"
    precious.write_text("precious")
    (folder / "figures").symlink_to(outside, target_is_directory=True)
    (folder / "report.html").symlink_to(precious)
    write_report(results, folder)
    assert [path.name for path in outside.iterdir()] == ["precious.png"]
    assert precious.read_text() == "precious"
    old = folder / "figures" / "old.png"
    old.symlink_to(precious)
    write_report(results, folder)
    assert not old.is_symlink()
    assert precious.read_text() == "precious"


@pytest.mark.usefixtures("plain_page")
def test_a_disk_that_will_not_take_the_report_is_said_in_a_sentence(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reports").write_text("a file where the folder should be")
    with pytest.raises(AblateError, match=r"reports.*: the report cannot be written \(Not a directory\)"):
        publish(results, tmp_path)

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "write_whole", full)
    with pytest.raises(AblateError, match=r"here: the report cannot be written \(No space left on device"):
        write_report(results, tmp_path / "here")


def test_a_report_is_made_without_torch_mlflow_optuna_or_a_kernel(results: Results, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ablate.design.plan import CampaignPlan\n"
        "from ablate.reporting.folders import publish\n"
        "from ablate.reporting.results import results_of\n"
        "plan = CampaignPlan.from_json(Path('plan.json').read_text())\n"
        "publish(results_of(plan, {}, {}), Path('runs'))\n"
        "print(sorted({'torch', 'mlflow', 'optuna', 'IPython', 'nbclient', 'nbconvert'} & set(sys.modules)))"
    )
    (tmp_path / "plan.json").write_text(results.plan.to_json())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"
    assert list((tmp_path / "runs").rglob("report.html"))
