"""CONTRIBUTING.md says which files an addition touches; each addition is made on a copy, in these files alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEW = ""  # in place of the old text: the file is new


@dataclass(frozen=True)
class Edit:
    """``old`` becomes ``new`` in a file; the old text must be there once."""

    file: str
    old: str
    new: str


EDITS: dict[str, tuple[Edit, ...]] = {
    "a toggle": (
        Edit("ablate/model/spec.py", '    "norm": ("batch"', '    "extra": ("none", "eight"),\n    "norm": ("batch"'),
        Edit(
            "ablate/model/spec.py",
            '    source: str = ""\n',
            '    extra: str = "none"\n    source: str = ""\n',
        ),
        Edit(
            "ablate/model/spec.py",
            '        _check_level(self, "se_gate")\n',
            '        _check_level(self, "se_gate")\n        _check_level(self, "extra")\n',
        ),
        Edit(
            "ablate/model/parts.py",
            "round(channels * spec.expand_ratio)",
            'round(channels * spec.expand_ratio) + 8 * (spec.extra == "eight")',
        ),
    ),
    "a net": (
        Edit(
            "ablate/model/zoo.py",
            "NETS: dict",
            "def tiny(*, width_mult: float = 1.0, in_channels: int = 3, num_classes: int = 10) -> NetSpec:\n"
            "    return NetSpec(stages=_stages(((2, 8, 1, 1),), BlockSpec()), head_channels=0, width_mult=width_mult,\n"
            "                   in_channels=in_channels, num_classes=num_classes)\n\n\n"
            "NETS: dict",
        ),
        Edit("ablate/model/zoo.py", "for net in (", "for net in (tiny, "),
    ),
    "a metric per trial": (
        Edit(
            "ablate/training/outcome.py",
            '"test_loss": test.loss, **',
            '"test_loss": test.loss, "test_errors": float((~test.right).sum()), **',
        ),
        Edit("ablate/reporting/frames.py", "METRICS = (", 'METRICS = ("test_errors", '),
    ),
    "a metric per epoch": (
        Edit("ablate/design/record.py", "    lr: float\n", "    lr: float\n    steps: float = 0.0\n"),
        Edit("ablate/training/fit.py", "        lr=rate,\n", "        lr=rate,\n        steps=float(steps),\n"),
    ),
    "a figure": (
        Edit(
            "ablate/reporting/charts.py",
            "def by_arm(results",
            "def again(results: Results) -> Chart | None:\n"
            "    found = by_arm(results)\n"
            "    return found and Chart(name='again', figure=found.figure, data=found.data, caption='A new figure.',\n"
            "                           alt='New.')\n"
            "\n\ndef by_arm(results",
        ),
        Edit(
            "ablate/reporting/sections.py",
            "    yield charts.levels(results)\n",
            "    yield charts.levels(results)\n    yield charts.again(results)\n",
        ),
    ),
    "a recipe field": (
        Edit(
            "ablate/design/study.py",
            '    precision: Literal["fp32", "bf16"]',
            '    loss_scale: float = Field(default=1.0, gt=0, description="the loss is multiplied with it")\n'
            '    precision: Literal["fp32", "bf16"]',
        ),
        Edit(
            "ablate/training/fit.py",
            "            loss.backward()\n",
            "            (loss * recipe.loss_scale).backward()\n",
        ),
    ),
    "a data set": (
        Edit(
            "ablate/design/datasets.py",
            '        ("synthetic", 1,',
            '        ("stripes", 1, 12, 2, 80, 20),\n        ("more_digits", 1, 28, 10, 60_000, 10_000),\n'
            '        ("synthetic", 1,',
        ),
        Edit("ablate/design/datasets.py", "EMBEDDED = (", 'EMBEDDED = ("stripes", '),
        Edit(
            "ablate/training/embedded.py",
            "MAKERS: dict",
            "def stripes() -> Arrays:\n"
            "    labels = np.arange(100) % 2\n"
            "    images = np.zeros((100, 12, 12, 1), np.uint8)\n"
            "    images[labels == 1, ::2] = 255\n"
            "    train, test = Part(images[:80], labels[:80]), Part(images[80:], labels[80:])\n"
            "    return Arrays(train=train, test=test, val=None)\n\n\n"
            "MAKERS: dict",
        ),
        Edit("ablate/training/embedded.py", "Arrays]] = {", 'Arrays]] = {"stripes": stripes, '),
        Edit(
            "ablate/training/download.py",
            '    "mnist": "MNIST",\n',
            '    "mnist": "MNIST",\n    "more_digits": "MNIST",\n',
        ),
    ),
    "an executor": (
        Edit(
            "ablate/campaign/NAME_executor.py",
            NEW,
            "from ablate.campaign.executor import Finished, TrialContext\n"
            "from ablate.campaign.worker import train_trial\n\n\n"
            "class NameExecutor:\n"
            "    capacity = 1\n\n"
            "    def __init__(self):\n        self.jobs = []\n\n"
            "    def submit(self, job):\n        self.jobs.append(job)\n\n"
            "    def events(self, timeout_s):\n"
            "        job = self.jobs.pop()\n"
            "        record = train_trial(job.trial, TrialContext(\n"
            "            folder=job.folder, data_root=job.data_root, cache=job.cache, device=job.device,\n"
            "            threads=job.threads, on_epoch=lambda point, rate: None))\n"
            "        job.store.put(record)\n"
            "        return [Finished(job.key, record)]\n\n"
            "    def cancel(self, key):\n        pass\n\n"
            "    def close(self):\n        pass\n",
        ),
        Edit("ablate/campaign/options.py", 'EXECUTORS = ("local", "ray")', 'EXECUTORS = ("local", "ray", "name")'),
        Edit(
            "ablate/campaign/run.py",
            '    if options.executor == "local":\n',
            '    if options.executor == "name":\n'
            "        from ablate.campaign.NAME_executor import NameExecutor\n\n"
            "        return NameExecutor()\n"
            '    if options.executor == "local":\n',
        ),
    ),
}

TRIED = """
import json, sys
from dataclasses import replace
from pathlib import Path
import ablate
from ablate.campaign.executor import Job
from ablate.campaign.mlflow_payload import trial_payload
from ablate.campaign.options import CampaignResult, RunOptions
from ablate.campaign.records import RecordStore
from ablate.campaign.resources import Layout
from ablate.campaign.run import executor_for
from ablate.campaign.views import Item
from ablate.design.datasets import KNOWN
from ablate.design.plan import make_plan
from ablate.design.read import load_study
from ablate.design.schema import study_schema
from ablate.design.study import DataSpec
from ablate.errors import DataError
from ablate.measure.cost import cost
from ablate.reporting import frames, sections
from ablate.reporting.load import results_from
from ablate.reporting.page import render_page
from ablate.training.data import load_images, prepare
from ablate.training.fit import fit

