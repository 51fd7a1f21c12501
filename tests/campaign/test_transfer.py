"""Arms from scratch, fine-tuned and frozen in one campaign."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ablate.campaign.executor import Job
from ablate.campaign.options import RunOptions
from ablate.campaign.prepare import _prepare
from ablate.campaign.records import RecordStore
from ablate.campaign.resources import Layout
from ablate.campaign.worker import run_job, train_trial
from ablate.design.plan import CampaignPlan, make_plan
from ablate.design.read import load_study
from ablate.errors import AblateError
from ablate.model.nets import build
from ablate.model.zoo import mobilenet_v2_mnist

STUDY = """
keep_weights = true
[control]
net = "mobilenet_v2_mnist"
width_mult = 0.25
[arms.tuned]
recipe.init_from = "start.pt"
[arms.frozen]
recipe.init_from = "start.pt"
recipe.freeze = "features"
[data]
name = "synthetic"
[recipe]
batch_size = 32
epochs = 1
[plan]
seeds = 1
"""


def planned() -> CampaignPlan:
    Path("transfer.toml").write_text(STUDY)
    return make_plan(load_study("transfer.toml"))


def test_fine_tuned_and_frozen_arms_train_like_one_from_scratch(tmp_path: Path) -> None:
    start = build(mobilenet_v2_mnist(width_mult=0.25, num_classes=10)).state_dict()
    torch.save(start, "start.pt")
    plan, options, store = planned(), RunOptions(runs=tmp_path / "runs"), RecordStore(tmp_path / "runs", "transfer")
    said: list[str] = []
    costs = _prepare(plan, options, Layout(1, 1), said.append)
    jobs = [Job(trial=trial, store=store, data_root=None, cache=options.cache / "data") for trial in plan.trials]
    records = {job.trial.arm: run_job(job, train_trial, lambda *_: None) for job in jobs}
    assert {record.status for record in records.values()} == {"finished"}
    kept = {
        arm: torch.load(store.weights(record.key), weights_only=True)["stem.conv.weight"]
        for arm, record in records.items()
    }
    assert torch.equal(kept["frozen"], start["stem.conv.weight"])
    assert not torch.equal(kept["tuned"], start["stem.conv.weight"])
    assert records["control"].notes == ()
    assert "started from start.pt: 186 tensors loaded" in records["tuned"].notes[0]
    assert any(line.startswith("tuned starts from start.pt: 186 tensors loaded") for line in said)
    assert costs["frozen"]["train_flops"] is None
    assert costs["frozen"]["macs"] == costs["tuned"]["macs"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no weights at all", "start.pt: is truncated, damaged or no file of torch.save"),
        ({"conv1.weight": torch.ones(3)}, "no tensor fits this net: conv1.weight: the net has no such name"),
        ({"stem.conv.weight": Path("x")}, "holds more than tensors, and loading it could run code"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_before_anything_trains(
    content: object, said: str, tmp_path: Path
) -> None:
    if isinstance(content, bytes):
        Path("start.pt").write_bytes(content)
    else:
        torch.save(content, "start.pt")
    with pytest.raises(AblateError) as raised:
        _prepare(planned(), RunOptions(runs=tmp_path), Layout(1, 1), print)
    assert str(raised.value).startswith("study transfer: recipe.init_from of arm tuned: start.pt: ")
    assert said in str(raised.value)
