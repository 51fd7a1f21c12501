"""docs/mlflow.md: every search that it shows finds runs of a real store, and no other kind than it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ablate
from ablate.campaign.mlflow_view import MlflowView
from ablate.campaign.records import RecordStore, seal
from ablate.campaign.views import Conclusion, Item
from ablate.design.plan import make_plan
from ablate.design.record import Record

PAGE = Path(__file__).parents[2] / "docs" / "mlflow.md"
TABLE = PAGE.read_text(encoding="utf-8").partition("<!-- filters:")[2].partition("<!-- end of filters")[0]
SEARCHES = dict(re.findall(r"^\| (.+?) \| ``(.+?)`` \|$", TABLE, re.MULTILINE))


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> MlflowView:
    runs = tmp_path_factory.mktemp("docs") / "runs"
    fields = {"data.name": "synthetic", "plan.seeds": 2}
    plan = make_plan(ablate.load_study("linear_bottleneck", overrides=fields))
    store = RecordStore(runs, "linear_bottleneck")
    made = MlflowView(f"sqlite:///{runs}/mlflow.db", runs, seal(plan, runs).to_json())
    items = []
    for trial in plan.trials:
        failed = trial is plan.trials[-1]
        record = Record.of(trial, "failed" if failed else "finished", metrics={} if failed else {"test_accuracy": 0.5})
        store.put(record)
        items.append(Item.of(store, trial, record))
    made.known(plan, {})
    for item in items:
        made.push(plan, item, {})
    made.finish(plan, items, Conclusion(metrics={"adjusted_p/relu_bottleneck": 0.03}), {})
    return made


def test_the_page_shows_searches() -> None:
    assert len(SEARCHES) == 9


@pytest.mark.parametrize("said", SEARCHES)
def test_a_search_of_the_page_finds_what_it_says(view: MlflowView, said: str) -> None:
    client = view.store.client
    experiment = client.get_experiment_by_name("linear_bottleneck").experiment_id
    found = client.search_runs([experiment], SEARCHES[said])
    kinds = {run.data.tags["ablate.kind"] for run in found}
    kind = next((name for name in ("campaign", "arm", "trial") if f"{name}s" in said.partition(" of ")[0]), None)
    assert kinds == ({kind} if kind else kinds)
    everything = client.search_runs([experiment])
    assert 0 < len(found) < len(everything)


def test_every_picture_of_the_page_is_there() -> None:
    pictures = re.findall(r"\]\((screenshots/.+?)\)", PAGE.read_text(encoding="utf-8"))
    assert len(pictures) == 6
    assert [name for name in pictures if not (PAGE.parent / name).is_file()] == []