runs, key = Path(sys.argv[1]), sys.argv[2]
study = lambda **more: load_study("linear_bottleneck", overrides={
    "data.name": "synthetic", "plan.seeds": 1, "recipe.epochs": 1, "control.net": "tiny", **more})
plan = make_plan(study())
data = plan.study.data
prepare(data, runs, runs)
images = load_images(data, runs, runs)
trained = lambda plan: fit(plan.trials[0], images)
record = trained(plan)
item = Item(plan.trials[0], record, Path("none"), "0" * 64)
records = {trial.key: replace(record, key=trial.key, arm=trial.arm) for trial in plan.trials}
costs = {arm.name: {"macs": 1 + place, "params": 1} for place, arm in enumerate(plan.arms)}
results = results_from(CampaignResult(plan=plan, needed=tuple(records), records=records, costs=costs), runs)
page, _ = render_page(results)
metrics = {name for name, _, _ in trial_payload(plan, item, {}).metrics}
wide = plan.control.spec.with_blocks(extra="eight")
fields = study_schema()["$defs"]["Changes"]["else"]["properties"]
stripes = load_images(DataSpec(name="stripes"), runs, prepare(DataSpec(name="stripes"), runs, runs).parent)
try:
    load_images(DataSpec(name="more_digits"), runs, runs, download=False)
except DataError as error:
    fetched = str(error)
executor = executor_for(RunOptions(runs=runs, executor="name"), Layout(1, 1))
store = RecordStore(runs, plan.study.name)
executor.submit(Job(trial=plan.trials[0], store=store, data_root=runs, cache=runs))
(end,) = executor.events(0.0)
other = trained(make_plan(study(**{"recipe.loss_scale": 3.0, "recipe.optimizer": "sgd"})))
same = trained(make_plan(study(**{"recipe.optimizer": "sgd"})))
print(json.dumps({
    "a toggle": cost(wide, (1, 12, 12)).params > cost(plan.control.spec, (1, 12, 12)).params
        and make_plan(study(**{"arms.wide.extra": "eight"})).arm("wide").spec == wide
        and fields["extra"] == {"enum": ["none", "eight"]},
    "a net": plan.control.spec == ablate.zoo.NETS["tiny"](in_channels=1, num_classes=4),
    "a metric per trial": record.metrics["test_errors"] == round((1 - record.metrics["test_accuracy"]) * 160)
        and "test_errors" in metrics and frames.trials(results)["test_errors"].notna().all(),
    "a metric per epoch": record.curve[0].steps == 640 * 9 // 10 // 64
        and "steps" in metrics and frames.curves(results)["steps"].notna().all().item(),
    "a figure": "A new figure." in page and [one.name for one in sections.figures("levels", results)] == ["again"],
    "a recipe field": make_plan(load_study("linear_bottleneck")).trials[0].key == key
        and other.metrics["train_loss"] != same.metrics["train_loss"],
    "a data set": stripes.info == KNOWN["stripes"] and len(stripes.test) == 20 and "not found below" in fetched,
    "an executor": end.record.same_result(record) and store.read(plan.trials[0].key) == end.record,
}, default=bool))
"""


def rows() -> dict[str, list[str]]:
    """The table of CONTRIBUTING.md: what is added -> the files that are named, in order."""
    table = re.findall(r"^\| (an? [^|]+?) \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    return {what: re.findall(r"`(ablate/[\w/]+\.py)`", files) for what, files in table}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    from ablate.design.plan import make_plan
    from ablate.design.read import load_study

    copy = tmp_path_factory.mktemp("copy")
    for name in ("ablate", "studies"):
        shutil.copytree(ROOT / name, copy / name)  # with what was compiled of the files that stay as they are
    for edit in (edit for edits in EDITS.values() for edit in edits):
        path = copy / edit.file
        if edit.old == NEW:
            path.write_text(edit.new)
            continue
        text = path.read_text()
        assert text.count(edit.old) == 1, f"{edit.file} holds {edit.old!r} {text.count(edit.old)} times"
        path.write_text(text.replace(edit.old, edit.new))
    key = make_plan(load_study("linear_bottleneck")).trials[0].key
    done = subprocess.run(
        [sys.executable, "-c", TRIED, str(tmp_path_factory.mktemp("runs")), key],
        cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, bool] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_row_of_the_table_is_tried() -> None:
    assert list(rows()) == list(EDITS)


@pytest.mark.parametrize("what", EDITS)
def test_an_addition_touches_the_files_that_are_named_in_their_order(what: str) -> None:
    touched = list(dict.fromkeys(edit.file for edit in EDITS[what]))
    assert touched == rows()[what]


@pytest.mark.parametrize(("what", "most"), [("a toggle", 2), ("a metric per trial", 2), ("a figure", 2), ("a net", 1)])
def test_an_addition_touches_few_files(what: str, most: int) -> None:
    assert len({edit.file for edit in EDITS[what]}) <= most


@pytest.mark.parametrize("what", EDITS)
def test_an_addition_made_there_works(what: str, tried: dict[str, bool]) -> None:
    assert tried[what]
